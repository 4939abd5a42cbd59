"""The motion of a gate against the envelope of its promise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dynamics.integrators.fate import Fate
from training.certificates.fates import first_step
from training.evidence.promises.envelope import TOLERANCE, envelope, height, state_at
from training.evidence.promises.promise import Promises
from training.evidence.runs import ShadowRun

__all__ = ["LEAP", "Envelope", "MotionViolation", "follow"]

LEAP = 0.05  # a move beyond the ODE within one record that no small step makes, in the units of `TOLERANCE`


@dataclass(frozen=True)
class MotionViolation:
    """When a gate rose above its envelope while coupling and cost held. Arrays are [promise].

    Attributes:
        first: first step above the envelope, −1 for never.
        excess: how far above it was then, in θ or as a share of a norm, whichever is more; NaN for never.
        leap: largest move beyond the ODE within one record, up to that step; NaN for never.
    """

    first: Int[np.ndarray, " promise"]
    excess: Float[np.ndarray, " promise"]
    leap: Float[np.ndarray, " promise"]

    @property
    def in_one_step(self) -> Bool[np.ndarray, " promise"]:
        """Mask of the violations made within one record: a step too large for the ODE, and not little by little."""
        return (self.first >= 0) & (self.leap > LEAP)


@dataclass(frozen=True)
class Envelope:
    """What becomes of each envelope. Arrays are [promise].

    Attributes:
        fate: code of `dynamics.integrators.batched_flow.Fate`.
        left: its θ at the last record looked at; NaN where it cannot be computed.
        escapes: it does not end in zero, or there is no bound at all. A true certificate excludes this.
    """

    fate: Int[np.ndarray, " promise"]
    left: Float[np.ndarray, " promise"]
    escapes: Bool[np.ndarray, " promise"]


def follow(
    run: ShadowRun, made: Promises, until: Int[np.ndarray, " promise"], broken: Int[np.ndarray, " promise"]
) -> tuple[MotionViolation, Envelope]:
    """Compare every subject's path with the envelope of its promise.

    Args:
        run: a shadow run.
        made: the promises.
        until: index of the last record to look at.
        broken: first step at which coupling or cost went beyond the promise, −1 for never; later records do not count.
    """
    steps = run.history.step.values
    first, fate = np.full(len(made), -1), np.zeros(len(made), dtype=np.int64)
    excess, leap, left = (np.full(len(made), np.nan) for _ in range(3))
    for record in np.unique(made.record):  # promises of one record share their times
        at = np.flatnonzero(made.record == record)
        here, later = made[at], steps[record:, None]
        flow = envelope(
            run, here, state_at(run, made.system, int(record), here.subject), run.time[record:] - run.time[record]
        )
        assert flow.path is not None
        fate[at] = flow.outcome
        left[at] = flow.path[-1][until[at] - record, np.arange(len(at))]
        path = state_at(run, made.system, np.arange(record, len(steps))[:, None], here.subject)
        above = height(path, flow.path)
        held = (broken[at] < 0) | (later < broken[at])
        seen = (above > TOLERANCE) & held & (later <= steps[until[at]])
        first[at] = first_step(steps[record:], seen)
        for i in np.flatnonzero(seen.any(0)):
            j = int(seen[:, i].argmax())
            excess[at[i]] = above[j, i]
            leap[at[i]] = _largest_leap(run, here[i : i + 1], int(record) + j)
    escapes = np.isin(fate, (Fate.ALIVE, Fate.DIVERGED)) | np.isinf(made.bound)
    return MotionViolation(first, excess, leap), Envelope(fate, left, escapes)


def _largest_leap(run: ShadowRun, one: Promises, end: int) -> float:
    """Return the largest move beyond the ODE within one record, from the flag of one promise to the record `end`."""
    largest = 0.0
    for i in range(int(one.record[0]), end):
        times = np.array([run.time[i + 1] - run.time[i]])
        flow = envelope(run, one, state_at(run, one.system, i, one.subject), times)
        assert flow.path is not None
        there = tuple(part[None] for part in state_at(run, one.system, i + 1, one.subject))
        largest = max(largest, float(height(there, flow.path)[0, 0]))
    return largest
