"""The growth that couplings still have ahead: the risk that a headroom m does not cover, by age of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from figures.pooled import read_evidence, where_from
from figures.results import NotThereError
from figures.style import SERIES, figure, plain_ticks

__all__ = ["caption", "draw"]


def caption(results: Path) -> str:
    """Return what to see, over how many gates and records."""
    result = read_evidence(results)
    counts = ", ".join(
        f"{sum(row['count'] for row in _rows(result, kind)):,} of {kind}".replace(",", " ")
        for kind in ("units", "layers")
        if _rows(result, kind)
    )
    return (
        "Future growth of couplings: the share of gates whose coupling, at some later time, exceeds m times the "
        "bound known now (at safety factor 1), by age of training as a fraction of the run, units left, layers "
        f"right. It is the risk that a gate with headroom m loses its assumption. n = {counts} (gates × records "
        f"after the warm-up); {where_from(result)}"
    )


def draw(results: Path) -> Figure:
    """Draw `all.growth` of the evidence.

    Raises:
        NotThereError: if it is not there, or no gate has a later record after the warm-up.
    """
    result = read_evidence(results)
    kinds = [kind for kind in ("units", "layers") if _rows(result, kind)]
    if not kinds:
        raise NotThereError(f"a gate with a later record after the warm-up in {results / 'evidence.json'}")
    ages = sorted({row["from"] for kind in kinds for row in _rows(result, kind)})
    styles = dict(zip(ages, SERIES[: len(ages)], strict=True))
    drawing, panels = figure(columns=2, height=2.8, sharey=True)
    for axes, kind in zip(panels, kinds, strict=False):
        for row in _rows(result, kind):
            m = np.array([float(value) for value in row["beyond"]])
            label = f"{row['from']:.0%} to {row['to']:.0%}"
            axes.plot(m, 100 * np.array(list(row["beyond"].values())), label=label, **styles[row["from"]].drawn())
        axes.set(title=kind, xscale="log", xlabel="headroom m")
        axes.legend(title="age of training", title_fontsize=7)
        plain_ticks(axes.xaxis, (1, 2, 4, 8, 16))
    for axes in panels[len(kinds) :]:
        axes.remove()
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("share that grows beyond m (%)")
    return drawing


def _rows(result: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The linear coupling's rows of a kind, one an age in which anything was known."""
    rows = result["all"]["growth"]
    return [row for row in rows if row["kind"] == kind and row["system"] == "linear" and row["count"]]
