"""The interface that all estimators of D share, and the form of their answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from training.estimators.sums import Sums

__all__ = ["Estimate", "Estimator", "OneBatch"]


class Estimate(NamedTuple):
    """An estimate of D for every gate.

    Attributes:
        value: D̂. NaN where the batch holds no information about a gate.
        error: standard error of D̂; NaN where it cannot be told from this batch; None if the estimator has none.
    """

    value: Float[Tensor, " gate"]
    error: Float[Tensor, " gate"] | None

    @classmethod
    def of_mean(
        cls, count: Float[Tensor, " gate"], total: Float[Tensor, " gate"], square: Float[Tensor, " gate"]
    ) -> Estimate:
        """Return the mean of independent values and its standard error, from their number, sum and sum of squares."""
        residual = (square - total.square() / count).clamp_min(0)
        return cls(total / count, (residual / (count - 1) / count).sqrt())


class Estimator(ABC):
    """Estimator of D_g = E[ℓ | ξ_g=1] − E[ℓ | ξ_g=0] for all gates at once, from one batch at a time.

    A law for all: the answer does not depend on the order of the samples.

    A training run asks `for_step` at each step, and tells what happens in between by `follow` and `keep`. An estimator
    that remembers nothing of past batches defines `__call__` only.

    Attributes:
        state: memory of past batches, part of a checkpoint; None for an estimator without memory, and before the
            first batch.
    """

    state: Float[Tensor, "sum gate"] | None = None

    @abstractmethod
    def __call__(
        self,
        masks: Float[Tensor, "batch gate"],
        gradients: Float[Tensor, "batch gate"],
        losses: Float[Tensor, " batch"],
        theta: Float[Tensor, " gate"],
    ) -> Estimate:
        """Return D̂ of every gate.

        Args:
            masks: ξ, zeros and ones, drawn independently with probabilities `theta`.
            gradients: ∂(mean loss of the batch)/∂ξ, as `Gates.sampled.grad` holds it after `backward`.
            losses: of the samples under these masks.
            theta: in [0, 1].

        Raises:
            ValueError: for shapes that do not fit together.
        """

    def for_step(
        self,
        masks: Float[Tensor, "batch gate"],
        gradients: Float[Tensor, "batch gate"],
        losses: Float[Tensor, " batch"],
        theta: Float[Tensor, " gate"],
        informative: Sums,
    ) -> Float[Tensor, " gate"]:
        """Return the D̂ by which a training step moves θ, of θ's dtype; first-order where a batch has none to compare.

        Args:
            masks, gradients, losses, theta: as in a call.
            informative: sums of the batch over the samples that say something of a gate (of a unit: those with its
                branch on). An estimator that corrects itself uses these instead.
        """
        value = self(masks, gradients, losses, theta).value.to(theta.dtype)
        return torch.where(value.isnan(), gradients.sum(0), value)

    def follow(self, ratio: Float[Tensor, " gate"]) -> None:  # noqa: B027 - nothing to do without memory
        """Adapt the memory to the gates' weights: `ratio` is their norm now over their norm at the last call."""

    def keep(self, kept: Int[Tensor, " left"]) -> None:  # noqa: B027 - nothing to do without memory
        """Follow a removal: `kept` holds the former index of every gate that is left."""


class OneBatch(Estimator):
    """Estimator without memory, from a function of one batch."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor, Tensor], Estimate]) -> None:
        self._function = function

    def __call__(
        self,
        masks: Float[Tensor, "batch gate"],
        gradients: Float[Tensor, "batch gate"],
        losses: Float[Tensor, " batch"],
        theta: Float[Tensor, " gate"],
    ) -> Estimate:
        """Return what the function gives; see `Estimator`."""
        return self._function(masks, gradients, losses, theta)
