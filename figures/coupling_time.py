"""Couplings as training goes: measured and bound, of gates that end dead and of those that end alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import LineStyleType

from figures.results import read
from figures.style import BLACK, BLUE, GREY, RED, figure

__all__ = ["caption", "draw"]

FILE = "coupling_history.json"
LEAST = 0.25  # share of a group's gates that must be measured for a quartile to speak of the group
FEWEST = 4  # gates of a group whose middle half is shown
BOTTOM = 2e-5  # of the picture; zero, which a logarithmic axis cannot show, lies below it
_STYLES: dict[str, tuple[str, LineStyleType, str | None]] = {
    "alive": (RED, "dashed", "///"),
    "dead": (BLUE, "solid", None),
}


def caption(results: Path) -> str:
    """Return what to see, how many gates, of which run."""
    result = read(results / FILE)
    counts = ", ".join(f"{g['gates']} {g['kind']} {g['fate']}" for g in result["groups"] if g["fate"] in _STYLES)
    run = result["run"]
    return (
        "Couplings η of the gates of a run against training time, units left, layers right: median over the gates "
        "(thick) and middle half (shaded) of what was measured in each interval, and the median of the bound that "
        f"certificates rest on (thin; the largest of a window times {result['factor']:g}). No certificate is given "
        "before the warm-up ends (vertical line). A line stops where fewer than a quarter of its gates are measured "
        f"(a gate that is always on cannot be compared with off), and a bound where it is infinite. n = {counts}; "
        f"gates that end between 0.02 and 0.98 are left out. One run, seed {run['seed']}: {run['network']}, "
        f"{run['epochs']} epochs, ν = {run['nu']}, α = {run['alpha']}. "
        f"Data: {run['data'].upper().replace('CIFAR', 'CIFAR-')}."
    )


def draw(results: Path) -> Figure:
    """Draw `coupling_history.json`, written by `python -m training.evidence.couplings.history`.

    Raises:
        NotThereError: if it is not there.
    """
    result = read(results / FILE)
    drawing, panels = figure(columns=2, height=2.9)
    for axes, kind in zip(panels, ("units", "layers"), strict=True):
        for group in result["groups"]:
            if group["kind"] == kind and group["fate"] in _STYLES:
                _curves(axes, np.array(result["steps"]), group)
        axes.axvline(result["warmup"], color=GREY, linewidth=0.8)
        axes.set(title=kind, xlabel="training step", yscale="log")
        axes.set_ylim(bottom=BOTTOM)
    panels[0].set_ylabel("coupling η (nats per weight norm)")
    drawing.legend(handles=_handles(), loc="outside lower center", ncols=3)
    return drawing


def _curves(axes: Axes, steps: np.ndarray, group: dict[str, Any]) -> None:
    colour, line, hatch = _STYLES[group["fate"]]
    enough = np.array(group["count"]) >= LEAST * group["gates"]
    low, middle, high = (np.where(enough, _number(group["measured"][q]), np.nan) for q in ("0.25", "0.5", "0.75"))
    if group["gates"] >= FEWEST:
        band = np.maximum(low, BOTTOM), np.maximum(high, BOTTOM)
        axes.fill_between(steps, *band, color=colour, alpha=0.18, linewidth=0, hatch=hatch)
    highest = _number(group["bound"]["0.5"])
    axes.plot(steps, np.where(middle > 0, middle, np.nan), color=colour, linestyle=line, linewidth=1.5)
    axes.plot(steps, np.where(highest > 0, highest, np.nan), color=colour, linestyle=line, linewidth=0.6)


def _number(values: list[float | None]) -> np.ndarray:
    """NaN where there is no value."""
    return np.array(values, dtype=float)


def _handles() -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    for fate, (colour, line, hatch) in reversed(_STYLES.items()):
        text = f"ended {fate}"
        handles.append(Line2D([], [], color=colour, linestyle=line, linewidth=1.5, label=f"{text}: median"))
        handles.append(Patch(facecolor=colour, alpha=0.18, hatch=hatch, label=f"{text}: middle half"))
    handles.append(Line2D([], [], color=BLACK, linewidth=0.6, label="bound: median"))
    handles.append(Line2D([], [], color=GREY, linewidth=0.8, label="end of the warm-up"))
    return handles
