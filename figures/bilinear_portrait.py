"""Phase portrait of the bilinear gate on ρ_in = ρ_out: the certified region opens to every θ as the weights shrink."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from matplotlib.figure import Figure

from dynamics import BilinearGate
from figures.portrait import Portrait

__all__ = ["caption", "draw"]


@cache
def _portrait() -> Portrait:
    gate = BilinearGate(decay=0.25, coupling=1.0, cost=0.25, rate=0.5)
    starts = [(0.03, 0.9), (0.25, 0.5), (0.68, 0.04), (0.12, 0.9), (0.3, 0.6), (0.8, 0.04)]
    return Portrait(gate, lambda rho, theta: (rho, rho, theta), top=1.0, starts=starts, horizon=60.0)


def caption(_: Path) -> str:
    """Return what to see, counted on the same grid as the picture's."""
    return (
        "The bilinear gate, D = −η ρ_in ρ_out (λ = 0.25, η = 1, κ = 0.25, r = 0.5), where fan-in and fan-out norms "
        "are equal. Left: the separatrix in closed form is the edge of the simulated basin of zero, and rises "
        "without bound as the weights shrink, so that small weights are certified whatever θ is; "
        f"{_portrait().counts()}. Right: a state left of the contour of m stays certified if its coupling becomes m "
        "times as large. Computed from the derived equations; no data and no seeds."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: everything follows from `dynamics`."""
    return _portrait().draw(r"weight norms $\rho_\mathrm{in} = \rho_\mathrm{out}$")
