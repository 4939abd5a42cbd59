"""From what an interval of steps has shown of a gate to its pull: how strongly the loss holds it up, along its weights.

The theory asks for an η with D ≥ −ηρ and ⟨∇_w D, w⟩ ≥ −ηρ, at the present weights w and at all smaller ones that a
dying gate passes through. Along the ray from 0 to w the loss is a function f of ξ ∈ [0, 1], the gate's mask, with

    D = f(1) − f(0),    ⟨∇_w D, w⟩ = f′(1),    D(s·w)/s → f′(0) as s → 0,

means over the samples understood. So the pull is the strongest of the three, and η̂ = pull/ρ. Where f is convex,
f′(0) ≤ D ≤ f′(1), and f′(0) bounds the whole ray. (Derived here. w may turn, and D may change with the other weights:
what is measured is the past, along the present w.)

A unit acts only through its branch: with the branch's gate at ξ = 0 it changes nothing, so that
D_unit = θ_branch · (D_unit given that the branch is on) (claim `objective-nested`; batch statistics, which couple the
samples of a batch, are left out of account). θ_branch may rise again, hence everything here is *given that the branch
is on*: only such samples are counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.estimators import Interval

__all__ = ["LEAST_SAMPLES", "Slopes", "measured"]

LEAST_SAMPLES = 32  # of a side (ξ = 0 or 1); fewer tell nothing of its mean


class Slopes(NamedTuple):
    """What an interval has shown of each gate, given that its branch is on; nats. All [gate], NaN where unknown.

    Attributes:
        difference: D̂; of layers from losses, of units from slopes (their losses' differences drown in noise).
        error: its standard error.
        on, off: mean slope ∂ℓ/∂ξ over the samples with ξ = 1, and with ξ = 0.
        first_order: mean slope over all samples, the estimate that costs nothing.
        pull: max(0, −D̂, −on, −off); ∞ where too little was seen.
    """

    difference: Float[np.ndarray, " gate"]
    error: Float[np.ndarray, " gate"]
    on: Float[np.ndarray, " gate"]
    off: Float[np.ndarray, " gate"]
    first_order: Float[np.ndarray, " gate"]
    pull: Float[np.ndarray, " gate"]


def measured(interval: Interval, is_layer: Bool[Tensor, " gate"]) -> Slopes:
    """The slopes of an interval whose sums count, for units, the samples with their branch on.

    A side with fewer than `LEAST_SAMPLES` samples is left out. A gate that stood at θ = 0 has shown its side ξ = 0 and
    nothing else; then that is its pull. Where ξ = 0 was not seen, nothing bounds the ray: the pull is ∞.

    Args:
        interval: of one or more steps.
        is_layer: which gates gate a branch.
    """
    slopes, losses = interval.trapezoid(), interval.difference()
    assert slopes.error is not None and losses.error is not None  # an interval's estimates have errors
    by_losses = is_layer & ~losses.value.isnan()
    value = torch.where(by_losses, losses.value, slopes.value)
    error = torch.where(by_losses, losses.error, slopes.error)
    sides = torch.where(interval.count >= LEAST_SAMPLES, interval.sides(), torch.nan)
    seen = torch.stack([torch.where((interval.count >= LEAST_SAMPLES).all(0), value, torch.nan), *sides])
    pull = -seen.nan_to_num(nan=torch.inf).amin(0)  # an unseen one does not pull
    pull = torch.where(sides[0].isnan(), torch.inf, pull.clamp_min(0))
    columns = (value, error, sides[1], sides[0], interval.first_order().value, pull)
    return Slopes(*(column.cpu().numpy() for column in columns))
