"""Agreement of an exported network with the one that was trained is checked on images."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float32
from torch import Tensor

from training.errors import InputError, first_line

__all__ = ["TOLERANCE", "check_agreement", "computed"]

#: Largest difference of two logits, in units of the largest logit (of 1 where that is smaller).
TOLERANCE = 1e-5


def check_agreement(name: str, got: Float32[Tensor, ...], expected: Float32[Tensor, "batch classes"]) -> float:
    """Return the largest difference, in units of the largest logit expected (of 1 where that is smaller).

    Single precision keeps seven digits of the largest numbers in a sum, so the size of the logits is the scale.

    Args:
        name: of what gave the logits `got`.
        got: by what was written.
        expected: from the network that was trained.

    Raises:
        InputError: where it exceeds `TOLERANCE`, or an expected logit is not finite.
    """
    if not bool(expected.isfinite().all()):
        raise InputError("logits of the trained network must be finite to be exported; its loss diverged")
    if got.shape != expected.shape:
        raise InputError(f"{name} gives logits of shape {list(got.shape)}, the network {list(expected.shape)}")
    difference = float((got - expected).abs().max() / expected.abs().max().clamp(min=1))
    if not difference <= TOLERANCE:
        raise InputError(
            f"{name} differs from the trained network by {difference:.1e} of its largest logit; allowed is"
            f" {TOLERANCE:g}. Nothing was written"
        )
    return difference


def computed(name: str, compute: Callable[[Tensor], Tensor], images: Float32[Tensor, "batch c h w"]) -> Tensor:
    """Return what a network gives for images.

    Args:
        name: of the network, or of the file it was loaded from.
        compute: the network.
        images: for it.

    Raises:
        InputError: where it cannot be run, with the reason in a line.
    """
    try:
        return compute(images)
    except InputError:
        raise
    except Exception as error:  # whatever a forward pass may raise
        raise InputError(f"{name} cannot be run on images {list(images.shape)}: {first_line(error)}") from error
