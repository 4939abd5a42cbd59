"""The flattening hyper-prior and the flat slope that it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from dynamics.models import hyperprior
from figures.style import SERIES, figure

__all__ = ["caption", "draw"]


def caption(_: Path) -> str:
    """Return what to see."""
    return (
        "Left: the flattening hyper-prior p(π | γ). Right: what is left of the prior's terms after minimising over "
        "π, against θ: a straight line of slope −ln γ, so that no value of θ is preferred and gates are not frozen "
        "early. Computed from the derived expressions; no data and no seeds."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: both curves are evaluated from the SymPy expressions."""
    density = sp.lambdify([hyperprior.PI, hyperprior.GAMMA], hyperprior.density(), "numpy")
    minimum = sp.lambdify([hyperprior.THETA, hyperprior.GAMMA], hyperprior.minimised_objective(), "numpy")
    grid = np.linspace(1e-4, 1 - 1e-4, 400)
    drawing, (left, right) = figure(columns=2, height=2.4)
    for gamma, series in zip((0.5, 0.1, 0.01), SERIES, strict=False):
        style = series.drawn(marked=False)
        left.plot(grid, density(grid, gamma), label=f"γ = {gamma:g}", **style)
        line = minimum(grid, gamma)
        slope = (line[-1] - line[0]) / (grid[-1] - grid[0])
        right.plot(grid, line - line[0], label=f"γ = {gamma:g}: slope {slope:.2f}", **style)
    left.set(xlabel="prior probability π", ylabel="density p(π | γ)", xlim=(0, 1), ylim=(0, 6))
    right.set(xlabel="gate probability θ", ylabel="cost of the prior (nats)", xlim=(0, 1), ylim=(0, None))
    left.legend()
    right.legend()
    return drawing
