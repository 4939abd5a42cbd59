"""Phase portrait of the bilinear gate on ρ_in = ρ_out: the certified region opens to every θ as the weights shrink."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dynamics import BilinearGate
from figures.portrait import draw_basin, draw_field, draw_paths
from figures.style import BLUE, GREEN, ORANGE, RED, figure

CAPTION = (
    "The bilinear gate (λ = 0.25, η = 1, κ = 0.25, r = 0.5) where fan-in and fan-out norms are equal. Shaded: goes to "
    "zero in simulation (240×240 cells). The closed-form separatrix is its edge; left of where it meets θ = 1 a gate "
    "is certified whatever its θ."
)

TOP = 1.0


def draw(_: Path) -> Figure:
    """No results are needed: everything follows from `dynamics`."""
    gate = BilinearGate(decay=0.25, coupling=1.0, cost=0.25, rate=0.5)
    drawing, (axes,) = figure(height=3.2)

    def state(rho: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, ...]:
        return rho, rho, theta

    draw_basin(axes, gate, state, TOP)
    draw_field(axes, gate, state, TOP)
    draw_paths(
        axes, gate, state, [(0.03, 0.9), (0.25, 0.5), (0.68, 0.04), (0.12, 0.9), (0.3, 0.6), (0.8, 0.04)], horizon=60.0
    )
    rho, theta = np.meshgrid(np.linspace(1e-6, TOP, 241), np.linspace(0, 1, 241))
    derivative = gate.field(rho, rho, np.clip(theta, 1e-9, 1 - 1e-9))
    for values, colour in ((gate.margin(rho, rho, theta), BLUE), (derivative[0], GREEN), (derivative[-1], ORANGE)):
        style = "solid" if colour == BLUE else "dashed"
        axes.contour(rho, theta, values, levels=[0.0], colors=colour, linestyles=style, linewidths=1.4)
    rho_star, theta_star = float(gate.saddle[0]), float(gate.saddle[-1])
    axes.plot(rho_star, theta_star, "s", color=RED, markersize=4)
    axes.set(xlim=(0, TOP), ylim=(0, 1), xlabel="weight norms ρ_in = ρ_out", ylabel="gate probability θ")
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    for x, y, text, colour in (
        (0.02, 0.12, "goes to zero", BLUE),
        (0.6, 0.78, "stays", "black"),
        (rho_star + 0.015, theta_star + 0.04, "saddle", RED),
        (0.02, theta_star + 0.03, "ρ' = 0", GREEN),
        (rho_star + 0.01, 0.95, "θ' = 0", ORANGE),
    ):
        axes.text(x, y, text, color=colour, fontsize=8, bbox=box, va="center")
    return drawing
