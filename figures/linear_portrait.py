"""Phase portrait of the linear gate: basin by simulation, separatrix by formula, the box that both beat, headroom."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from matplotlib.figure import Figure

from dynamics import LinearGate
from figures.portrait import Portrait

__all__ = ["caption", "draw"]


@cache
def _portrait() -> Portrait:
    gate = LinearGate(decay=0.5, coupling=1.0, cost=0.5, rate=1.0)
    starts = [(0.05, 0.55), (0.72, 0.04), (0.33, 0.33), (0.08, 0.66), (0.92, 0.03), (0.15, 0.9)]
    return Portrait(gate, lambda rho, theta: (rho, theta), top=1.2, starts=starts, horizon=40.0)


def caption(_: Path) -> str:
    """Return what to see, counted on the same grid as the picture's."""
    return (
        "The linear gate, D = −ηρ (λ = 0.5, η = 1, κ = 0.5, r = 1). Left: the separatrix, drawn from its formula, "
        f"is the edge of the simulated basin of zero: {_portrait().counts()}. Right: a state left of the contour of "
        "m stays certified if its coupling becomes m times as large. Computed from the derived equations; no data "
        "and no seeds."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: everything follows from `dynamics`."""
    return _portrait().draw("weight norm ρ")
