"""Accuracy against FLOPs over ν, α and β: one point a setting, one line over ν."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.results import NotThereError
from figures.runs import Run, by, read_runs, share
from figures.style import GREY, SERIES, Series, figure

__all__ = ["caption", "draw"]

NARROWEST = 2.0  # points of accuracy that a panel shows at least


def caption(results: Path) -> str:
    """Return what to see, how many runs and seeds."""
    panels = _panels(results)
    runs = [run for group in panels.values() for run in group]
    seeds = sorted({run.table["seed"] for run in runs})
    data = sorted({run.table["data"].partition(",")[0] for run in runs})
    settings = sum(len({run.price for run in group}) for group in panels.values())
    return (
        "Test accuracy at the last epoch against the FLOPs that are left (multiply–accumulates counted once), one "
        "point a setting: mean over seeds, bars from the lowest to the highest. Lines run along the pruning "
        "pressure ν (numbers) at fixed α (0 prices units only, 1 layers only) and β (0 prices FLOPs, 1 parameters); "
        "open: shadow runs, filled: pruned by a certificate, grey inside: by a plain threshold; the grey line, "
        f"where there is one, is the network without gates. n = {len(runs)} runs at {settings} settings (ν, α, β), "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}; trained from scratch. Data: "
        f"{', '.join(data)}."
    )


def draw(results: Path) -> Figure:
    """Draw every committed `table.json` of networks with at least two settings.

    Raises:
        NotThereError: if there is no such network.
    """
    panels = _panels(results)
    prices = sorted({_line_of(run) for runs in panels.values() for run in runs})
    styles = dict(zip(prices, itertools.cycle(SERIES), strict=False))
    drawing, axes = figure(columns=max(2, len(panels)), height=3.3)
    for axis in axes[len(panels) :]:
        axis.remove()
    for axis, runs in zip(axes, panels.values(), strict=False):
        _panel(axis, runs, styles)
        axis.set(title=f"{runs[0].settings['network']}, {runs[0].table['epochs']} epochs", xlabel="FLOPs left (%)")
    axes[0].set_ylabel("test accuracy (%)")
    named: dict[str, Artist] = {}
    for axis in axes[: len(panels)]:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    drawing.legend(list(named.values()), list(named), loc="outside lower center", ncols=3)
    return drawing


def _panels(results: Path) -> dict[str, list[Run]]:
    """The runs that differ in nothing but (ν, α, β), mode and seed, where there is more than one (ν, α, β)."""
    groups = by(lambda run: run.rest, read_runs(results))
    found = {name: runs for name, runs in groups.items() if len({run.price for run in runs}) > 1}
    if not found:
        raise NotThereError(f"a second setting of (ν, α, β) of one network in {results}/*/table.json")
    return found


def _panel(axes: Axes, runs: list[Run], styles: dict[tuple[float, float, float], Series]) -> None:
    ungated = [100 * run.table["ungated"]["accuracy"] for run in runs if "ungated" in run.table]
    if ungated:
        axes.axhline(float(np.mean(ungated)), color=GREY, linewidth=0.8)
    for (alpha, beta, gate_lr), series in styles.items():
        chosen = [run for run in runs if _line_of(run) == (alpha, beta, gate_lr)]
        several = len({run.settings["gate_lr"] for run in runs if run.price[1:] == (alpha, beta)}) > 1
        for way, group in by(lambda run: run.way, chosen).items():
            name = f"α = {alpha:g}, β = {beta:g}" + (f", gate rate {gate_lr:g}" if several else "")
            _line(axes, group, series, f"{name}, {f'pruned by {way[0]}' if way[0] else 'shadow'}")
    low, high = axes.get_ylim()
    if high - low < NARROWEST:  # so that small differences look small
        axes.set_ylim((low + high - NARROWEST) / 2, (low + high + NARROWEST) / 2)
    axes.margins(x=0.1)


def _line_of(run: Run) -> tuple[float, float, float]:
    """What a line has in common: (α, β) and the gates' learning rate."""
    return *run.price[1:], run.settings["gate_lr"]


def _line(axes: Axes, runs: list[Run], series: Series, name: str) -> None:
    rule = runs[0].way[0]
    inside = "white" if not rule else ("#cccccc" if rule.startswith("θ") else series.colour)
    groups = by(lambda run: float(run.settings["nu"]), runs)
    x = np.array(
        [[np.mean(values), *_range(values)] for g in groups.values() if (values := [share(r, "macs") for r in g])]
    )
    y = np.array([[np.mean(v), *_range(v)] for g in groups.values() if (v := [100 * r.gated["accuracy"] for r in g])])
    axes.errorbar(
        x[:, 0],
        y[:, 0],
        xerr=x[:, 1:].T,
        yerr=y[:, 1:].T,
        elinewidth=0.6,
        label=name,
        markerfacecolor=inside,
        **series.drawn(),
    )
    for nu, at, height in zip(groups, x[:, 0], y[:, 0], strict=True):
        axes.annotate(f"{nu:g}", (at, height), xytext=(3, 4), textcoords="offset points", fontsize=7)


def _range(values: list[float]) -> tuple[float, float]:
    """How far the lowest and the highest lie from the mean."""
    mean = float(np.mean(values))
    return mean - min(values), max(values) - mean
