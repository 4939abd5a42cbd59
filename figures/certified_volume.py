"""The volume certified, over the parameters: the derived region, the box, and for the bilinear gate the basin."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynamics import BilinearGate, LinearGate
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.fate import Fate
from figures.style import BLACK, GREY, SERIES, figure, plain_ticks

__all__ = ["caption", "draw"]

SPEEDS = np.logspace(-2, 3, 26)  # rη²/λ²: how fast the gate is beside the decay of its weights
HEIGHTS = (0.02, 0.1, 0.4)  # θ* of the linear gate
CELLS = 400  # a side of the linear gate's grid
PULLS = np.logspace(-1, 0.5, 8)  # η of the bilinear gate
SIDE = 32  # of the bilinear gate's grid of (ρ_in, ρ_out, θ)
REACH = 2.0  # largest norm of that grid
BILINEAR = {"decay": 0.1, "cost": 0.3, "rate": 1.0}


def caption(_: Path) -> str:
    """Return what to see, and how it was counted."""
    ratios, shares = _ratios(), _shares()
    return (
        "How much is certified. Left, linear gate: area of the certified region in the strip 0 ≤ θ ≤ 1 over that of "
        "the box ρ < ρ*, θ < θ*, against how fast gates move beside the decay of their weights; where the "
        f"half-plane is not cut off at θ = 1 it is at least twice the box, and from {ratios.min():.1f} to "
        f"{ratios.max():.0f} times here ({CELLS}×{CELLS} cells a point). Right, bilinear gate with fan-in and "
        f"fan-out norms up to {REACH:g} (λ = {BILINEAR['decay']}, κ = {BILINEAR['cost']}, r = {BILINEAR['rate']:g}): "
        "share of all states that the box and the closed form certify, and that go to zero in simulation; n = "
        f"{SIDE}×{SIDE}×{SIDE} states a point. At η = {PULLS[-1]:.1f} the three are {shares['box'][-1]:.1%}, "
        f"{shares['certified'][-1]:.1%} and {shares['simulated'][-1]:.1%}. Computed from the derived equations; no "
        "data and no seeds."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: everything follows from `dynamics`."""
    drawing, (left, right) = figure(columns=2, height=2.7)
    for i, (height, ratio, series) in enumerate(zip(HEIGHTS, _ratios(), SERIES, strict=False)):
        left.loglog(SPEEDS, ratio, label=f"θ* = {height:g}", markevery=(2 * i, 6), **series.drawn())
    left.axhline(2, color=GREY, linewidth=0.8)
    left.text(SPEEDS[0], 1.9, "twice the box", va="top", fontsize=7, color=BLACK)
    left.set(xlabel="rη²/λ²", ylabel="certified area / area of the box", ylim=(1.5, None))
    plain_ticks(left.yaxis, (2, 5, 10, 20, 50))
    left.legend(loc="upper center")
    _bilinear(right)
    return drawing


def _bilinear(axes: Axes) -> None:
    names = {"simulated": "goes to zero (simulated)", "certified": "certified", "box": "box"}
    for (name, text), series in zip(names.items(), SERIES, strict=False):
        axes.semilogx(PULLS, 100 * _shares()[name], label=text, **series.drawn())
    plain_ticks(axes.xaxis, (0.1, 0.2, 0.5, 1, 2))
    axes.set(xlabel="coupling η", ylabel="share of states (%)", ylim=(0, 102))
    axes.legend(loc="upper right")


@cache
def _ratios() -> np.ndarray:
    """Certified area over the box's, [height, speed], for λ = η = 1 and κ = θ*: then ρ* = θ*."""
    found = np.empty((len(HEIGHTS), len(SPEEDS)))
    for i, height in enumerate(HEIGHTS):
        for j, speed in enumerate(SPEEDS):
            gate = LinearGate(decay=1.0, coupling=1.0, cost=height, rate=speed)
            rho_star, theta_star = (float(value) for value in gate.saddle)
            # The region ends where the margin at θ = 0 does; the margin is linear in ρ.
            slope = float(gate.margin(1.0, 0.0)) - float(gate.margin(0.0, 0.0))
            foot = -float(gate.margin(0.0, 0.0)) / slope
            middle = (np.arange(CELLS) + 0.5) / CELLS
            certified = gate.certified(*np.meshgrid(foot * middle, middle))
            found[i, j] = certified.mean() * foot / (rho_star * theta_star)
    return found


@cache
def _shares() -> dict[str, np.ndarray]:
    """Shares of the states at each coupling."""
    middle = (np.arange(SIDE) + 0.5) / SIDE
    state = np.meshgrid(REACH * middle, REACH * middle, middle)
    found: dict[str, list[float]] = {"simulated": [], "certified": [], "box": []}
    for pull in PULLS:
        gate = BilinearGate(coupling=pull, **BILINEAR)
        *norms, theta = gate.saddle
        box = (state[0] < norms[0]) & (state[1] < norms[1]) & (state[2] < theta)
        found["simulated"].append(float((integrate(gate, *state).outcome == Fate.ZERO).mean()))
        found["certified"].append(float(gate.certified(*state).mean()))
        found["box"].append(float(box.mean()))
    return {name: np.array(values) for name, values in found.items()}
