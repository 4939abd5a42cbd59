r"""Estimates of D from derivatives of the loss with respect to the masks have little noise, and a bias.

Write f(ξ_k) for the loss along one gate, the others as drawn. Then D = E[f(1) − f(0)], and with θ = P(ξ_k = 1)

    first-order   mean of f'(ξ)                     its mean is D + (θ − ½) f″ for quadratic f
    trapezoid     ½ (mean of f' at ξ=0 + at ξ=1)    its mean is D exactly for quadratic f, D + f‴/12 for cubic f

and for any smooth f the trapezoid's bias is ½∫₀¹ t(1−t) f‴(t) dt (claims `estimators-first-order`,
`estimators-trapezoid`). Where f is convex, f'(0) ≤ D ≤ f'(1). The first-order bias pulls θ towards ½: added to the
gate's equation it is −r(θ − ½)f″, as if the objective were not affine but convex in θ.

Batch normalisation couples the samples. Derivatives of the batch's mean loss count the effect of a sample's mask on all
samples, so that these estimates are about ∂E[mean loss]/∂θ, which is what a gate descends.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dynamics.models import estimates
from training.estimators.protocol import Estimate
from training.estimators.sums import Sums, check_shapes

__all__ = ["first_order", "first_order_of", "trapezoid", "trapezoid_of"]


def first_order_of(sums: Sums) -> Estimate:
    """Return the mean slope over all samples, with the standard error of a mean."""
    error = Estimate.of_mean(sums.count.sum(0), sums.slope.sum(0), sums.slope_square.sum(0)).error
    return Estimate(estimates.first_order(sums.count, sums.slope), error)


def trapezoid_of(sums: Sums) -> Estimate:
    """Return half the mean slope at ξ = 0 plus half that at ξ = 1.

    Where one side is empty the other side's mean is all there is: then the bias is that of first-order at θ = 0 or 1,
    −½f″ from the side ξ = 0 (below D where f is convex), +½f″ from the side ξ = 1.
    """
    variance = sums.slope_residual / (sums.count - 1) / sums.count  # NaN for fewer than two samples
    value, error = estimates.trapezoid(sums.count, sums.slope), variance.sum(0).sqrt() / 2
    one_sided = first_order_of(sums)
    assert one_sided.error is not None
    return Estimate(torch.where(sums.both, value, one_sided.value), torch.where(sums.both, error, one_sided.error))


def first_order(
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    theta: Float[Tensor, " gate"],
) -> Estimate:
    """Return the sum over the batch of ∂(mean loss)/∂ξ.

    Raises:
        ValueError: for shapes that do not fit together.

    Example:
        ℓ = ½(1 − ξ)²: D = −½, the slopes are −1 at ξ = 0 and 0 at ξ = 1.

        >>> masks, losses = torch.tensor([[1.0], [1.0], [1.0], [0.0]]), torch.tensor([0.0, 0.0, 0.0, 0.5])
        >>> gradients = (masks - 1) / 4
        >>> first_order(masks, gradients, losses, torch.tensor([0.75])).value.tolist()
        [-0.25]
        >>> trapezoid(masks, gradients, losses, torch.tensor([0.75])).value.tolist()
        [-0.5]
    """
    check_shapes(masks, gradients, losses, theta)
    return first_order_of(Sums.of(masks, gradients, losses))


def trapezoid(
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    theta: Float[Tensor, " gate"],
) -> Estimate:
    """Return D̂ by the trapezoidal rule in ξ; see `trapezoid_of` for one-sided batches.

    Raises:
        ValueError: for shapes that do not fit together.
    """
    check_shapes(masks, gradients, losses, theta)
    return trapezoid_of(Sums.of(masks, gradients, losses))
