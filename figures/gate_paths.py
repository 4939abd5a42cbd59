"""Gate paths of a run in the (ρ, θ) plane, with the moment at which the half-plane certificate flagged them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.style import BLACK, BLUE, GREY, ORANGE, figure

CAPTION = (
    "Gates of a run, units left, layers right: weight norm against θ from start to end (one line a gate). "
    "Blue: ended dead; grey: ended alive; orange: undecided, between 0.02 and 0.98. Circles: where the half-plane rule "
    "first certified the gate. In a shadow run nothing is removed; in a prune run a line ends where its gate is."
)


def draw(results: Path) -> Figure:
    """Draws `gate_paths.json` of a run folder or a folder of committed results.

    Raises:
        FileNotFoundError: if it is not there.
    """
    paths = json.loads((results / "gate_paths.json").read_text())
    table = json.loads((results / "table.json").read_text())
    rho, theta = np.asarray(paths["rho"], dtype=float), np.asarray(paths["theta"], dtype=float)  # [step, gate]
    ended = np.asarray(paths["ended"])
    is_layer, flag = np.asarray(paths["is_layer"]), np.asarray(paths["certified"])
    steps = np.asarray(paths["steps"])
    drawing, panels = figure(columns=2, height=3.0)
    for axes, chosen, kind in zip(panels, (~is_layer, is_layer), ("unit", "layer"), strict=True):
        _panel(axes, steps, rho[:, chosen], theta[:, chosen], flag[chosen], ended[chosen])
        axes.set(xlabel=f"weight norm ρ of the {kind}", ylabel="gate probability θ", ylim=(-0.02, 1.02))
        axes.set_title(_verdict(table, kind, int(chosen.sum())))
    drawing.legend(
        handles=[
            Line2D([], [], color=BLUE, label="ended dead"),
            Line2D([], [], color=GREY, label="ended alive"),
            Line2D([], [], color=ORANGE, label="undecided"),
            Line2D(
                [],
                [],
                color=BLACK,
                marker="o",
                markersize=3,
                markerfacecolor="white",
                linestyle="none",
                label="first certified by the half-plane",
            ),
        ],
        loc="outside lower center",
        ncols=4,
    )
    drawing.suptitle(
        f"{table['preset']}, seed {table['seed']}, {table['epochs']} epochs, {table['steps']} steps", fontsize=8
    )
    return drawing


def _verdict(table: dict[str, Any], kind: str, gates: int) -> str:
    if table.get("mode") == "prune":
        return f"{gates} {kind}s: {gates - table['gated'][f'{kind}s_left']} removed while training"
    row = next(row for row in table[f"{kind}s"] if row["rule"] == "half-plane")
    return f"{gates} {kind}s: {row['dead']} ended dead, {row['flagged']} certified, {row['wrong']} wrongly"


def _panel(
    axes: Axes, steps: np.ndarray, rho: np.ndarray, theta: np.ndarray, flag: np.ndarray, ended: np.ndarray
) -> None:
    for gate in range(rho.shape[1]):
        colour, alpha = {"dead": (BLUE, 0.5), "alive": (GREY, 0.35), "undecided": (ORANGE, 0.5)}[ended[gate]]
        axes.plot(rho[:, gate], theta[:, gate], color=colour, alpha=alpha, linewidth=0.5)
        if flag[gate] >= 0:
            at = int(np.searchsorted(steps, flag[gate]))
            axes.plot(rho[at, gate], theta[at, gate], "o", color=BLACK, markersize=2.2, markerfacecolor="white")
