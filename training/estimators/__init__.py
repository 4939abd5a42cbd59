"""Estimators of D_g = E[ℓ | ξ_g=1] − E[ℓ | ξ_g=0] for all gates at once are found by name.

One batch: an `Estimator` (see `protocol`) from `estimator(name)`. Many steps: `Interval`, fed with `Sums`. Derivatives
with respect to the masks are in `slopes`, comparisons of losses in `trials`, both together in `corrected`, the exact
value in `enumeration`.

Measured on a real network (`python -m benchmarks.estimators`), in units of D: slopes of units are quiet and, once
corrected for curvature, little biased, while comparisons of losses drown a unit's small D in noise; for branches it
is the other way round.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from training.errors import InputError
from training.estimators.corrected import Corrected
from training.estimators.enumeration import all_masks, exact_difference, mask_probabilities
from training.estimators.interval import LEAST_SAMPLES, Interval
from training.estimators.protocol import Estimate, Estimator, OneBatch
from training.estimators.slopes import first_order, first_order_of, trapezoid, trapezoid_of
from training.estimators.sums import Sums
from training.estimators.trials import (
    control,
    control_own,
    difference,
    difference_of,
    horvitz_thompson,
    horvitz_thompson_centred,
)

__all__ = [
    "ESTIMATORS",
    "LEAST_SAMPLES",
    "Corrected",
    "Estimate",
    "Estimator",
    "Interval",
    "OneBatch",
    "Sums",
    "all_masks",
    "control",
    "control_own",
    "difference",
    "difference_of",
    "estimator",
    "exact_difference",
    "first_order",
    "first_order_of",
    "horvitz_thompson",
    "horvitz_thompson_centred",
    "mask_probabilities",
    "trapezoid",
    "trapezoid_of",
]

#: Name → what makes the estimator; a fresh one each time, since some remember.
ESTIMATORS: dict[str, Callable[[], Estimator]] = {
    "first-order": lambda: OneBatch(first_order),
    "trapezoid": lambda: OneBatch(trapezoid),
    "curvature": lambda: Corrected(by_losses=False),
    "corrected": Corrected,
    "difference": lambda: OneBatch(difference),
    "horvitz-thompson": lambda: OneBatch(horvitz_thompson),
    "horvitz-thompson-centred": lambda: OneBatch(horvitz_thompson_centred),
    "control": lambda: OneBatch(control),
    "control-own": lambda: OneBatch(control_own),
}


def estimator(name: str = "first-order", is_branch: Tensor | None = None) -> Estimator:
    """Return the estimator of a name; with `is_branch` [gate] also "mixed": branches `corrected`, units `curvature`.

    Raises:
        InputError: for an unknown name; the message lists the known ones.

    Example:
        >>> estimator("trapezium")
        Traceback (most recent call last):
        training.errors.InputError: unknown estimator 'trapezium': choose one of first-order, trapezoid, ...
    """
    if name == "mixed" and is_branch is not None:
        return Corrected(is_branch)
    if name not in ESTIMATORS:
        known = ", ".join(["mixed"] * (is_branch is not None) + list(ESTIMATORS))
        raise InputError(f"unknown estimator {name!r}: choose one of {known}")
    return ESTIMATORS[name]()
