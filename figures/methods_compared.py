"""Systems compared: accuracy against what is left of the network, and against what its training cost.

`python -m figures.methods_compared FOLDER` draws the table.json of a comparison beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.results import NotThereError, read
from figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED, figure, save

CAPTION = (
    "Systems on the same network, data and counters: test accuracy after the last epoch against the "
    "multiply–accumulates left (left) and against the floating-point operations of training, both relative to the "
    "network that is not pruned. Points: means over seeds; bars: standard deviations; small points: single seeds. "
    "Filled: trained from scratch; open: begun with a pretrained network, whose training is counted."
)

# A system is known by its colour and its marker, so that it is known in grey too.
_COLOURS, _MARKERS = (BLUE, ORANGE, GREEN, RED, GREY), "osD^vP"
_STYLES = [(_COLOURS[i % 5], _MARKERS[i % 6]) for i in range(30)]  # 5 and 6 have no common divisor: all differ


def caption(results: Path) -> str:
    """Return what to see, of how many runs, seeds and systems."""
    table = read(results / "table.json")
    seeds = table["seeds"]
    return (
        f"{CAPTION} n = {len(table['rows'])} systems, {len(seeds)} seed{'s' * (len(seeds) > 1)} "
        f"({', '.join(map(str, seeds))}), {table['network']}. Data: preset {table['preset']}."
    )


def draw(results: Path) -> Figure:
    """Draw `table.json` of a folder of `python -m training compare`.

    Raises:
        NotThereError: if it is not there.
        KeyError: if it is of another command.
    """
    table = read(results / "table.json")
    drawing, panels = figure(columns=2, height=3.4)
    for axes, measure, label in zip(
        panels,
        ("macs", "training_flops"),
        ("multiply–accumulates left, %", "training FLOPs, % of those without pruning"),
        strict=True,
    ):
        for row, style in zip(table["rows"], _styles(table["rows"]), strict=True):
            _points(axes, row, measure, *style)
        axes.set(xlabel=label, ylabel="test accuracy after the last epoch, %")
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=4)
    seeds = len(table["seeds"])
    drawing.suptitle(f"{table['network']}, preset {table['preset']}, {seeds} seed{'s' * (seeds > 1)}", fontsize=8)
    return drawing


def _styles(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Black star for the network that is not pruned; the others in turn."""
    others = iter(_STYLES * (len(rows) // len(_STYLES) + 1))
    return [(BLACK, "*") if row["method"] == "none" else next(others) for row in rows]


def _points(axes: Axes, row: dict[str, Any], measure: str, colour: str, marker: str) -> None:
    x, y = row[measure], row["accuracy"]
    axes.plot(
        *([100 * value for value in each["values"]] for each in (x, y)),
        marker,
        color=colour,
        markersize=2,
        alpha=0.5,
        linestyle="none",
    )
    axes.errorbar(
        100 * x["mean"],
        100 * y["mean"],
        xerr=None if x["sd"] is None else 100 * x["sd"],
        yerr=None if y["sd"] is None else 100 * y["sd"],
        color=colour,
        marker=marker,
        markersize=5,
        markerfacecolor="white" if row["pretrained"] else colour,
        linestyle="none",
        elinewidth=0.8,
        label=row["label"],
    )


def main(arguments: list[str]) -> int:
    """Exit status 0, or 2 where there is no comparison to draw."""
    if len(arguments) != 1:
        print("usage: python -m figures.methods_compared FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    try:
        save(draw(folder), folder, "methods_compared")
    except (NotThereError, OSError, ValueError, KeyError) as error:
        print(f"error: {folder} holds no comparison that can be drawn: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
