"""A watch on the losses: slopes of the masks mean what the theory says only if the mean loss was differentiated once.

∂(objective)/∂(loss of a sample) is 1/n where the objective is the mean of n losses. A sum, a scaled loss
(`GradScaler`), a part of a batch that is accumulated, or two backward passes change it, and every estimate of D by the
same factor.
"""

from __future__ import annotations

from torch import Tensor

from training.errors import InputError

__all__ = ["LossWatch"]

TOLERANCE = 0.01  # of the weights 1/n; half-precision losses round them


class LossWatch:
    """Watches the losses of one step after another. Call `attach`, run the backward pass, then call `check`."""

    def __init__(self) -> None:
        self._passes = 0
        self._weights: Tensor | None = None
        self._count: int | None = None

    def attach(self, losses: Tensor, samples: int) -> None:
        """Watch the losses of a step; before the backward pass.

        Args:
            losses: one a sample, with their graph; checked here. [sample]
            samples: masks that were drawn, one row a sample.

        Raises:
            InputError: for losses of another shape, a scalar included.
        """
        if losses.dim() != 1 or len(losses) != samples:
            raise InputError(f"losses must have one entry a sample, shape [{samples}]; got {list(losses.shape)}")
        self._passes, self._weights, self._count = 0, None, samples
        losses.register_hook(self._saw)

    def _saw(self, weights: Tensor) -> None:
        self._passes += 1
        self._weights = weights.detach()

    def check(self, values: bool = True) -> None:
        """Refuse a step whose gradients are not those of the mean loss, differentiated once.

        Args:
            values: also look at the weights of the losses, which waits for the device.

        Raises:
            InputError: naming what was found, and what is allowed.
        """
        if self._count is None:
            raise InputError("losses must be handed over before the backward pass, and were not: call after_forward")
        count, self._count = self._count, None  # the next step must be handed over anew
        if self._passes != 1:
            raise InputError(f"a step must have one backward pass of its mean loss; got {self._passes}")
        assert self._weights is not None  # there was a backward pass
        if not values:
            return
        scale = self._weights.double() * count
        low, high = float(scale.min()), float(scale.max())
        if not 1 - TOLERANCE <= low <= high <= 1 + TOLERANCE:
            found = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
            raise InputError(
                f"the objective must be the mean of the {count} losses, unscaled and unweighted; got {found} times it: "
                "a sum, a GradScaler, weights, or part of a batch"
            )
