"""Criteria by which units matter least, older than any method here.

    l1          Σ|w| of the unit's own filter
    activation  mean |activation| behind normalisation and ReLU, on training images
    random      a number drawn

Arguments are those of `scores`; the lowest score goes first.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from training.data.source import Source
from training.errors import InputError
from training.gating.gates import Gates
from training.methods.activations import activations, fixed_images

__all__ = ["CRITERIA", "check_criterion", "looked_at", "lowest", "scores"]

CRITERIA = ("l1", "activation", "random")


def check_criterion(name: str, images: int) -> None:
    """Refuse an unknown criterion, or a look at no images.

    Args:
        name: of the criterion.
        images: how many are looked at for "activation".

    Raises:
        InputError: naming the setting and what is allowed.
    """
    if name not in CRITERIA:
        raise InputError(f"criterion must be one of {', '.join(CRITERIA)}; got {name!r}")
    if images < 1:
        raise InputError(f"images must be ≥ 1; got {images}")


def looked_at(criterion: str, source: Source, images: int) -> int:
    """Return how many images a criterion sends through the network.

    Arguments are those of `scores`.
    """
    return min(images, len(source.train_labels)) if criterion == "activation" else 0


def scores(
    criterion: str, network: nn.Module, gates: Gates, source: Source, *, seed: int, images: int
) -> Float[np.ndarray, " unit"]:
    """Return the scores of all units that are left, group after group.

    Args:
        criterion: one of `CRITERIA`.
        network: gated.
        gates: of the network.
        source: the data, for "activation".
        seed: for "random", and of the choice of images.
        images: how many are looked at for "activation", ≥ 1.
    """
    if criterion == "random":
        drawn = np.random.default_rng(seed).random(gates.total)
        return drawn[gates.origin[: gates.units].cpu().numpy()]  # a unit keeps its number when others leave
    with torch.no_grad():
        if criterion == "l1":
            parts = [group.producer.weight.abs().flatten(1).sum(1) for group in gates.groups]
        else:
            seen = activations(network, gates, fixed_images(source, images, seed)[0])
            parts = [of_group.abs().mean(0) for of_group in seen]
        return torch.cat(parts).double().cpu().numpy()


def lowest(
    values: Float[np.ndarray, " unit"], gates: Gates, going: Int[np.ndarray, " group"]
) -> Bool[np.ndarray, " gate"]:
    """Return the units of lowest score, so many of each group; of equal ones the first.

    Args:
        values: score of each unit.
        gates: that are there.
        going: how many of each group go, ≤ its size.
    """
    chosen = np.zeros(len(gates.theta), bool)
    start = 0
    for size, count in zip(gates.sizes[: len(gates.groups)], going, strict=True):
        order = np.argsort(values[start : start + size], kind="stable")
        chosen[start + order[: int(count)]] = True
        start += size
    return chosen
