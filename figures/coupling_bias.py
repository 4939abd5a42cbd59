"""First-order against unbiased loss difference: the bias by layer and age, beside what the gates are given instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.results import read
from figures.style import GREY, SERIES, figure

__all__ = ["FILES", "caption", "draw"]

FILES = ("couplings-digits.json", "couplings-cifar.json")
_COLUMNS = {"first_order": "first order", "used": "as used: corrected"}


def caption(results: Path) -> str:
    """Return what to see, how often the direction was wrong, of which runs."""
    parts = []
    for name in FILES:
        result = read(results / name)
        run, seeds = result["runs"][0], len({run["seed"] for run in result["runs"]})
        told = f"{len(result['runs'])} run{'s' * (len(result['runs']) > 1)}, {seeds} seed{'s' * (seeds > 1)}"
        parts.append(f"{run['network']} ({run['preset']}, {run['steps']} steps; {told})")
    rows = [row for name in FILES for row in read(results / name)["bias"]]
    certain = {kind: sum(row["certain"] for row in rows if row["kind"] == kind) for kind in ("units", "layers")}
    wrong = {
        kind: sum(row["certain"] * (row["wrong_way"] or 0) for row in rows if row["kind"] == kind) / certain[kind]
        for kind in certain
    }
    total = sum(row["gates_and_records"] for row in rows)
    return (
        "Bias of the estimate of a gate's loss difference against the unbiased one from losses, over the gate's "
        "price κ, by layer and age of training: left the first-order estimate, right the corrected one that gates "
        "follow (of layers the unbiased one itself). Beyond ±1 (grey) the bias is as large as the price. Bars: one "
        "standard error. Where the direction of a gate is certain, first order has the other one in "
        f"{wrong['units']:.0%} of {certain['units']} cases of units and in {wrong['layers']:.0%} of "
        f"{certain['layers']} of layers. n = {total} gates × records; runs of {' and '.join(parts)}. Data: "
        "scikit-learn's digits and CIFAR-10."
    )


def draw(results: Path) -> Figure:
    """Draw `bias` of the coupling results, a row a file.

    Raises:
        NotThereError: if one is not there.
    """
    drawing, panels = figure(rows=len(FILES), columns=2, height=4.6, sharex="row", sharey=True)
    for i, name in enumerate(FILES):
        result = read(results / name)
        run = result["runs"][0]
        for axes, (column, title) in zip(panels[2 * i :], _COLUMNS.items(), strict=False):
            _panel(axes, result["bias"], column)
            axes.set_title(f"{run['network']}, {run['preset']}: {title}")
        panels[2 * i].set_ylabel("bias / κ")
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles, labels, title="age of training", loc="outside lower center", ncols=4, title_fontsize=7)
    return drawing


def _panel(axes: Axes, rows: list[dict[str, Any]], column: str) -> None:
    places = list(dict.fromkeys(row["place"] for row in rows))
    places.sort(key=lambda place: place.endswith("branch"))  # units first, then branches
    axes.axhspan(-1, 1, color=GREY, alpha=0.2, linewidth=0)
    ages = sorted({(row["from"], row["to"]) for row in rows})
    for i, ((begin, end), series) in enumerate(zip(ages, SERIES, strict=False)):
        chosen = [row for row in rows if row["from"] == begin and row["cost"] > 0]
        x = np.array([places.index(row["place"]) for row in chosen]) + 0.16 * (i - 1.5)
        y = np.array([row[f"{column}_bias"] / row["cost"] for row in chosen])
        error = np.array([(row[f"{column}_error"] or 0.0) / row["cost"] for row in chosen])
        axes.errorbar(
            x,
            y,
            error,
            fmt=series.marker,
            color=series.colour,
            markersize=3,
            elinewidth=0.6,
            label=f"{begin:.0%} to {end:.0%}",
        )
    axes.set_yscale("symlog", linthresh=1, linscale=0.7)
    axes.set_yticks([-10, -1, 0, 1, 10], ["−10", "−1", "0", "1", "10"])
    names = [place.replace("block", "").replace(".units", "u").replace(".branch", "L") for place in places]
    axes.set_xticks(range(len(places)), names)
    axes.set_xlabel("block: units (u), layer gate (L)")
