"""Phase portrait of a gate without closed form, that of a smooth loss: the separatrix is followed numerically."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from matplotlib.figure import Figure

from dynamics import smooth_gate
from figures.portrait import Portrait

__all__ = ["caption", "draw"]


@cache
def _portrait() -> Portrait:
    gate = smooth_gate(slope=0.4, curvature=1.5, decay=0.4, cost=0.4, rate=1.0)
    starts = [(0.05, 0.62), (0.68, 0.04), (0.3, 0.33), (0.06, 0.75), (0.85, 0.04), (0.15, 0.9)]
    return Portrait(gate, lambda rho, theta: (rho, theta), top=1.1, starts=starts, horizon=40.0)


def caption(_: Path) -> str:
    """Return what to see, counted on the same grid as the picture's."""
    return (
        "A general gate, here that of a smooth loss, D = −gρ − Lρ²/2 (g = 0.4, L = 1.5, λ = 0.4, κ = 0.4, r = 1). "
        "Left: the stable manifold of the saddle, integrated backwards in time, is the edge of the simulated basin "
        f"of zero: {_portrait().counts()}. Right: a state left of the contour of m stays certified if D becomes m "
        "times as large. Computed from the derived equations; no data and no seeds."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: everything follows from `dynamics`."""
    return _portrait().draw("weight norm ρ")
