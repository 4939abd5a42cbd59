"""The flattening hyper-prior and the flat slope that it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from dynamics import hyperprior
from figures.style import BLUE, GREEN, ORANGE, figure

CAPTION = (
    "Left: the hyper-prior p(π | γ). Right: what is left of the prior's terms after minimising over π, against θ: a "
    "straight line of slope −ln γ, so that no value of θ is preferred and gates are not frozen early."
)


def draw(_: Path) -> Figure:
    """No results are needed: both curves are evaluated from the SymPy expressions."""
    density = sp.lambdify([hyperprior.PI, hyperprior.GAMMA], hyperprior.density(), "numpy")
    minimum = sp.lambdify([hyperprior.THETA, hyperprior.GAMMA], hyperprior.minimised_objective(), "numpy")
    grid = np.linspace(1e-4, 1 - 1e-4, 400)
    drawing, (left, right) = figure(columns=2, height=2.4)
    for gamma, colour, style in ((0.5, ORANGE, "dotted"), (0.1, GREEN, "dashed"), (0.01, BLUE, "solid")):
        left.plot(grid, density(grid, gamma), color=colour, linestyle=style, label=f"γ = {gamma:g}")
        line = minimum(grid, gamma)
        right.plot(grid, line - line[0], color=colour, linestyle=style, label=f"slope −ln γ = {-np.log(gamma):.2f}")
    left.set(xlabel="π", ylabel="p(π | γ)", xlim=(0, 1), ylim=(0, 6))
    right.set(xlabel="gate probability θ", ylabel="cost of the prior (nats)", xlim=(0, 1))
    left.legend()
    right.legend()
    return drawing
