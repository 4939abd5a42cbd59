"""The limits of a promise: at which later records the measured coupling or the cost went beyond them.

All reports use the same rule. The coupling assumption is *measured* broken in an interval where η̂ exceeds the bound at
the flag, and broken *certainly* where D̂ exceeds it by two standard errors (`training.evidence.measurements`). The cost
assumption is broken where κ is below its value at the flag.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from training.certificates.fates import first_step
from training.certificates.rules import Rule
from training.evidence.measurements import acting
from training.evidence.promises.promise import Promises, promises_of

__all__ = ["ROUNDING", "Exceeded", "exceeded", "first_record", "seen_broken", "withdrawn"]

ROUNDING = 1e-6  # histories are stored in single precision


class Exceeded(NamedTuple):
    """Masks of the records at which the measurements went beyond a promise. [step, promise]

    Attributes:
        later: records after the flag, up to the last one to look at; the other masks lie within this one.
        above: η̂ was above the bound.
        surely: it was above by two standard errors.
        below: κ was below its value at the flag.
    """

    later: Bool[np.ndarray, "step promise"]
    above: Bool[np.ndarray, "step promise"]
    surely: Bool[np.ndarray, "step promise"]
    below: Bool[np.ndarray, "step promise"]


def exceeded(history: xr.Dataset, made: Promises, until: Int[np.ndarray, " promise"]) -> Exceeded:
    """Hold each promise against the intervals after its flag.

    Args:
        history: of the run.
        made: the promises.
        until: index of the last record to look at, for each promise.
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


def first_record(mask: Bool[np.ndarray, "step gate"]) -> Int[np.ndarray, " gate"]:
    """Return the index of each gate's first record in the mask, −1 for none."""
    return np.where(mask.any(0), mask.argmax(0), -1)


def withdrawn(steps: Int[np.ndarray, " step"], mask: Bool[np.ndarray, "step gate"]) -> Int[np.ndarray, " gate"]:
    """Return the first step at which a rule no longer flagged a gate that it had flagged before, −1 for never.

    Args:
        steps: of the records.
        mask: at which records the rule flags which gates.
    """
    return first_step(steps, np.logical_or.accumulate(mask, 0) & ~mask)


def seen_broken(history: xr.Dataset, rule: Rule, mask: Bool[np.ndarray, "step gate"]) -> Bool[np.ndarray, " gate"]:
    """Return which gates that a certificate flagged later had its coupling or cost measured beyond the promise.

    Nothing but the history is needed. With the constants of the ODE, `training.evidence.promises.judge` finds both
    promises of a unit that is certified twice; here it has the deeper one only.

    Args:
        history: of a shadow run.
        rule: a certificate.
        mask: at which records it flags which gates.
    """
    found = np.zeros(mask.shape[1], dtype=bool)
    for made in promises_of(history, rule, first_record(mask)):
        seen = exceeded(history, made, np.full(len(made), history.sizes["step"] - 1))
        found[made.gate] = (seen.above | seen.below).any(0)
    return found
