"""FLOPs against time: what removing units and layers saves on a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from figures.results import read
from figures.style import GREY, SERIES, figure

__all__ = ["caption", "draw"]

_NAMES = {
    "layers": "layers",
    "both": "units and layers",
    "units by 8": "units, multiples of 8 left",
    "units not by 8": "units, any number left",
}


def caption(results: Path) -> str:
    """Return what to see, repetitions, batch, machine."""
    result = read(results / "shrunk.json")
    rows = [row for network in result["networks"] for row in network["rows"]]
    repeats = sorted({row["time ratio"]["n"] for row in rows})
    over = "; ".join(
        f"{name} {np.median([row['time over flops'] for row in rows if row['removed'] == removed]):.2f}"
        for removed, name in _NAMES.items()
    )
    return (
        "Time of a training step of shrunken networks against their FLOPs, both as a share of the full network's. "
        f"On the grey line time falls as FLOPs do; median of time share over FLOPs share: {over}. Medians with "
        f"quartiles over n = {' or '.join(map(str, repeats))} alternating repetitions; what is removed is fixed by "
        f"the benchmark, no seeds. Batch {result['batch']}, {result['threads']} threads of {result['processor']}. "
        f"Data: {result['images'].partition(',')[0]}."
    )


def draw(results: Path) -> Figure:
    """Draw `shrunk.json`, written by `python -m benchmarks.shrunk`.

    Raises:
        NotThereError: if it is not there.
    """
    result = read(results / "shrunk.json")
    networks = result["networks"]
    drawing, panels = figure(columns=max(2, len(networks)), height=2.9, sharey=True)
    for axes, network in zip(panels, networks, strict=False):
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8)
        for (removed, name), series in zip(_NAMES.items(), SERIES, strict=False):
            x, y, spread = _points([row for row in network["rows"] if row["removed"] == removed])
            axes.errorbar(x, y, spread, capsize=2, elinewidth=0.7, label=name, **series.drawn())
        axes.set(title=network["network"], xlabel="FLOPs left (%)", xlim=(0, 103), ylim=(0, 108))
    panels[0].set_ylabel("time of a step (% of the full network's)")
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=4)
    return drawing


def _points(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FLOPs, median time and its distance to the quartiles, in percent, with the full network at the end."""
    rows = sorted(rows, key=lambda row: row["flops ratio"])
    x = [100 * row["flops ratio"] for row in rows]
    y = [100 * row["time ratio"]["median"] for row in rows]
    quartiles = np.array([[100 * q for q in row["time ratio"]["quartiles"]] for row in rows]).T
    spread = np.abs(quartiles - y)
    return np.array([*x, 100.0]), np.array([*y, 100.0]), np.c_[spread, [0.0, 0.0]]
