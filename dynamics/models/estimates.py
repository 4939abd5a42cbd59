"""Formulas that estimate D = E[ℓ | ξ=1] − E[ℓ | ξ=0] from a batch: written once, for tensors, arrays and symbols.

Arithmetic and `sum` only, so that the trainer's estimators run on them with torch tensors (`training.estimators`) and
the claims `estimators-*` with symbols in NumPy arrays: what is proved is what is computed.

Sums over samples are [side, gate]: entry 0 holds the samples with ξ = 0 of that gate, entry 1 those with ξ = 1.
"""

from __future__ import annotations

from dynamics.numeric import Array

__all__ = [
    "corrected",
    "difference",
    "first_order",
    "horvitz_thompson",
    "less_other_gates",
    "mean_of_others",
    "trapezoid",
]


def first_order(count: Array, slope: Array) -> Array:
    """Return the mean slope over all samples, from the sides' numbers and sums of slopes."""
    return slope.sum(0) / count.sum(0)


def trapezoid(count: Array, slope: Array) -> Array:
    """Return half the mean slope at ξ = 0 plus half that at ξ = 1."""
    return (slope[0] / count[0] + slope[1] / count[1]) / 2


def difference(count: Array, loss: Array) -> Array:
    """Return the mean loss at ξ = 1 less the mean loss at ξ = 0."""
    return loss[1] / count[1] - loss[0] / count[0]


def horvitz_thompson(samples: int, loss: Array, theta: Array) -> Array:
    """Return the mean of ξℓ/θ − (1−ξ)ℓ/(1−θ) over all samples, from the sides' sums of losses."""
    return (loss[1] / theta - loss[0] / (1 - theta)) / samples


def mean_of_others(values: Array) -> Array:
    """Return for each sample, the first axis, the mean over all samples but it."""
    return (values.sum(0) - values) / (len(values) - 1)


def less_other_gates(losses: Array, masks: Array, slopes: Array, theta: Array) -> Array:
    """Return, for each sample b and gate k, ℓ_b − Σ_{j≠k} a_bj (ξ_bj − θ_j), from slopes a, [batch, gate]."""
    terms = slopes * (masks - theta)
    return losses[:, None] - (terms.sum(1)[:, None] - terms)


def corrected(mean_slope: Array, share: Array, curvature: Array) -> Array:
    """Return ḡ − (ξ̄ − ½)ĉ: the mean slope less its bias, ξ̄ the share of samples with ξ = 1."""
    return mean_slope - (share - 0.5) * curvature
