"""Connectivity of filters in consecutive layers: adaptive conditional mutual information.

    score(c, p) = I(c; p | the other parents) · scale(w̄_cp)

of a child c with one parent p, by the hash-based estimator on real activations. w̄ is the mean
absolute weight of the kernel between them, min–max scaled over the whole network. The abstract of arXiv 2006.12463 says
that the estimator "uses a weight-based scaling criterion", not which; the scales here:

    gaussian   exp(−w̄²/2)      lowers the score of strong kernels: 1 for the weakest, 0.61 for the strongest
    magnitude  w̄               strongly weighted kernels count more
    none       1

`gaussian` is one of the released code's options, and the default because it has a source, not because it did better
here. Its direction is the source's: of two kernels with the same information it ranks the stronger one lower.

The information is not negative; its estimates scatter around zero, so they are cut off there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.errors import InputError
from training.gating.gates import Gates
from training.methods.snacs.estimator import conditional_information
from training.methods.snacs.layers import Pair, watch

__all__ = ["SCALES", "check_scale", "information", "normalised", "scaled"]

#: Name → scale of a normalised weight.
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gaussian": lambda weight: np.exp(-np.square(weight) / 2),
    "magnitude": lambda weight: weight,
    "none": np.ones_like,
}


def check_scale(name: str) -> None:
    """Refuse an unknown scale.

    Raises:
        InputError: listing those there are.
    """
    if name not in SCALES:
        raise InputError(f"scale must be one of {', '.join(SCALES)}; got {name!r}")


def normalised(layers: Sequence[Pair]) -> list[Float[np.ndarray, "_ _"]]:
    """Return w̄ of every kernel, in [0, 1]: the weakest of all layers has 0, the strongest 1.

    Raises:
        InputError: for weights that are not finite.
    """
    strengths = [pair.strength().double().cpu().numpy() for pair in layers]
    whole = np.concatenate([strength.ravel() for strength in strengths])
    low, high = whole.min(), whole.max()
    if not np.isfinite([low, high]).all():
        raise InputError("the network's weights must be finite: training has diverged; lower the learning rate")
    span = high - low if high > low else 1.0
    return [(strength - low) / span for strength in strengths]


def information(
    network: nn.Module, gates: Gates, pairs: list[Pair], images: Float[Tensor, "image c h w"]
) -> list[Float[np.ndarray, "_ _"]]:
    """Return the information in nats of every child with every parent given the other parents, for each layer.

    Args:
        network: gated, trained.
        gates: of the network.
        pairs: the layers.
        images: on the network's device.
    """
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {pair.name: [] for pair in pairs}

    def look(pair: Pair, inputs: Tensor, outputs: Tensor) -> None:
        seen[pair.name].append((pair.made(outputs).cpu(), pair.read(inputs).cpu()))

    watch(network, gates, pairs, images, look)
    found = []
    for pair in pairs:
        children, parents = (torch.cat(side).double().numpy() for side in zip(*seen[pair.name], strict=True))
        found.append(conditional_information(children, parents))
    return found


def scaled(
    found: Float[np.ndarray, "child parent"], weight: Float[np.ndarray, "child parent"], scale: str
) -> Float[np.ndarray, "child parent"]:
    """Return the scores of a layer's kernels, ≥ 0.

    Args:
        found: information of each kernel's ends.
        weight: normalised.
        scale: one of `SCALES`.
    """
    return np.maximum(found, 0) * SCALES[scale](weight)
