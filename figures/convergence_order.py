"""Order of convergence of SGD to the ODE: the distance shrinks like the root of the step size."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dynamics.claims.closed_form import HORIZON, STEPS, distances, models
from dynamics.integrators.sgd import Order, fit_order
from dynamics.models.closed_form import GatedSum
from figures.style import BLACK, GREY, SERIES, figure, plain_ticks

__all__ = ["caption", "draw"]

RUNS, SEED = 24, 7
LEVEL = 0.95


def caption(_: Path) -> str:
    """Return what to see, the fitted orders, how many runs."""
    orders = "; ".join(
        f"{name} {order.slope:.2f} [{order.low:.2f}, {order.high:.2f}]" for name, (_, _, order) in _cases().items()
    )
    return (
        f"Largest distance between SGD's path and the ODE's up to time {HORIZON:g}, over all weights and gates, "
        "against the step size: it shrinks like the step to the power ½, the slope of the grey line. Bars: the "
        f"middle 80% of the runs. Fitted orders with {LEVEL:.0%} bootstrap intervals over runs: {orders}. n = {RUNS} "
        f"runs a step size, seed {SEED}; data: {len(models()['regression'].y)} samples of a random teacher for each "
        "of the two models."
    )


def draw(_: Path) -> Figure:
    """Draw the figure, for which no results are needed: models, ODE and SGD come from `dynamics`."""
    drawing, (axes,) = figure(height=3.0)
    for i, ((name, (steps, found, order)), series) in enumerate(zip(_cases().items(), SERIES, strict=False)):
        middle = np.exp(np.log(found).mean(1))
        low, high = np.quantile(found, [0.1, 0.9], axis=1)
        apart = steps * 1.03 ** (i - 1)  # so that bars do not hide one another
        spread = [middle - low, high - middle]
        axes.errorbar(apart, middle, spread, capsize=2, elinewidth=0.7, label=_named(name, order), **series.drawn())
    ends = np.array([min(s[0].min() for s in _cases().values()), max(STEPS)])
    top = max(float(found.mean(1).max()) for _, found, _ in _cases().values()) * 1.6
    axes.plot(ends, top * np.sqrt(ends / ends[-1]), color=GREY, linewidth=0.9)
    axes.text(ends[0] * 1.1, top * np.sqrt(ends[0] / ends[1]) * 1.25, "slope ½", color=BLACK, fontsize=7)
    axes.set(xscale="log", yscale="log", xlabel="step size h", ylabel="largest distance to the ODE")
    plain_ticks(axes.xaxis, (0.001, 0.002, 0.005, 0.01, 0.02, 0.04))
    plain_ticks(axes.yaxis, (0.01, 0.02, 0.05, 0.1, 0.2))
    axes.legend(loc="lower right")
    return drawing


def _named(name: str, order: Order) -> str:
    return f"{name}: order {order.slope:.2f} [{order.low:.2f}, {order.high:.2f}]"


@cache
def _cases() -> dict[str, tuple[np.ndarray, np.ndarray, Order]]:
    """Steps, distances [step, run] and order of each case: the cases of the claim `sgd-order`."""
    both, small = models(), tuple(h / 4 for h in STEPS)
    cases: dict[str, tuple[GatedSum, dict[str, Any]]] = {
        "regression": (both["regression"], {"steps": STEPS}),
        "teacher–student": (both["teacher-student"], {"steps": STEPS}),
        "regression, momentum 0.9": (both["regression"], {"steps": small, "momentum": 0.9, "batch": 8}),
    }
    found = {}
    for name, (model, options) in cases.items():
        rng = np.random.default_rng(SEED)
        apart = distances(model, rng, runs=RUNS, **options)
        steps = np.array(options["steps"])
        found[name] = steps, apart, fit_order(steps, apart, rng, level=LEVEL)
    return found
