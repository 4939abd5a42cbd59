"""The three assumptions of a promise, and when each was seen to break.

A certificate given at record k, with bound η and cost κ, assumes of every later interval j:

    coupling   D ≥ −ηρ and ⟨∇D, w⟩ ≥ −ηρ. Broken *certainly* where (−D̂_j − 2·SE)/ρ > η; *measured* above where only
               η̂_j > η, the strongest pull of the interval. Of many intervals a few lie 2·SE from the truth by chance
               alone, and the strongest of several pulls is biased upward; the ratio η̂_j/η says how far it went.
    cost       κ_j ≥ κ. κ is computed and not estimated.
    motion     the state moves as the bounding ODE allows, so that it stays below the envelope of the promise
               (`training.evidence.promises.envelope`). Broken where it lies above before coupling or cost broke. It may
               have got there in one *step*, too large for the ODE, or by *drift*, little by little, as noise does that
               pushes weights outward.

The assumptions are sufficient and not necessary: many gates break them and die all the same. How many is counted too,
since an excuse that would serve most gates that died is a weak one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from training.certificates.fates import first_step
from training.evidence.measurements import acting
from training.evidence.promises.envelope import state_at
from training.evidence.promises.limits import Exceeded, exceeded
from training.evidence.promises.motion import Envelope, MotionViolation, follow
from training.evidence.promises.promise import Promises
from training.evidence.runs import ShadowRun

__all__ = ["CostViolation", "CouplingViolation", "Violations", "violations"]


@dataclass(frozen=True)
class CouplingViolation:
    """When the measured coupling exceeded the bound. Arrays are [promise].

    Attributes:
        first: first step at which η̂ was above the bound, −1 for never.
        certain: first step at which it was above by more than two standard errors, −1 for never.
        ratio: largest later η̂ over the bound, broken or not; 0 where nothing pulled, ∞ above a bound of 0.
        gain: largest later η̂ρ over κ; θ rises only where this exceeds 1.
    """

    first: Int[np.ndarray, " promise"]
    certain: Int[np.ndarray, " promise"]
    ratio: Float[np.ndarray, " promise"]
    gain: Float[np.ndarray, " promise"]


@dataclass(frozen=True)
class CostViolation:
    """When the cost fell below its value at the flag. Arrays are [promise].

    Attributes:
        first: first step at which κ was below, −1 for never.
        ratio: smallest later κ over its value at the flag, broken or not.
    """

    first: Int[np.ndarray, " promise"]
    ratio: Float[np.ndarray, " promise"]


@dataclass(frozen=True)
class Violations:
    """What was seen of each promise after its flag."""

    coupling: CouplingViolation
    cost: CostViolation
    motion: MotionViolation
    envelope: Envelope

    @property
    def any(self) -> Bool[np.ndarray, " promise"]:
        """Mask of the promises of which any assumption was seen to break."""
        return (self.coupling.first >= 0) | (self.cost.first >= 0) | (self.motion.first >= 0)


def violations(run: ShadowRun, made: Promises, until: Int[np.ndarray, " promise"]) -> Violations:
    """Hold every promise against what was measured after its flag.

    Args:
        run: a shadow run.
        made: the promises.
        until: index of the last record to look at, for each promise.
    """
    seen = exceeded(run.history, made, until)
    motion, envelope = follow(run, made, until, first_step(run.history.step.values, seen.above | seen.below))
    return Violations(_coupling(run, made, seen), _cost(run, made, seen), motion, envelope)


def _coupling(run: ShadowRun, made: Promises, seen: Exceeded) -> CouplingViolation:
    steps = run.history.step.values
    pull = acting(run.history, made.system).value[:, made.subject]
    *norms, _ = state_at(run, made.system, np.arange(len(steps))[:, None], made.subject)
    return CouplingViolation(
        first=first_step(steps, seen.above),
        certain=first_step(steps, seen.surely),
        ratio=_largest(_quotient(pull, made.bound), seen.later),
        gain=_largest(_quotient(pull * np.prod(norms, axis=0), made.cost), seen.later),
    )


def _cost(run: ShadowRun, made: Promises, seen: Exceeded) -> CostViolation:
    cost = run.values("cost")[:, made.subject]
    return CostViolation(
        first=first_step(run.history.step.values, seen.below),
        ratio=-_largest(-_quotient(cost, made.cost), seen.later),
    )


def _quotient(value: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Return value/limit; ±∞ over 0, and 0 for 0/0 (no pull, no bound needed)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((value == 0) & (limit == 0), 0.0, value / limit)


def _largest(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the largest value over the records in the mask, of those measured; NaN for none."""
    where = where & ~np.isnan(values)
    found = np.max(np.where(where, values, -np.inf), axis=0)
    return np.where(where.any(0), found, np.nan)
