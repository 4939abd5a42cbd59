"""The corrected estimators: first-order less its bias as measured over the last steps, quiet and hardly biased.

The noise of an estimate matters at each step; its bias changes only as fast as the network does. So the quiet slopes of
this step are combined with what needs many samples, averaged over past steps with each step's information
w = n₁n₀/n as weight:

    D̂ = ḡ − (ξ̄ − ½)·ĉ + R̂,    ĉ = ⟨g(1) − g(0)⟩,    R̂ = ⟨difference in mean losses − trapezoid⟩

`curvature` is ḡ − (ξ̄ − ½)ĉ: unbiased for losses quadratic along a gate. `corrected` adds R̂: unbiased for any loss.
(Given all masks, each step's difference has mean D, its trapezoid the mean T of ½(f'(0) + f'(1)), and ḡ − (ξ̄ − ½)ĉ has
mean T too; the weights depend on the masks only.) Both hold for a network that stands still over the memory, and
samples that do not touch one another. In a moving one ĉ and R̂ are late by about 1/(1 − memory) steps, but ḡ is not.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dynamics.models import estimates
from training.estimators.protocol import Estimate, Estimator
from training.estimators.sums import Sums, check_shapes

__all__ = ["Corrected"]


class Corrected(Estimator):
    """The estimators `curvature` and `corrected`, with memory: one object a run.

    Needs no sample on the rare side of a gate in each batch. Before a gate had samples on both sides in one batch,
    ĉ = R̂ = 0: first-order. A gate whose θ is 0 or 1 keeps its last corrections.

    Args:
        by_losses: with R̂, or without; or for each gate. R̂ brings the noise of losses, divided by √(2/(1 − memory)):
            worth it where the loss is far from quadratic along a gate (branches), not where D is below that noise
            (units).
        memory: weight that the past keeps at each step, in [0, 1).

    Attributes:
        state: sums of w·(g(1) − g(0)), of w·(difference − trapezoid), and of w, [3, gate]; None before the first step.
            Part of a checkpoint.

    Raises:
        ValueError: for a memory outside [0, 1).
    """

    def __init__(self, by_losses: bool | Bool[Tensor, " gate"] = True, memory: float = 0.99) -> None:
        if not 0 <= memory < 1:
            raise ValueError(f"memory must be in [0, 1); got {memory}")
        self.by_losses, self.memory = torch.as_tensor(by_losses), memory

    def __call__(
        self,
        masks: Float[Tensor, "batch gate"],
        gradients: Float[Tensor, "batch gate"],
        losses: Float[Tensor, " batch"],
        theta: Float[Tensor, " gate"],
    ) -> Estimate:
        """Return D̂ after taking this batch in; no standard error: ĉ's and R̂'s would need the whole past.

        Raises:
            ValueError: for shapes that do not fit together, or another number of gates than before.
        """
        check_shapes(masks, gradients, losses, theta)
        return Estimate(self.of(Sums.of(masks, gradients, losses), len(masks)), None)

    def for_step(
        self,
        masks: Float[Tensor, "batch gate"],
        gradients: Float[Tensor, "batch gate"],
        losses: Float[Tensor, " batch"],
        theta: Float[Tensor, " gate"],
        informative: Sums,
    ) -> Float[Tensor, " gate"]:
        """Return D̂ from the informative samples, after taking them in; see `Estimator.for_step`."""
        return self.of(informative, len(losses)).to(theta.dtype)

    def of(self, sums: Sums, samples: int) -> Float[Tensor, " gate"]:
        """Return D̂ after taking the sums of a batch in.

        Where only some samples say something of a gate (of a unit, those with its branch on) the sums hold these, D̂
        given them is estimated, corrections included, and counts for their share of the batch; without any it is 0.
        So no old correction holds up a unit whose branch is off.

        Args:
            sums: of the samples that say something.
            samples: in the whole batch.

        Raises:
            ValueError: for another number of gates than before.
        """
        fresh = _fresh(sums)
        if self.state is not None and self.state.shape != fresh.shape:
            raise ValueError(f"masks must have {self.state.shape[1]} gates as before; got {fresh.shape[1]}")
        self.state = fresh if self.state is None else self.memory * self.state + fresh
        *totals, known = self.state
        curvature, rest = (torch.where(known > 0, total / known, 0.0) for total in totals)
        count = sums.count.sum(0)
        share = sums.count[1] / count.clamp_min(1)  # ξ̄
        value = estimates.corrected(sums.slope.sum(0) / count.clamp_min(1), share, curvature)
        return torch.where(self.by_losses, value + rest, value) * (count / samples)

    def follow(self, ratio: Float[Tensor, " gate"]) -> None:
        """Scale the corrections as the gates' weights change their norm: ĉ and R̂ are of second order in them.

        So the corrections of a gate that stands at θ = 0, where nothing new is measured, vanish with its weights.

        Args:
            ratio: norm now over norm at the last call; where it is not finite (no norm) nothing is scaled.
        """
        if self.state is not None:
            self.state[:2] *= torch.where(ratio.isfinite(), ratio, 1.0).double().square()

    def keep(self, kept: Int[Tensor, " left"]) -> None:
        """Follow a removal: `kept` is the former index of every gate that is left."""
        self.state = None if self.state is None else self.state[:, kept]
        self.by_losses = self.by_losses[kept] if self.by_losses.dim() else self.by_losses


def _fresh(sums: Sums) -> Float[Tensor, "3 gate"]:
    """Return one batch's contribution to the state; zeros where a side is empty."""
    slopes, losses = (total / sums.count.clamp_min(1) for total in (sums.slope, sums.loss))
    difference = losses[1] - losses[0]
    fresh = torch.stack([slopes[1] - slopes[0], difference - slopes.mean(0), torch.ones_like(difference)])
    return sums.information * fresh
