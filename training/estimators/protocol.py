"""What an estimator of D is asked, and what it answers."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

__all__ = ["Estimate", "Estimator", "check_shapes"]


class Estimate(NamedTuple):
    """An estimate of D for every gate.

    Attributes:
        value: D̂. NaN where the batch holds no information about a gate.
        error: standard error of D̂; NaN where it cannot be told from this batch; None if the estimator has none.
    """

    value: Float[Tensor, " gate"]
    error: Float[Tensor, " gate"] | None


@runtime_checkable
class Estimator(Protocol):
    """Estimates D_g = E[ℓ | ξ_g=1] − E[ℓ | ξ_g=0] for all gates at once from one batch.

    A law for all: the answer does not depend on the order of the samples.
    """

    def __call__(
        self,
        masks: Float[Tensor, "batch gate"],
        gradients: Float[Tensor, "batch gate"],
        losses: Float[Tensor, " batch"],
        theta: Float[Tensor, " gate"],
    ) -> Estimate:
        """D̂ of every gate.

        Args:
            masks: ξ, zeros and ones, drawn independently with probabilities `theta`.
            gradients: ∂(mean loss of the batch)/∂ξ, as `Gates.sampled.grad` holds it after `backward`.
            losses: of the samples under these masks.
            theta: in [0, 1].
        """
        ...


def check_shapes(masks: Tensor, gradients: Tensor, losses: Tensor, theta: Tensor | None = None) -> None:
    """Refuse what does not fit together.

    Raises:
        ValueError: naming the argument, its shape and the shape that is allowed.
    """
    if masks.dim() != 2 or not len(masks):
        raise ValueError(f"masks must be [batch ≥ 1, gate]; got shape {tuple(masks.shape)}")
    batch, gates = masks.shape
    allowed: dict[str, tuple[Tensor | None, list[tuple[int, ...]]]] = {
        "gradients": (gradients, [(batch, gates)]),
        "losses": (losses, [(batch,), (batch, gates)]),
        "theta": (theta, [(gates,)]),
    }
    for name, (value, shapes) in allowed.items():
        if value is not None and tuple(value.shape) not in shapes:
            raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))}; got {tuple(value.shape)}")
