"""The coupling η of each gate, from its pull: how strongly an interval of steps showed the loss to hold it up.

The theory asks for an η with D ≥ −ηρ and ⟨∇_w D, w⟩ ≥ −ηρ, at the present weights w and at all smaller ones that a
dying gate passes through. Along the ray from 0 to w the loss is a function f of ξ ∈ [0, 1], the gate's mask, with

    D = f(1) − f(0),    ⟨∇_w D, w⟩ = f′(1),    D(s·w)/s → f′(0) as s → 0,

means over the samples understood. So the pull is the strongest of the three, and η̂ = pull/ρ. Where f is convex,
f′(0) ≤ D ≤ f′(1), and f′(0) bounds the whole ray. (Derived here. w may turn, and D may change with the other weights:
what is measured is the past, along the present w.)

Four readings of η, all from a record's columns, so that a stored history can be judged by any of them:

    along       pull/ρ
    confident   the same with −D̂ + z·SE in place of −D̂, SE its standard error
    gradient    ‖∇_w E[ℓ | ξ=1]‖, the bound over all directions of w (`training.estimators.weight_gradients`), noise
                taken off and z standard errors of its square put on
    robust      the larger of along and gradient

For the bilinear gate each is divided by ρ_in too. Where ξ=1 was hardly sampled there is no gradient: along stands in.
Where ξ=0 was not, nothing bounds the ray, and η is ∞ for all four. The gradient is taken at ξ=1 and says nothing of the
ray to 0: a trained branch is flat at ξ=1 and steep at 0, so that its gradient norm is far *below* pull/ρ (less than a
fifth, on the digits). By itself it bounds no D; read "gradient" for comparison, and certify with one of the others.

A unit acts only through its branch: with the branch's gate at ξ = 0 it changes nothing, so that
D_unit = θ_branch · (D_unit given that the branch is on) (claim `objective-nested`; batch statistics, which couple the
samples of a batch, are left out of account). θ_branch may rise again, hence everything here is *given that the branch
is on*: only such samples are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.estimators import LEAST_SAMPLES, Interval

__all__ = ["KINDS", "Kind", "Slopes", "bounds", "couplings", "measured"]

Kind: TypeAlias = Literal["along", "confident", "gradient", "robust"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Slopes(NamedTuple):
    """Slopes and differences of an interval, given that a gate's branch is on; nats. All [gate], NaN where unknown.

    Attributes:
        difference: D̂; of branches from losses, of units from slopes (their losses' differences drown in noise).
        error: its standard error.
        on, off: mean slope ∂ℓ/∂ξ over the samples with ξ = 1, and with ξ = 0.
        first_order: mean slope over all samples, the estimate that costs nothing.
        pull: max(0, −D̂, −on, −off); ∞ where too little was seen.
        loss_difference, loss_error: D̂ from losses alone, without bias, and its standard error; of units too.
    """

    difference: Float[np.ndarray, " gate"]
    error: Float[np.ndarray, " gate"]
    on: Float[np.ndarray, " gate"]
    off: Float[np.ndarray, " gate"]
    first_order: Float[np.ndarray, " gate"]
    pull: Float[np.ndarray, " gate"]
    loss_difference: Float[np.ndarray, " gate"]
    loss_error: Float[np.ndarray, " gate"]


def measured(interval: Interval, is_branch: Bool[Tensor, " gate"]) -> Slopes:
    """Return the slopes of an interval whose sums count, for units, the samples with their branch on.

    A side with fewer than `LEAST_SAMPLES` samples is left out. A gate that stood at θ = 0 has shown its side ξ = 0 and
    nothing else; then that is its pull. Where ξ = 0 was not seen, nothing bounds the ray: the pull is ∞.

    Args:
        interval: of one or more steps.
        is_branch: which gates gate a branch.
    """
    slopes, losses = interval.trapezoid(), interval.difference()
    assert slopes.error is not None and losses.error is not None  # an interval's estimates have errors
    by_losses = is_branch & ~losses.value.isnan()
    value = torch.where(by_losses, losses.value, slopes.value)
    error = torch.where(by_losses, losses.error, slopes.error)
    sides = torch.where(interval.count >= LEAST_SAMPLES, interval.sides(), torch.nan)
    seen = torch.stack([torch.where((interval.count >= LEAST_SAMPLES).all(0), value, torch.nan), *sides])
    pull = -seen.nan_to_num(nan=torch.inf).amin(0)  # an unseen one does not pull
    pull = torch.where(sides[0].isnan(), torch.inf, pull.clamp_min(0))
    columns = (value, error, sides[1], sides[0], interval.first_order().value, pull, losses.value, losses.error)
    return Slopes(*(column.cpu().numpy() for column in columns))


def couplings(
    seen: Mapping[str, np.ndarray], kind: Kind = "along", z: float = 1.0
) -> tuple[Float[np.ndarray, "*step gate"], Float[np.ndarray, "*step gate"]]:
    """Return η̂ of each interval for the linear and the bilinear gate, without safety factor.

    Args:
        seen: columns of a record or history: pull, difference, error, gradient_square, gradient_error, rho, rho_in.
        kind: see the top of this file.
        z: standard errors put on; not read by "along".

    Returns:
        (over ρ, over ρ_in·ρ); ∞ where weights are zero, NaN in the second where there is no ρ_in.
    """
    pull, rho, rho_in = (np.asarray(seen[name], dtype=np.float64) for name in ("pull", "rho", "rho_in"))
    along = pull
    if kind == "confident":
        along = np.fmax(pull, z * np.asarray(seen["error"], np.float64) - seen["difference"])
    linear, bilinear = _quotient(along, rho), _quotient(along, rho_in * rho)
    if kind in ("along", "confident"):
        return linear, bilinear
    square = np.asarray(seen["gradient_square"], np.float64) + z * np.asarray(seen["gradient_error"], np.float64)
    norm = np.sqrt(np.maximum(square, 0))
    norm = np.where(np.isinf(pull), np.inf, norm)
    known, both = ~np.isnan(norm), (norm, _quotient(norm, rho_in))
    if kind == "robust":
        both = (np.fmax(both[0], linear), np.fmax(both[1], bilinear))
    return np.where(known, both[0], linear), np.where(known, both[1], bilinear)


def bounds(
    seen: Mapping[str, np.ndarray], kind: Kind, z: float, *, records: int, factor: float
) -> tuple[Float[np.ndarray, "step gate"], Float[np.ndarray, "step gate"]]:
    """Return the bounds on η that a tracker would have used: the largest η̂ of its window, times the safety factor.

    Args:
        seen: columns of a history in which nothing was removed, [step, gate].
        kind: as in `couplings`.
        z: as in `couplings`.
        records: in the tracker's window, ≥ 1.
        factor: safety factor.
    """

    def largest(values: np.ndarray) -> np.ndarray:
        return factor * np.stack([values[max(0, i + 1 - records) : i + 1].max(0) for i in range(len(values))])

    linear, bilinear = couplings(seen, kind, z)
    return largest(linear), largest(bilinear)


def _quotient(pull: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """Return pull / norm; ∞ where the weights are exactly zero, since along them nothing can be measured there."""
    return np.divide(pull, norm, out=np.where(np.isnan(norm), np.nan, np.inf), where=norm > 0)
