"""Shadow against prune: what removing certified gates while training changes, pair by pair of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.results import NotThereError
from figures.runs import Run, by, read_runs, share
from figures.style import BLACK, BLUE, GREY, ORANGE, figure

__all__ = ["caption", "draw"]

Pair = tuple[Run, Run]

#: Title of each panel and its value of a run.
_PANELS: dict[str, Callable[[Run], float]] = {
    "accuracy (%)": lambda run: 100 * run.gated["accuracy"],
    "FLOPs left (%)": lambda run: share(run, "macs"),
    "parameters left (%)": lambda run: share(run, "parameters"),
    "training FLOPs (%)": lambda run: share(run, "flops"),
}


def caption(results: Path) -> str:
    """Return what to see, the mean differences by rule, how many pairs."""
    pairs = [pair for group in _pairs(results).values() for pair in group]
    seeds = sorted({pair[0].table["seed"] for pair in pairs})
    data = sorted({pair[0].table["data"].partition(",")[0] for pair in pairs})
    changes = "; ".join(
        f"{rule} {_change([pair for pair in pairs if pair[1].way[0] == rule])}"
        for rule in sorted({pair[1].way[0] for pair in pairs})
    )
    return (
        "Shadow runs (rings), in which nothing is removed, against prune runs (diamonds), which remove the gates "
        "that a rule flags as they train: one row a setting and rule, means over seeds. FLOPs and parameters of the "
        "network at the end, and FLOPs of the training, are shares of the full network's. Mean change from shadow "
        f"to prune in points, by rule: {changes}. n = {len(pairs)} pair{'s' if len(pairs) > 1 else ''} of runs of "
        f"the same settings, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}. Data: "
        f"{', '.join(data)}."
    )


def _change(pairs: list[Pair]) -> str:
    """Mean of prune less shadow for each panel."""
    means = {
        name: np.mean([value(prune) - value(shadow) for shadow, prune in pairs]) for name, value in _PANELS.items()
    }
    parts = [f"{name.removesuffix(' (%)')} {'−' if mean < 0 else '+'}{abs(mean):.1f}" for name, mean in means.items()]
    return f"{', '.join(parts)} (n = {len(pairs)})"


def draw(results: Path) -> Figure:
    """Draw the committed `table.json` of every pair.

    Raises:
        NotThereError: if there is no pair.
    """
    groups = _pairs(results)
    drawing, panels = figure(columns=len(_PANELS), height=1.25 + 0.24 * len(groups), sharey=True)
    for axes, (name, value) in zip(panels, _PANELS.items(), strict=True):
        for row, pairs in enumerate(groups.values()):
            _row(axes, row, [value(pair[0]) for pair in pairs], [value(pair[1]) for pair in pairs])
        axes.set(xlabel=name, ylim=(len(groups) - 0.4, -0.6))
        axes.set_xlim(_limits(name, [value(run) for pairs in groups.values() for pair in pairs for run in pair]))
        axes.grid(axis="y", linewidth=0.3)
    panels[0].set_yticks(range(len(groups)), [name for name, _ in groups])
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles[:2], labels[:2], loc="outside lower center", ncols=2)
    return drawing


def _limits(name: str, values: list[float]) -> tuple[float, float]:
    """Shares from 0 to 100; accuracies at least ten points wide, so that small differences look small."""
    if not name.startswith("accuracy"):
        return 0.0, 108.0
    middle, reach = (max(values) + min(values)) / 2, max(5.0, 0.6 * (max(values) - min(values)))
    return middle - reach, middle + reach


def _row(axes: Axes, row: int, shadow: list[float], prune: list[float]) -> None:
    ends = float(np.mean(shadow)), float(np.mean(prune))
    axes.plot(ends, [row, row], color=GREY, linewidth=1.0, zorder=1)
    # The ring is larger than the diamond: both are seen where they coincide.
    axes.plot(ends[0], row, "o", color=BLUE, markerfacecolor="white", markersize=8, label="shadow run")
    axes.plot(ends[1], row, "D", color=BLACK, markerfacecolor=ORANGE, markersize=4, label="prune run")


def _pairs(results: Path) -> dict[tuple[str, str], list[Pair]]:
    """Pairs of equal settings and seed, by setting: its name, and what else the runs have in common."""
    found: dict[tuple[str, str], list[Pair]] = {}

    def same(run: Run) -> tuple[object, ...]:
        return *run.price, run.settings["gate_lr"], run.rest, run.table["seed"]

    for runs in by(same, read_runs(results)).values():
        shadow, prune = (
            [run for run in runs if (run.table["mode"] == "prune") == removes] for removes in (False, True)
        )
        for pair in ((shadow[0], run) for run in prune if shadow):  # one shadow run may serve several rules
            nu, alpha, beta = pair[0].price
            name = f"{pair[0].settings['network']}, ν {nu:g}, α {alpha:g}, β {beta:g}: {pair[1].way[0]}"
            found.setdefault((name, repr(same(pair[0])[:-1]) + repr(pair[1].way)), []).append(pair)
    if not found:
        raise NotThereError(f"a shadow and a prune run of the same settings and seed in {results}/*/table.json")
    return found
