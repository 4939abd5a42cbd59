"""The interactive gate paths: the data that the script reads, and the place where it draws."""

from __future__ import annotations

import json
from typing import Any

from training.reports.html.elements import element, text
from training.reports.html.layers import group_of
from training.reports.html.runs import PageRun

__all__ = ["data", "plot"]


def data(run: PageRun) -> str:
    """Return an element that holds as JSON what the script reads; columns are gates."""
    paths = run.paths
    names = {
        "gates": paths["gates"],
        "groups": [group_of(gate) for gate in paths["gates"]],
        "isLayer": paths["is_layer"],
        "certified": paths["certified"],
        "died": paths["died"],
        "removed": run.removed,
        "steps": paths["steps"],
        "theta": _columns(paths["theta"]),
        "rho": _columns(paths["rho"]),
    }
    inside = json.dumps(names, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" class="paths">{inside}</script>'


def _columns(rows: list[list[Any]]) -> list[list[Any]]:
    return [[None if value is None else round(value, 3) for value in column] for column in zip(*rows, strict=True)]


def plot(run: PageRun) -> str:
    """Return the controls, the canvases, and a line of text that names the chosen gate."""
    groups = dict.fromkeys(group_of(gate) for gate in run.paths["gates"])
    options = [element("option", "all layers", value="")] + [element("option", name, value=name) for name in groups]
    views = {"theta": "θ over steps", "rho": "ρ over steps", "plane": "the (ρ, θ) plane"}
    canvases = "".join(_canvas(view, title) for view, title in views.items())
    legend = "".join(
        f'<li class="{kind}">{text(name)}</li>'
        for kind, name in (
            ("held", "certified, ended dead"),
            ("back", "certified, not dead at the end"),
            ("dead", "ended dead, never certified"),
            ("alive", "neither"),
        )
    )
    return (
        '<div class="gates"><div class="controls">'
        f'<label>layer <select class="group">{"".join(options)}</select></label>'
        '<label>gate <select class="gate"><option value="">none chosen</option></select></label></div>'
        '<p class="told" role="status">Point at a path, or choose a gate.</p>'
        f'<div class="views">{canvases}</div><ul class="legend">{legend}</ul>'
        "<noscript><p>The paths are drawn by a script, which this browser does not run.</p></noscript>"
        f"{data(run)}</div>"
    )


def _canvas(view: str, title: str) -> str:
    drawn = f'<canvas data-view="{view}" role="img" aria-label="{text(title)}"></canvas>'
    return f"<figure>{element('figcaption', title)}{drawn}</figure>"
