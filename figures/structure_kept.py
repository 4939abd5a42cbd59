"""Structure kept per layer: units of every block that are on at the end, in the shadow run and in its prune run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.results import read
from figures.style import BLACK, BLUE, ORANGE, figure

__all__ = ["caption", "draw"]

RUNS = {"shadow": "cifar10-quick-seed0", "prune": "cifar10-quick-prune-seed0"}
_STYLES = {"shadow": (BLUE, "////"), "prune": (ORANGE, None)}
_NAMES = {"shadow": "shadow run: nothing is removed", "prune": "prune run: certified units leave"}


def caption(results: Path) -> str:
    """Return what to see, how many units and branches, of which runs."""
    kept = {mode: _kept(results / folder) for mode, folder in RUNS.items()}
    table = read(results / RUNS["shadow"] / "table.json")
    full = kept["shadow"]["full"]
    sums = " and ".join(
        f"{found['units'].sum()} in the {mode} run ({int((~found['on']).sum())} branches off)"
        for mode, found in kept.items()
    )
    same = int((np.sign(kept["shadow"]["units"]) == np.sign(kept["prune"]["units"])).sum())
    return (
        "Units of each residual block that are on at the end of training (θ > ½ and the block's branch on), in the "
        "shadow run and in the prune run of the same settings and seed; outlines are the full network, a cross is a "
        f"branch that is off. On: {sums}, of {full.sum()}; the two runs agree on whether a block is left in {same} "
        f"of {len(full)} blocks. n = {full.sum()} units in {len(full)} blocks; one pair of runs, seed "
        f"{table['seed']}: {table['settings']['network']}, {table['epochs']} epochs, ν = {table['settings']['nu']}, "
        f"α = {table['settings']['alpha']}. Data: {table['data'].partition(',')[0]}."
    )


def draw(results: Path) -> Figure:
    """Draw `gate_paths.json` of both runs.

    Raises:
        NotThereError: if one is not there.
    """
    drawing, (axes,) = figure(height=2.6)
    for i, (mode, folder) in enumerate(RUNS.items()):
        _bars(axes, _kept(results / folder), mode, (i - 0.5) * 0.38)
    axes.set(xlabel="residual block, from input to output", ylabel="units on at the end")
    axes.legend(loc="upper left")
    return drawing


def _bars(axes: Axes, found: dict[str, np.ndarray], mode: str, offset: float) -> None:
    at = np.arange(len(found["full"])) + offset
    colour, hatch = _STYLES[mode]
    bar = partial(axes.bar, at, width=0.36, linewidth=0.6)
    bar(found["full"], facecolor="none", edgecolor=BLACK)
    bar(found["units"], facecolor=colour, edgecolor="white" if hatch else colour, hatch=hatch, label=_NAMES[mode])
    bar(found["units"], facecolor="none", edgecolor=BLACK)
    off = ~found["on"]
    axes.plot(at[off], np.full(off.sum(), 2.0), "x", color=BLACK, markersize=5, clip_on=False)
    axes.set_xticks(range(len(found["full"])))


def _kept(folder: Path) -> dict[str, np.ndarray]:
    """Per block: all its units (`full`), those on at the end (`units`), whether its branch is (`on`)."""
    paths = read(folder / "gate_paths.json")
    up = np.array([theta is not None and theta > 0.5 for theta in paths["theta"][-1]])
    block = np.array([name.partition(".")[0] for name in paths["gates"]])
    layer = np.array(paths["is_layer"])
    order = list(dict.fromkeys(block))
    on = np.array([bool(up[layer & (block == name)].all()) for name in order])
    units = np.array([int(up[~layer & (block == name)].sum()) for name in order])
    full = np.array([int((~layer & (block == name)).sum()) for name in order])
    return {"full": full, "units": np.where(on, units, 0), "on": on}
