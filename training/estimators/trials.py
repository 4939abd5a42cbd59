"""Estimates of D from losses alone take every batch as a randomised trial of every gate.

    difference                   mean loss at ξ=1 − mean loss at ξ=0; no bias, whatever the loss, given both sides have
                                 samples; standard error by Welch
    horvitz-thompson             mean of ξℓ/θ − (1−ξ)ℓ/(1−θ); no bias at all, but the mean loss itself is noise
    horvitz-thompson-centred     the same with each loss less the mean of the others: Cov(ξ, ℓ)/(θ(1−θ)); no bias
    control                      the difference, each loss less what the other gates' masks did to it to first order

Unbiased: the claims `estimators-difference`, `-horvitz-thompson` and `-control`, for samples that do not touch one
another. Batch normalisation couples samples. Then these estimate the *direct* effect, of a sample's mask on its own
loss while the others' masks are as drawn; what the mask does to the other samples through the batch's statistics (each
1/batch as much, but batch − 1 of them) is not in it. `slopes` includes that part. And comparing or centring within the
batch takes 1/(batch − 1) of that part off; plain Horvitz–Thompson does not.

Anything that does not depend on a sample's own masks may be subtracted from its loss beforehand, such as its loss in
the network without masks: the mean of D̂ stays, its variance falls.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from dynamics.models import estimates
from training.estimators.protocol import Estimate
from training.estimators.sums import Sums, check_shapes

__all__ = [
    "control",
    "control_own",
    "difference",
    "difference_of",
    "horvitz_thompson",
    "horvitz_thompson_centred",
]


def difference_of(sums: Sums) -> Estimate:
    """Return mean loss at ξ = 1 minus mean loss at ξ = 0, with Welch's standard error.

    NaN where a side is empty; the error is NaN where a side has fewer than two samples.
    """
    variance = sums.loss_residual / (sums.count - 1) / sums.count
    error = torch.where((sums.count > 1).all(0), variance.sum(0).sqrt(), torch.nan)
    return Estimate(estimates.difference(sums.count, sums.loss), error)


def difference(
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    theta: Float[Tensor, " gate"],
) -> Estimate:
    """Return the difference in means; uses neither `gradients` nor `theta`.

    Raises:
        ValueError: for shapes that do not fit together.

    Example:
        >>> masks = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
        >>> found = difference(masks, torch.zeros(4, 1), torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.5]))
        >>> found.value.item(), round(found.error.item(), 4)
        (-2.0, 0.7071)
    """
    check_shapes(masks, gradients, losses, theta)
    return difference_of(Sums.of(masks, gradients, losses))


def horvitz_thompson(
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    theta: Float[Tensor, " gate"],
) -> Estimate:
    """Return the mean of ξℓ/θ − (1−ξ)ℓ/(1−θ); NaN where θ is 0 or 1.

    Raises:
        ValueError: for shapes that do not fit together.
    """
    check_shapes(masks, gradients, losses, theta)
    return _weighted(masks, gradients, losses, theta)


def horvitz_thompson_centred(
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    theta: Float[Tensor, " gate"],
) -> Estimate:
    """Return `horvitz_thompson` with each loss less the mean loss of the other samples; NaN where θ is 0 or 1.

    The error is that of a mean of independent terms, which these are only nearly.

    Raises:
        ValueError: for shapes that do not fit together, or a batch of one: no other samples.
    """
    check_shapes(masks, gradients, losses, theta)
    count = len(losses)
    if count < 2:
        raise ValueError(f"losses must hold at least 2 samples; got {count}")
    exact = losses.detach().double()
    return _weighted(masks, gradients, exact - estimates.mean_of_others(exact), theta)


def control(
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    theta: Float[Tensor, " gate"],
) -> Estimate:
    """Return the difference in means of ℓ_b − Σ_{j≠k} a_bj (ξ_bj − θ_j), a_bj the *other* samples' mean slope.

    Given all masks of gate k and all other samples, ξ_bj still has mean θ_j and a_bj is fixed: what is subtracted has
    mean zero on both sides of gate k, exactly. A term j = k would change nothing: the difference in means of
    c·(ξ_k − θ_k) is c, to be added again.

    Raises:
        ValueError: for shapes that do not fit together, or a batch of one: no other samples.
    """
    check_shapes(masks, gradients, losses, theta)
    if len(losses) < 2:
        raise ValueError(f"losses must hold at least 2 samples; got {len(losses)}")
    slopes = estimates.mean_of_others(gradients.detach().double() * len(losses))
    return _adjusted(masks, gradients, losses, theta, slopes)


def control_own(
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    theta: Float[Tensor, " gate"],
) -> Estimate:
    """Return `control` with each sample's own slopes, a_bj = g_bj: follows the sample, only nearly unbiased.

    Its mean is D exactly for losses quadratic in the masks. In general g_bj depends on ξ_bj and on ξ_bk, and the bias
    is −Σ_{j≠k} θ_j(1−θ_j) E[the change of f_j'(1) − f_j'(0) from ξ_k=0 to ξ_k=1], third derivatives of the loss.

    Raises:
        ValueError: for shapes that do not fit together.
    """
    check_shapes(masks, gradients, losses, theta)
    return _adjusted(masks, gradients, losses, theta, gradients.detach().double() * len(losses))


def _adjusted(masks: Tensor, gradients: Tensor, losses: Tensor, theta: Tensor, slopes: Tensor) -> Estimate:
    """Return the difference in means, each loss less Σ_{j≠k} slopes_bj (ξ_bj − θ_j)."""
    exact = (value.detach().double() for value in (losses, masks, slopes, theta))
    adjusted = estimates.less_other_gates(*exact)
    return difference_of(Sums.of(masks, gradients, losses, adjusted=adjusted))


def _weighted(masks: Tensor, gradients: Tensor, losses: Tensor, theta: Tensor) -> Estimate:
    sums, count = Sums.of(masks, gradients, losses), len(losses)
    off, on = 1 - theta.detach().double(), theta.detach().double()
    inside = (on > 0) & (on < 1)
    value = estimates.horvitz_thompson(count, sums.loss, on)
    square = (sums.loss_square[1] / on**2 + sums.loss_square[0] / off**2) / count
    error = ((square - value**2).clamp_min(0) / (count - 1)).sqrt()
    return Estimate(torch.where(inside, value, torch.nan), torch.where(inside, error, torch.nan))
