"""Enumeration of all masks gives D exactly, for up to 16 gates: the reference for every estimator."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["all_masks", "exact_difference", "mask_probabilities"]

MOST = 16  # gates: 65,536 masks


def all_masks(gates: int) -> Float[Tensor, "mask gate"]:
    """Return all 2^G settings of the gates, in counting order.

    Raises:
        ValueError: for fewer than 1 or more than 16 gates.

    Example:
        >>> all_masks(2).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if not 1 <= gates <= MOST:
        raise ValueError(f"gates must be in 1 … {MOST} to enumerate their masks; got {gates}")
    bits = torch.arange(2**gates)[:, None] >> torch.arange(gates - 1, -1, -1)
    return (bits & 1).double()


def mask_probabilities(theta: Float[Tensor, " gate"]) -> Float[Tensor, " mask"]:
    """Return P(ξ) of each of `all_masks`, for θ in [0, 1]."""
    return _factors(theta).prod(1)


def exact_difference(losses: Float[Tensor, " mask"], theta: Float[Tensor, " gate"]) -> Float[Tensor, " gate"]:
    """Return D_k = E[ℓ | ξ_k=1] − E[ℓ | ξ_k=0].

    Args:
        losses: of each of `all_masks`, averaged over the data.
        theta: in [0, 1]; D_k is free of θ_k.

    Raises:
        ValueError: if there is not one loss for each mask.

    Example:
        ℓ = ½(1 − ξ₁ − ξ₂)²: with the second gate always on, the first one only does harm.

        >>> exact_difference(torch.tensor([0.5, 0.0, 0.0, 0.5]), torch.tensor([0.25, 1.0])).tolist()
        [0.5, -0.25]
    """
    masks = all_masks(len(theta))
    if losses.shape != masks.shape[:1]:
        raise ValueError(f"losses must have shape ({len(masks)},), one for each mask; got {tuple(losses.shape)}")
    factors = _factors(theta)
    ones = torch.ones_like(factors[:, :1])
    # The product over all other gates, without dividing by a factor that may be 0: before k, times after k.
    before = torch.cat([ones, factors[:, :-1]], 1).cumprod(1)
    after = torch.cat([factors[:, 1:], ones], 1).flip(1).cumprod(1).flip(1)
    return ((2 * masks - 1) * before * after * losses.double()[:, None]).sum(0)


def _factors(theta: Tensor) -> Tensor:
    """Return the probability of each gate's setting in each mask, [mask, gate]."""
    masks, theta = all_masks(len(theta)), theta.detach().double().cpu()
    return torch.where(masks > 0, theta, 1 - theta)
