"""Paths of SGD around the ODE of all weights and gates, for three step sizes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dynamics.claims.closed_form import HORIZON, models, start_of
from dynamics.integrators.event_driven import Path as Solution
from dynamics.integrators.event_driven import projected_path
from dynamics.integrators.sgd import sgd_paths, sup_distance
from figures.style import BLACK, BLUE, GREEN, ORANGE, SERIES, figure

__all__ = ["caption", "draw"]

STEPS = (0.08, 0.02, 0.005)
RUNS, BATCH, SEED = 10, 2, 7
GATES = (0, 2, 3)  # of the regression: a useful input, a weak one, a useless one


def caption(_: Path) -> str:
    """Return what to see, the model, how many runs and the distances."""
    model = models()["regression"]
    apart = ", ".join(f"{sup_distance(*_runs(h), _solution()).mean():.3f}" for h in STEPS)
    return (
        "SGD (thin, coloured) around the ODE of all weights and gates (black) for gated linear regression with "
        f"{model.gates} inputs, whose expectation over the gates is known in closed form. As the step shrinks, the "
        f"paths close in on the ODE: mean largest distance {apart} over all weights and gates. Shown are the θ of a "
        f"useful, a weak and a useless input. n = {RUNS} runs a step size, mini-batches of {BATCH}, seed {SEED}; "
        f"data: {len(model.y)} samples of a random linear teacher."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: model, ODE and SGD come from `dynamics`."""
    drawing, panels = figure(columns=len(STEPS), height=2.5, sharey=True)
    weights = len(models()["regression"].weights)
    times = np.linspace(0, HORIZON, 400)
    exact = _solution()(times)
    for axes, h in zip(panels, STEPS, strict=True):
        at, states = _runs(h)
        for gate, colour in zip(GATES, (BLUE, ORANGE, GREEN), strict=True):
            axes.plot(at, states[:, :, weights + gate], color=colour, linewidth=0.5, alpha=0.7)
        for gate, series in zip(GATES, SERIES, strict=False):
            axes.plot(times, exact[:, weights + gate], color=BLACK, linestyle=series.line, linewidth=1.3)
        axes.set(title=f"step h = {h:g}", xlabel="time", xlim=(0, HORIZON), ylim=(-0.03, 1.03))
    panels[0].set_ylabel("gate probability θ")
    drawing.legend(handles=_handles(), loc="outside lower center", ncols=4)
    return drawing


def _handles() -> list[Line2D]:
    names = ("useful input", "weak input", "useless input")
    lines = [
        Line2D([], [], color=BLACK, linestyle=series.line, linewidth=1.3, label=f"ODE, {name}")
        for name, series in zip(names, SERIES, strict=False)
    ]
    return [*lines, Line2D([], [], color=BLUE, linewidth=0.5, label="SGD, one line a run")]


@cache
def _solution() -> Solution:
    model = models()["regression"]
    return projected_path(model.field, start_of(model), slice(len(model.weights), None), HORIZON)


@cache
def _runs(step: float) -> tuple[np.ndarray, np.ndarray]:
    model, rng = models()["regression"], np.random.default_rng(SEED)
    return sgd_paths(model, start_of(model), step=step, horizon=HORIZON, runs=RUNS, rng=rng, batch=BATCH)
