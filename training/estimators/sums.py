"""Sums over samples hold what these say about every gate, and add up over batches and processes.

The samples fall on two sides of each gate: ξ = 0 and ξ = 1. Per side we keep the number of samples, and sum and sum of
squares of their losses ℓ and of their slopes g = ∂ℓ/∂ξ. All estimators that need no more than one batch's sums are
functions of these; none loops over gates.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Sums", "check_shapes"]


def check_shapes(masks: Tensor, gradients: Tensor, losses: Tensor, theta: Tensor | None = None) -> None:
    """Refuse arguments whose shapes do not fit together.

    Raises:
        ValueError: naming the argument, its shape and the shape that is allowed.
    """
    if masks.dim() != 2 or not len(masks):
        raise ValueError(f"masks must be [batch ≥ 1, gate]; got shape {tuple(masks.shape)}")
    batch, gates = masks.shape
    allowed: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
        "gradients": (gradients, (batch, gates)),
        "losses": (losses, (batch,)),
        "theta": (theta, (gates,)),
    }
    for name, (value, shape) in allowed.items():
        if value is not None and tuple(value.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}; got {tuple(value.shape)}")


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over samples, [side, gate] in float64; side 0 holds the samples with ξ = 0, side 1 those with ξ = 1.

    Two disjoint sets of samples give `a + b`. Add only what was drawn at one θ and one state of the network (the parts
    of one batch); over many steps use `Interval`, which does not mistake a falling loss for an effect of the gate.

    Attributes:
        count: samples.
        loss: sum of losses.
        loss_square: sum of squared losses.
        slope: sum of g = batch · ∂(mean loss)/∂ξ, the derivative of a sample's own loss where no normalisation
            couples the samples.
        slope_square: sum of g².
    """

    count: Float[Tensor, "side gate"]
    loss: Float[Tensor, "side gate"]
    loss_square: Float[Tensor, "side gate"]
    slope: Float[Tensor, "side gate"]
    slope_square: Float[Tensor, "side gate"]

    @classmethod
    def of(
        cls,
        masks: Float[Tensor, "batch gate"],
        gradients: Float[Tensor, "batch gate"],
        losses: Float[Tensor, " batch"],
        where: Bool[Tensor, "batch gate"] | None = None,
        adjusted: Float[Tensor, "batch gate"] | None = None,
    ) -> Sums:
        """Return the sums of one batch.

        Args:
            masks: ξ, zeros and ones.
            gradients: ∂(mean loss of this batch)/∂ξ.
            losses: of the samples.
            where: which samples count for which gate; all by default. For a unit, the samples in which its branch is
                on: then D is the unit's *given that its branch is on*, and samples that say nothing add no noise.
            adjusted: losses adjusted differently for each gate, in the place of `losses`. They have a name of their
                own, since losses of several outputs a sample may happen to have as many columns as there are gates.

        Raises:
            ValueError: for shapes that do not fit together, or masks that are not zeros and ones.
        """
        check_shapes(masks, gradients, losses)
        if adjusted is not None and adjusted.shape != masks.shape:
            raise ValueError(f"adjusted must have shape {tuple(masks.shape)}; got {tuple(adjusted.shape)}")
        on = masks.detach().double()
        # On the CPU only: elsewhere the question would make the host wait for the device at each step.
        if on.device.type == "cpu" and not bool(((on == 0) | (on == 1)).all()):
            raise ValueError("masks must be zeros and ones; got other numbers")
        off = 1 - on
        if where is not None:
            on, off = on * where, off * where
        loss = (losses if adjusted is None else adjusted).detach().double()
        slope = gradients.detach().double() * len(on)
        sides = [_side(mine, loss, slope) for mine in (off, on)]
        return cls(*(torch.stack(pair) for pair in zip(*sides, strict=True)))

    def __add__(self, other: Sums) -> Sums:
        return Sums(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def loss_mean(self) -> Float[Tensor, "side gate"]:
        """Return the mean loss of each side; NaN on an empty side."""
        return self.loss / self.count

    @property
    def slope_mean(self) -> Float[Tensor, "side gate"]:
        """Return the mean slope of each side; NaN if empty. Side 1 is ⟨∇_w D, w⟩ for weights w that enter as ξ·w."""
        return self.slope / self.count

    @property
    def loss_residual(self) -> Float[Tensor, "side gate"]:
        """Return Σ (ℓ − mean of its side)²; 0 on an empty side."""
        return _residual(self.count, self.loss, self.loss_square)

    @property
    def slope_residual(self) -> Float[Tensor, "side gate"]:
        """Return Σ (g − mean of its side)²; 0 on an empty side."""
        return _residual(self.count, self.slope, self.slope_square)

    @property
    def information(self) -> Float[Tensor, " gate"]:
        """Return n₀n₁/(n₀ + n₁), the weight of a comparison of the two sides; 0 where one is empty."""
        return self.count.prod(0) / self.count.sum(0).clamp_min(1)

    @property
    def both(self) -> Bool[Tensor, " gate"]:
        """Return whether both sides have samples."""
        return (self.count > 0).all(0)


def _side(
    mine: Float[Tensor, "batch gate"],
    loss: Float[Tensor, " batch"] | Float[Tensor, "batch gate"],
    slope: Float[Tensor, "batch gate"],
) -> tuple[Float[Tensor, " gate"], ...]:
    """Return count, and sums of loss, loss², slope and slope², over the samples with `mine` = 1."""
    slopes = mine * slope
    sums = slopes.sum(0), (slopes * slope).sum(0)
    if loss.dim() == 1:  # a matrix product: nothing of the size of `mine` is made
        return *(torch.stack([torch.ones_like(loss), loss, loss.square()]) @ mine), *sums
    return mine.sum(0), (mine * loss).sum(0), (mine * loss.square()).sum(0), *sums


def _residual(count: Tensor, total: Tensor, square: Tensor) -> Tensor:
    return (square - total.square() / count.clamp_min(1)).clamp_min(0)
