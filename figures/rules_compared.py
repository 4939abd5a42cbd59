"""Rules compared: how early they are and how much they catch, against how often they are wrong, by headroom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.pooled import read_evidence, where_from
from figures.results import NotThereError
from figures.style import GREY, SERIES, Series, figure

__all__ = ["caption", "draw"]

CERTIFICATES = ("half-plane", "bilinear", "box")
MARKED = (1, 2, 4, 16)  # headrooms that are named in the picture
NAMED = ("0.8", "0.5", "0.1", "0.01")  # and thresholds
LEAST = 10  # dead gates of a kind, below which its shares say nothing


def caption(results: Path) -> str:
    """Return what to see, over how many gates, and the refutations."""
    result = read_evidence(results)
    counts = ", ".join(
        f"{rows[0]['gates']} {kind} ({rows[0]['dead']} ended dead)"
        for kind in ("units", "layers")
        if (rows := _certificate(result, kind, "box"))
    )
    return (
        "Rules compared on gates that nothing removed. Horizontally the share of wrong flags of the decided; left "
        "the median lead (steps from flag to death), right the share of dead gates that were caught. Certificates "
        f"are drawn along their headroom m = {', '.join(map(str, MARKED))} (numbers) and between, plain thresholds θ "
        f"< t along t (numbers). Up and left is better; a kind of gates is drawn where at least {LEAST} ended dead; "
        f"bars at m = 1 and at θ < 0.5 are exact 95% intervals with gates as trials. n = {counts}; refutations of "
        f"the theory: {result['refutations']}; {where_from(result)}"
    )


def draw(results: Path) -> Figure:
    """Draw `all.calibration` and the thresholds of `all.rules`; a kind of gates only where enough of them ended dead.

    Raises:
        NotThereError: if the evidence is not there, or too few gates ended dead.
    """
    result = read_evidence(results)
    kinds = [kind for kind in ("units", "layers") if _dead(result, kind) >= LEAST]
    if not kinds:
        raise NotThereError(f"a kind of gates of which {LEAST} ended dead in {results / 'evidence.json'}")
    drawing, panels = figure(rows=len(kinds), columns=2, height=0.6 + 2.4 * len(kinds))
    for i, kind in enumerate(kinds):
        left, right = panels[2 * i : 2 * i + 2]
        for rule, series in zip((*CERTIFICATES, None), SERIES, strict=False):
            rows = _drawable(_threshold(result, kind) if rule is None else _certificate(result, kind, rule))
            if rows:
                _path(left, rows, "lead", 1, series, rule)
                _path(right, rows, "caught_share", 100, series, rule)
        left.axhline(0, color=GREY, linewidth=0.6)
        left.set(title=kind, ylabel="median lead (steps)")
        right.set(title=kind, ylabel="caught of the dead (%)")
        right.set_ylim(min(95.0, right.get_ylim()[0]), 100.5)
        for axes in (left, right):
            axes.set(xlabel="wrong of the decided (%)")
            axes.set_xlim(left=-0.12 * axes.get_xlim()[1])
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=4)
    return drawing


def _path(axes: Axes, rows: list[dict[str, Any]], what: str, scale: float, series: Series, rule: str | None) -> None:
    x = np.array([100 * row["wrong_share"] for row in rows])
    y = np.array([scale * row[what] for row in rows])
    axes.plot(x, y, label=rule or "θ < t", **series.drawn())
    first = next((i for i, row in enumerate(rows) if row.get("headroom") == 1 or row["rule"] == "θ < 0.5"), None)
    if first is not None:
        low, high = (100 * limit for limit in rows[first]["wrong_interval"])
        axes.plot([low, high], [y[first]] * 2, color=series.colour, linewidth=0.5)
    named: set[tuple[float, float]] = set()  # a point that several share is named once
    for row, at, height in zip(rows, x, y, strict=True):
        certified = row.get("headroom") in MARKED and rule == CERTIFICATES[0]
        plain = rule is None and what == "lead" and row["rule"].removeprefix("θ < ") in NAMED
        if (certified or plain) and (at, height) not in named:
            named.add((at, height))
            text = f"{row['headroom']:g}" if certified else row["rule"].removeprefix("θ < ")
            _name(axes, at, height, text, series.colour, (-9, 2) if certified else (14, 2))


def _name(axes: Axes, x: float, y: float, text: str, colour: str, offset: tuple[int, int]) -> None:
    place: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center"}
    axes.annotate(text, (x, y), xytext=offset, color=colour, fontsize=7, **place)


def _dead(result: dict[str, Any], kind: str) -> int:
    return max((row["dead"] for row in _certificate(result, kind, "box")), default=0)


def _certificate(result: dict[str, Any], kind: str, rule: str) -> list[dict[str, Any]]:
    rows = [row for row in result["all"]["calibration"] if row["kind"] == kind and row["rule"] == rule]
    return sorted(rows, key=lambda row: row["headroom"])


def _threshold(result: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [row for row in result["all"]["rules"] if row["kind"] == kind and row["rule"].startswith("θ <")]


def _drawable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of rules that decided something; without it they have neither a share nor a lead."""
    return [row for row in rows if None not in (row["wrong_share"], row["lead"], row["caught_share"])]
