"""The frequency with which SGD's noise carries a certified gate out of its region, against the proved bound."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from scipy import stats

from dynamics import LinearGate
from dynamics.claims.noise import Setting, settings, simulate
from figures.style import BLACK, GREY, SERIES, figure, plain_ticks

__all__ = ["caption", "draw"]

PATHS = 4000  # a point
LEVEL = 0.95
SETTINGS, SEED = 30, 11
STEPS = np.logspace(-2, -0.4, 7)
STARTS = ((0.3, 0.2), (0.2, 0.1))  # (ρ, θ)
KINDS = {"normal": "normal noise", "signs": "two-point noise", "uniform": "uniform noise"}


def caption(_: Path) -> str:
    """Return what to see, and how many paths."""
    cases, observed = _cases(), _observed()
    above = int((observed[:, 1] > [case.bound() for case in cases]).sum())
    return (
        "Probability that SGD's noise carries a certified gate over its separatrix before θ reaches 0: the bound "
        f"and what simulation of the recursion shows, with exact {LEVEL:.0%} intervals (arrows: nothing escaped). "
        "Left: against the step size, for one linear gate (λ = 1, η = 2, κ = 1, r = 1) from two starts; lines are "
        f"the bound. Right: {SETTINGS} random gates, starts, steps and kinds of noise; no point lies above the "
        f"diagonal but by sampling error (intervals wholly above it: {above} of {SETTINGS}). n = {PATHS} paths a "
        f"point, seed {SEED}; no data."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: bound and simulation come from `dynamics`."""
    drawing, (left, right) = figure(columns=2, height=2.9)
    _against_step(left)
    _against_bound(right)
    return drawing


def _against_step(axes: Axes) -> None:
    for (rho, theta), series in zip(STARTS, SERIES, strict=False):
        first = _along_steps(rho, theta)
        fine = np.logspace(np.log10(STEPS[0]), np.log10(STEPS[-1]), 200)
        bound = [replace(first[0][0], step=float(h)).bound() for h in fine]
        axes.plot(fine, bound, color=series.colour, linestyle=series.line, label=f"bound from ρ = {rho}, θ = {theta}")
        _points(axes, STEPS, np.array([trial for _, trial in first]), series.colour, series.marker, "simulated")
    axes.set(xscale="log", yscale="log", xlabel="step size h", ylabel="probability of escape", ylim=(1e-4, 30))
    plain_ticks(axes.xaxis, (0.01, 0.02, 0.05, 0.1, 0.2, 0.4))
    axes.yaxis.set_major_locator(FixedLocator([1e-4, 1e-3, 1e-2, 1e-1, 1]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(loc="upper left")


def _against_bound(axes: Axes) -> None:
    bound = np.array([case.bound() for case in _cases()])
    axes.plot([0.01, 1], [0.01, 1], color=GREY, linewidth=0.8)
    angle: dict[str, Any] = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    axes.text(0.012, 0.017, "bound attained", fontsize=7, color=BLACK, **angle)
    for (kind, text), series in zip(KINDS.items(), SERIES, strict=False):
        chosen = np.array([case.kind == kind for case in _cases()])
        _points(axes, bound[chosen], _observed()[chosen], series.colour, series.marker, text)
    axes.set(xscale="log", yscale="log", xlabel="bound", ylabel="observed frequency", xlim=(0.01, 1.1))
    axes.set_ylim(1e-4, 1.3)
    axes.legend(loc="lower right")


def _points(axes: Axes, x: np.ndarray, observed: np.ndarray, colour: str, marker: str, text: str) -> None:
    """`observed` is (frequency, low, high) a row; where nothing escaped, the upper limit with an arrow down."""
    seen = observed[:, 0] > 0
    for row, at in zip(observed[seen], x[seen], strict=True):
        axes.plot([at, at], row[1:], color=colour, linewidth=0.7)
    axes.plot(x[seen], observed[seen, 0], marker, color=colour, label=text, markersize=3.5)
    axes.errorbar(
        x[~seen],
        observed[~seen, 2],
        0.6 * observed[~seen, 2],
        uplims=True,
        fmt="none",
        color=colour,
        elinewidth=0.7,
        capsize=2,
    )


@cache
def _cases() -> list[Setting]:
    return list(settings(SETTINGS, np.random.default_rng(SEED)))


@cache
def _observed() -> np.ndarray:
    rng = np.random.default_rng(SEED)
    return np.array([_simulated(case, rng) for case in _cases()])


@cache
def _along_steps(rho: float, theta: float) -> list[tuple[Setting, tuple[float, float, float]]]:
    gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
    cases = [Setting(gate, rho, theta, float(h), sigma_rho=0.5, sigma_theta=0.5) for h in STEPS]
    rng = np.random.default_rng(SEED)
    return [(case, _simulated(case, rng)) for case in cases]


def _simulated(case: Setting, rng: np.random.Generator) -> tuple[float, float, float]:
    """Frequency of escape with its Clopper–Pearson interval."""
    found = simulate(case, PATHS, rng)
    assert not found.open, "every path must have ended"
    k, tail = found.escaped, (1 - LEVEL) / 2
    low = float(stats.beta.ppf(tail, k, PATHS - k + 1)) if k else 0.0
    return k / PATHS, low, float(stats.beta.ppf(1 - tail, k + 1, PATHS - k))
