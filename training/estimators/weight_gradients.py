r"""The squared gradient norm ‖∇_w E[ℓ | ξ=1]‖² of a gate's own weights, corrected for the noise of sampling.

The pull along w is one direction; w may turn. With the gradient g = ∇_w E[ℓ | ξ=1] = ∇_w D, every direction v obeys
⟨∇_w D, v⟩ ≥ −‖g‖‖v‖: at the present weights ‖g‖ bounds the coupling whatever way w goes.

**From what backward leaves.** The gradient reaches w only through samples with ξ=1, so for mean losses over batches of
size B, E[∇ | on] = Σ_t B·G_t / (samples that were on), G_t what stands in `.grad`. (Of a unit: on, and its branch on.)

**Noise off.** ‖mean‖² is too large by the trace of the mean's covariance, for a unit often by far more than ‖g‖². The
steps are dealt out to K blocks; means of different blocks have independent noise, so that for a ≠ b ⟨mean_a, mean_b⟩
has mean ‖g‖². The estimate is the mean over all pairs, it can be negative; two halves are K = 2. Its variance is
4g'Vg + 2K/(K−1)·tr V², V the covariance of the mean over all steps: K = 4 has two thirds of the noise of two halves,
and lets a delete-one-block jackknife tell the standard error: right where the first term dominates, √3 times too large
where the second does (its mean is then ½ of a pair's variance, and the estimate has 1/6 of it), in the mean never too
small. (Exact for blocks of equal size and weights that stand still over the interval. Derived here; measured in the
tests.)

In training the noise of different steps is *not* independent, and the estimate is then too low: an epoch draws without
replacement, and a step along one batch's noise is undone by the next (in a stationary state the mean of θ·∇ is −λw, and
nothing more). After the first tenth of real runs 55 to 80 % of the units' estimates are negative; noise alone gives
half. What is measured is the gradient along the path that training takes, not at a fixed w.

**What normalisation does to each choice of w.** Behind a filter v whose output is normalised, the loss does not depend
on ‖v‖, so ⟨∇_v ℓ, v⟩ = 0 (but for the normalisation's ε) and ∇_v ℓ scales as 1/‖v‖. Hence

- a unit's fan-in filter has no scale of its own and tells nothing of ρ_in: the fan-in norm is that of the scale and
  shift behind the normalisation, in which the unit's output is homogeneous, ⟨∇_in, w_in⟩ = ⟨∇_out, w_out⟩;
- a unit's fan-out slice w is a part of filters that are normalised in turn, if its consumer is. Its length against the
  rest of these filters counts, so g ≠ 0. But over all units of a group the slices are the whole filters:
  Σ_units (samples on)·⟨∇_w E[ℓ | on], w⟩ = 0 over all samples, those with the branch off included (they carry gradient
  through the batch's statistics). A group cannot pull as a whole: some units pull only as much as others push. And η
  is in units of 1/‖filters‖: as decay shortens them η grows and ρ falls, with ηρ unchanged;
- a branch's w, scale and shift of its last normalisation, stands behind the normalisation: full scale, and
  ⟨∇_w E[ℓ | on], w⟩ is exactly its mean slope at ξ=1.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from training.estimators import LEAST_SAMPLES, Estimate
from training.gating.gates import Gates
from training.gating.sites import Branch, UnitGroup

__all__ = ["BLOCKS", "GradientSums", "square_of", "weights_of"]

BLOCKS = 4  # K


def weights_of(gated: UnitGroup | Branch) -> list[Tensor]:
    """Return the weights w of a group's or a branch's gates: parameters, those of all units of a group together."""
    if isinstance(gated, UnitGroup):
        return [consumer.weight for consumer in gated.consumers]
    return [gated.norm.weight, gated.norm.bias]


class GradientSums:
    """Sums of gradients over the steps of an interval, block by block.

    Args:
        gates: whose weights' gradients are read from `.grad`, all steps of one set of shapes.

    Attributes:
        steps: taken in.
        on: samples with ξ=1, of a unit with its branch on, [block, gate].
    """

    def __init__(self, gates: Gates) -> None:
        self._places: list[UnitGroup | Branch] = [*gates.groups, *gates.residual]
        self._weights = [weight for place in self._places for weight in weights_of(place)]
        self._blocks = [[torch.zeros_like(weight) for weight in self._weights] for _ in range(BLOCKS)]
        self.on = torch.zeros(BLOCKS, len(gates.theta), dtype=torch.float64, device=gates.theta.device)
        self.steps = 0

    @torch.no_grad()
    def add(self, on: Float[Tensor, " gate"], batch: int) -> None:
        """Take in a step after its backward pass. Without gradients in place nothing is counted.

        Args:
            on: samples with ξ=1.
            batch: samples over which the loss was averaged.
        """
        gradients = [weight.grad for weight in self._weights]
        present = [gradient for gradient in gradients if gradient is not None]
        if not present or len(present) < len(gradients):
            return
        block = self.steps % BLOCKS
        torch._foreach_add_(self._blocks[block], present, alpha=batch)
        self.on[block] += on
        self.steps += 1

    def clear(self) -> None:
        """Set all sums to zero, to begin a new interval."""
        if self._weights:
            torch._foreach_zero_([part for block in self._blocks for part in block])
        self.on.zero_()
        self.steps = 0

    @torch.no_grad()
    def square(self) -> Estimate:
        """Return ‖∇_w E[ℓ | ξ=1]‖² of each gate, may be negative; NaN where a block has no sample or all too few."""
        if not self._weights:
            return square_of(self.on.new_empty(0, BLOCKS, BLOCKS), self.on)
        products, start = [], 0
        for place in self._places:
            end = start + len(weights_of(place))
            parts = [torch.stack(same) for same in zip(*(block[start:end] for block in self._blocks), strict=True)]
            products.append(_products(place, parts))
            start = end
        return square_of(torch.cat(products), self.on)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the interval that is under way."""
        return {"blocks": self._blocks, "on": self.on, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of one with the same gates.

        Raises:
            ValueError: if the weights do not fit.
        """
        if [len(block) for block in state["blocks"]] != [len(self._weights)] * BLOCKS:
            raise ValueError("the gradients' sums are of other gates")
        for block, saved in zip(self._blocks, state["blocks"], strict=True):
            for part, value in zip(block, saved, strict=True):
                if part.shape != value.shape:
                    raise ValueError("the gradients' sums are of other gates")
                part.copy_(value)
        self.on, self.steps = state["on"].to(self.on.device), state["steps"]


def _products(place: UnitGroup | Branch, parts: list[Tensor]) -> Float[Tensor, "gate block block"]:
    """Return ⟨sum_a, sum_b⟩ of the blocks' sums for each gate of a group or branch; `parts` are [block, *weight]."""
    if isinstance(place, Branch):
        rows = [torch.cat(parts, 1)[None]]
    else:
        # [block, out, units · columns, …] → [unit, block, everything that reads it]
        units = place.site.count
        rows = [p.unflatten(2, (units, -1)).flatten(3).permute(2, 0, 1, 3).flatten(2) for p in parts]
    return torch.stack([(row @ row.mT).double() for row in rows]).sum(0)


def square_of(products: Float[Tensor, "gate block block"], on: Float[Tensor, "block gate"]) -> Estimate:
    """Return the mean of ⟨mean_a, mean_b⟩ over all pairs of blocks, with its jackknife error, one block left out.

    Args:
        products: ⟨sum_a, sum_b⟩ of the blocks' sums.
        on: samples in each sum.
    """
    known = (on > 0).all(0) & (on.sum(0) >= LEAST_SAMPLES)
    means = products / (on.T[:, :, None] * on.T[:, None, :])
    means = torch.where(known[:, None, None], means, torch.nan)
    count = on.shape[0]
    pairs = means - torch.diag_embed(means.diagonal(dim1=1, dim2=2))  # a ≠ b
    total, own = pairs.sum((1, 2)), pairs.sum(2)  # own: pairs with block a, [gate, block]
    without = (total[:, None] - 2 * own) / ((count - 1) * (count - 2))
    variance = (count - 1) / count * (without - without.mean(1, keepdim=True)).square().sum(1)
    return Estimate(total / (count * (count - 1)), variance.sqrt())
