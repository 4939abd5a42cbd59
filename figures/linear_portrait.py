"""Phase portrait of the linear gate: basin by simulation, separatrix by formula, and the box that both beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dynamics import LinearGate
from figures.portrait import draw_basin, draw_field, draw_paths
from figures.style import BLUE, GREEN, ORANGE, RED, figure

CAPTION = (
    "The linear gate (λ = 0.5, η = 1, κ = 0.5, r = 1). Shaded: states whose simulated gate goes to zero "
    "(240×240 cells). The separatrix, drawn from its formula, is the edge of the shaded region; the invariant box "
    "ρ < ρ*, θ < θ* is less than half of it."
)

TOP = 1.2


def draw(_: Path) -> Figure:
    """No results are needed: everything follows from `dynamics`."""
    gate = LinearGate(decay=0.5, coupling=1.0, cost=0.5, rate=1.0)
    drawing, (axes,) = figure(height=3.2)

    def state(rho: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, ...]:
        return rho, theta

    draw_basin(axes, gate, state, TOP)
    draw_field(axes, gate, state, TOP)
    draw_paths(
        axes,
        gate,
        state,
        [(0.05, 0.55), (0.72, 0.04), (0.33, 0.33), (0.08, 0.66), (0.92, 0.03), (0.15, 0.9)],
        horizon=40.0,
    )
    rho, theta = np.meshgrid(np.linspace(0, TOP, 241), np.linspace(0, 1, 241))
    rho_dot, theta_dot = gate.field(rho, np.clip(theta, 1e-9, 1 - 1e-9))
    # Levels at zero of the derived functions: the curves are drawn from `dynamics`, not from formulas kept here.
    for values, colour in ((gate.margin(rho, theta), BLUE), (rho_dot, GREEN), (theta_dot, ORANGE)):
        style = "solid" if colour == BLUE else "dashed"
        axes.contour(rho, theta, values, levels=[0.0], colors=colour, linestyles=style, linewidths=1.4)
    rho_star, theta_star = (float(value) for value in gate.saddle)
    axes.add_patch(Rectangle((0, 0), rho_star, theta_star, fill=False, edgecolor=RED, linewidth=1.4, linestyle=":"))
    axes.plot(rho_star, theta_star, "s", color=RED, markersize=4)
    axes.set(xlim=(0, TOP), ylim=(0, 1), xlabel="weight norm ρ", ylabel="gate probability θ")
    _label(axes, rho_star, theta_star)
    return drawing


def _label(axes, rho_star: float, theta_star: float) -> None:  # type: ignore[no-untyped-def]
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    for x, y, text, colour in (
        (0.02, 0.33, "goes to zero", BLUE),
        (0.55, 0.72, "stays", "black"),
        (0.02, 0.05, "box ρ < ρ*, θ < θ*", RED),
        (0.60, 0.21, "separatrix", BLUE),
        (rho_star + 0.015, theta_star + 0.03, "saddle", RED),
        (1.03, 0.46, "ρ' = 0", GREEN),
        (rho_star + 0.01, 0.955, "θ' = 0", ORANGE),
    ):
        axes.text(x, y, text, color=colour, fontsize=8, bbox=box, va="center")
