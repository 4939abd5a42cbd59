"""Gate paths of a run in the (ρ, θ) plane, with the moment at which the half-plane certificate flagged them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.typing import LineStyleType

from figures.results import read
from figures.style import BLACK, BLUE, GREY, RED, figure

__all__ = ["caption", "draw"]

#: How each fate is drawn: colour, line style, opacity. In grey the dead are dark, the alive light, the rest dashed.
_FATES: dict[str, tuple[str, LineStyleType, float]] = {
    "alive": (GREY, "solid", 0.35),
    "dead": (BLUE, "solid", 0.6),
    "undecided": (RED, "dashed", 0.9),
}


def caption(results: Path) -> str:
    """Return what to see, how many gates, of which run."""
    paths, table = read(results / "gate_paths.json"), read(results / "table.json")
    layers = sum(paths["is_layer"])
    ended = ", ".join(f"{paths['ended'].count(fate)} {fate}" for fate in ("dead", "alive", "undecided"))
    last = {"shadow": "Nothing was removed.", "prune": "A line ends where its gate was removed."}
    return (
        "Gates of a run, units left, layers right: weight norm against θ from start to end, one line a gate. Gates "
        "that die move down and left, and circles mark where the half-plane rule first certified them. "
        f"{last[table.get('mode', 'shadow')]} n = {len(paths['gates']) - layers} units and {layers} layers, of which "
        f"at the end {ended} (between 0.02 and 0.98); one run, seed {table['seed']}: {table['settings']['network']}, "
        f"{table['epochs']} epochs, {table['steps']} steps, ν = {table['settings']['nu']}, α = "
        f"{table['settings']['alpha']}. Data: {table['data'].partition(',')[0]}."
    )


def draw(results: Path) -> Figure:
    """Draw `gate_paths.json` of a run folder or a folder of committed results.

    Raises:
        NotThereError: if it is not there.
    """
    paths, table = read(results / "gate_paths.json"), read(results / "table.json")
    rho, theta = np.asarray(paths["rho"], dtype=float), np.asarray(paths["theta"], dtype=float)  # [step, gate]
    ended, steps = np.asarray(paths["ended"]), np.asarray(paths["steps"])
    is_branch, flag = np.asarray(paths["is_layer"]), np.asarray(paths["certified"])
    drawing, panels = figure(columns=2, height=3.2, sharey=True)
    for axes, chosen, kind in zip(panels, (~is_branch, is_branch), ("unit", "layer"), strict=True):
        _panel(axes, steps, rho[:, chosen], theta[:, chosen], flag[chosen], ended[chosen])
        axes.set(xlabel=f"weight norm ρ of the {kind}", ylim=(-0.02, 1.02))
        axes.set_title(_verdict(table, kind, int(chosen.sum())))
    panels[0].set_ylabel("gate probability θ")
    drawing.legend(handles=_handles(), loc="outside lower center", ncols=4)
    return drawing


def _verdict(table: dict[str, Any], kind: str, gates: int) -> str:
    if table.get("mode") == "prune":
        return f"{gates} {kind}s: {gates - table['gated'][f'{kind}s_left']} removed while training"
    row = next(row for row in table[f"{kind}s"] if row["rule"] == "half-plane")
    return f"{gates} {kind}s: {row['dead']} ended dead, {row['flagged']} certified, {row['wrong']} wrongly"


def _panel(
    axes: Axes, steps: np.ndarray, rho: np.ndarray, theta: np.ndarray, flag: np.ndarray, ended: np.ndarray
) -> None:
    for fate, (colour, line, alpha) in _FATES.items():  # the alive first: they lie under the others
        for gate in np.flatnonzero(ended == fate):
            axes.plot(rho[:, gate], theta[:, gate], color=colour, linestyle=line, alpha=alpha, linewidth=0.5)
    for gate in np.flatnonzero(flag >= 0):
        at = int(np.searchsorted(steps, flag[gate]))
        axes.plot(
            rho[at, gate],
            theta[at, gate],
            "o",
            color=BLACK,
            markersize=2.4,
            markerfacecolor="white",
            markeredgewidth=0.6,
            zorder=3,
        )


def _handles() -> list[Line2D]:
    names = {"dead": "ended dead", "alive": "ended alive", "undecided": "undecided at the end"}
    lines = [
        Line2D([], [], color=_FATES[fate][0], linestyle=_FATES[fate][1], label=text) for fate, text in names.items()
    ]
    circle = Line2D([], [], color=BLACK, marker="o", markersize=3, markerfacecolor="white", linestyle="none")
    circle.set_label("first certified")
    return [*lines, circle]
