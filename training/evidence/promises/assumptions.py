"""Whether what was measured after a flag stayed within what the certificate assumed of it.

The rule of all reports: the coupling assumption is *measured* broken in an interval where η̂ exceeds the bound at the
flag, and broken *certainly* where D̂ exceeds it by two standard errors (`training.evidence.measurements`); the cost
assumption is broken where κ is below its value at the flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from training.certificates.fates import first_step
from training.certificates.regions import inherits
from training.certificates.rules import Rule
from training.evidence.measurements import System, acting, bound

__all__ = ["ROUNDING", "Exceeded", "Promises", "exceeded", "made_at", "seen_broken", "withdrawn"]

ROUNDING = 1e-6  # histories are stored in single precision


@dataclass(frozen=True)
class Promises:
    """Certificates given at a flag, one entry a promise.

    Attributes:
        gate: the flagged gate.
        subject: the gate that the promise is about: itself, or the gate of its branch.
        record: index of the record at which it was flagged.
        system: the system that bounds the subject.
        bound: η of the promise.
        cost: κ of the promise.
    """

    gate: Int[np.ndarray, " promise"]
    subject: Int[np.ndarray, " promise"]
    record: Int[np.ndarray, " promise"]
    system: System
    bound: Float[np.ndarray, " promise"]
    cost: Float[np.ndarray, " promise"]

    @property
    def inherited(self) -> Bool[np.ndarray, " promise"]:
        """Which promises are about the branch of the flagged unit."""
        return self.gate != self.subject


def made_at(
    history: xr.Dataset,
    gate: Int[np.ndarray, " promise"],
    subject: Int[np.ndarray, " promise"],
    record: Int[np.ndarray, " promise"],
    system: System,
) -> Promises:
    """The promises with the bound and cost that their subject had at the record."""
    cost = np.asarray(history.cost.values, dtype=np.float64)
    return Promises(gate, subject, record, system, bound(history, system)[record, subject], cost[record, subject])


class Exceeded(NamedTuple):
    """Where the measurements went beyond a promise, [step, promise]: only after its flag, up to the last record."""

    later: Bool[np.ndarray, "step promise"]
    above: Bool[np.ndarray, "step promise"]
    surely: Bool[np.ndarray, "step promise"]
    below: Bool[np.ndarray, "step promise"]


def exceeded(history: xr.Dataset, made: Promises, until: Int[np.ndarray, " promise"]) -> Exceeded:
    """Hold each promise against the intervals after its flag.

    Args:
        history: of the run.
        made: the promises.
        until: index of the last record to look at.
    """
    rows = np.arange(history.sizes["step"])[:, None]
    later = (rows > made.record) & (rows <= until)
    pull, lower = (part[:, made.subject] for part in acting(history, made.system))
    limit = made.bound * (1 + ROUNDING)
    cost = np.asarray(history.cost.values, dtype=np.float64)[:, made.subject]
    return Exceeded(
        later,
        later & ((pull > limit) | (lower > limit)),
        later & (lower > limit),
        later & (cost < made.cost * (1 - ROUNDING)),
    )


def withdrawn(mask: Bool[np.ndarray, "step gate"]) -> Bool[np.ndarray, " gate"]:
    """Which flagged gates a rule no longer flags at some later record."""
    return (np.logical_or.accumulate(mask, 0) & ~mask).any(0)


def seen_broken(history: xr.Dataset, rule: Rule, mask: Bool[np.ndarray, "step gate"]) -> Bool[np.ndarray, " gate"]:
    """Which gates that a certificate flagged later had its coupling or cost measured beyond the promise.

    A unit whose margin is its branch's is judged by its branch (with the constants of the ODE at hand, one that is
    certified twice has two promises: `training.evidence.promises.breaks`).

    Args:
        history: of the run.
        rule: a certificate.
        mask: at which records it flags which gates.
    """
    assert rule.system is not None
    gate = np.flatnonzero(mask.any(0))
    record = mask.argmax(0)[gate]
    parent = history.parent.values
    own = history[{"box": "in_box", "half-plane": "margin", "bilinear": "margin_bilinear"}[rule.name]].values
    branch = history["in_box" if rule.name == "box" else "margin"].values
    certified = mask if rule.system == "linear" else history.margin.values < 0
    through = inherits(parent, history.cost.values)[record, gate] & certified[record, parent[gate]]
    through &= own[record, gate] == branch[record, parent[gate]]
    last, found = history.sizes["step"] - 1, np.zeros(mask.shape[1], dtype=bool)
    for part, subject, system in ((~through, gate, rule.system), (through, parent[gate], "linear")):
        made = made_at(history, gate[part], subject[part], record[part], system)  # type: ignore[arg-type]
        seen = exceeded(history, made, np.full(len(made.gate), last))
        found[made.gate] = first_step(history.step.values, seen.above | seen.below) >= 0
    return found
