"""Prune runs against the shadow runs of the same settings and seed: the cost of pruning while training, and its gain.

Made in the same way, on one machine and both compiled or neither, the two are equal bit for bit up to the first
removal. Otherwise they part by rounding before it, and the differences between them contain that too. Compared are the
networks at the end (every gate with θ ≥ ½ on), the floating-point operations of training, and its wall time, which
means something only where both runs had the machine to themselves. Seeds are the unit of replication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from scipy.special import stdtrit

from training.certificates.history import sound_history
from training.engine.config import shared_settings
from training.errors import InputError
from training.evidence.runs import run_name
from training.evidence.statistics import LEVEL, mean_and_deviation
from training.runtime.atomic_files import read_json

__all__ = ["Ended", "mode_of", "open_ended", "over_seeds", "pairs"]


@dataclass(frozen=True)
class Ended:
    """The end of a run.

    Attributes:
        name: in reports.
        settings: config.json.
        on: which of all gates there were at first are on at the end.
        accuracy: of the network that is left, in [0, 1].
        macs: share of the full network's multiply–accumulates that is on, in [0, 1].
        flops: spent in training, as a share of what the full network would have spent.
        seconds: wall time of training, > 0.
    """

    name: str
    settings: dict[str, Any]
    on: Bool[np.ndarray, " gate"]
    accuracy: float
    macs: float
    flops: float
    seconds: float

    @property
    def alike(self) -> dict[str, Any]:
        """The settings that a prune run and its shadow run share, seed included."""
        return shared_settings(self.settings, "mode", "prune")


def mode_of(folder: Path) -> str:
    """Return the mode of the run in a folder, "shadow" or "prune".

    Raises:
        InputError: if it holds no run.
    """
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} is no run: it holds no config.json")
    return str(read_json(folder / "config.json").get("mode", "shadow"))


def open_ended(folder: Path) -> Ended:
    """Return how the run in a folder ended.

    Raises:
        InputError: unless it is finished, has records, and its table has the figures.
    """
    for name in ("table.json", "gates.zarr"):
        if not (folder / name).exists():
            raise InputError(f"{folder} is no finished run: it holds no {name}")
    history, gated = sound_history(folder / "gates.zarr"), read_json(folder / "table.json")["gated"]
    theta = history.theta.values
    if not len(theta):
        raise InputError(f"{folder} has no record of its gates: nothing to compare")
    try:
        return Ended(
            name=run_name(folder),
            settings=read_json(folder / "config.json"),
            on=_on(theta[-1] >= 0.5, history.parent.values),
            accuracy=gated["accuracy"],
            macs=gated["macs"] / gated["macs_full"],
            flops=gated["flops"] / gated["flops_full"],
            seconds=gated["seconds"],
        )
    except KeyError as error:
        raise InputError(f"{folder / 'table.json'} has no {error}: it was made by another version") from None


def _on(open_: Bool[np.ndarray, " gate"], parent: Int[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
    """Return which open gates matter: no branch of which all units are off, and no unit whose branch is."""
    inside = parent >= 0
    branches = np.unique(parent[inside])
    on = open_.copy()
    on[branches] &= np.isin(branches, parent[inside & open_])
    on[inside] &= on[parent[inside]]
    return on


def pairs(shadows: Sequence[Ended], prunes: Sequence[Ended]) -> list[dict[str, Any]]:
    """Return a row for each way of pruning and settings, over its seeds.

    Args:
        shadows: shadow runs.
        prunes: prune runs, each with one shadow run of equal settings among these.

    Returns:
        `settings`, `prune`, `seeds`, and for each of the following `mean`, `deviation` (None for one seed), `interval`
        (95 %, Student; None for one seed) and `values`: accuracy, shadow_accuracy, difference (of the two), macs,
        shadow_macs, flops, seconds_ratio, unlike (share of the gates that are on in one of the two only), premature
        (gates that are off, as a share of those that are on in the shadow run).

    Raises:
        InputError: for a prune run without its shadow run, or one that is there twice.
    """
    groups: list[tuple[dict[str, Any], list[tuple[Ended, Ended]]]] = []
    for prune in prunes:
        partner = [shadow for shadow in shadows if shadow.alike == prune.alike]
        if len(partner) != 1:
            raise InputError(f"{prune.name} needs one shadow run of its settings and seed; got {len(partner)}")
        what = shared_settings(prune.alike, "seed") | {"prune": prune.settings["prune"]}
        members = next((members for known, members in groups if known == what), None)
        if members is None:
            members = []
            groups.append((what, members))
        if any(prune.settings["seed"] == other.settings["seed"] for other, _ in members):
            raise InputError(f"{prune.name} is there twice, or another run of the same settings and seed: name one")
        members.append((prune, partner[0]))
    return [_row(what, members) for what, members in groups]


def _row(what: dict[str, Any], members: Sequence[tuple[Ended, Ended]]) -> dict[str, Any]:
    members = sorted(members, key=lambda pair: pair[0].settings["seed"])
    measured = [_compared(prune, shadow) for prune, shadow in members]
    row = {"settings": {name: value for name, value in what.items() if name != "prune"}, "prune": what["prune"]}
    row["seeds"] = [prune.settings["seed"] for prune, _ in members]
    return row | {name: over_seeds([each[name] for each in measured]) for name in measured[0]}


def _compared(prune: Ended, shadow: Ended) -> dict[str, float]:
    return {
        "accuracy": prune.accuracy,
        "shadow_accuracy": shadow.accuracy,
        "difference": prune.accuracy - shadow.accuracy,
        "macs": prune.macs,
        "shadow_macs": shadow.macs,
        "flops": prune.flops,
        "seconds_ratio": prune.seconds / shadow.seconds,
        "unlike": float(np.mean(prune.on != shadow.on)),
        "premature": float((~prune.on & shadow.on).sum() / max(1, shadow.on.sum())),
    }


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Return `mean`, `deviation`, `interval` of the mean at `LEVEL` by Student's t, and the `values`.

    Args:
        values: at least one; of one value deviation and interval are None.
    """
    mean, deviation = mean_and_deviation(values)
    interval = None
    if mean is not None and deviation is not None:
        half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * deviation / len(values) ** 0.5
        interval = [mean - half, mean + half]
    return {"mean": mean, "deviation": deviation, "interval": interval, "values": list(values)}
