"""Training images of every class in equal numbers, without augmentation: what SNACS looks at activations on."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from training.data.source import Source
from training.errors import InputError

__all__ = ["images_of_each_class"]


def images_of_each_class(
    source: Source, per_class: int, seed: int, batch: int = 250
) -> tuple[Float[Tensor, "image c h w"], Int[Tensor, " image"]]:
    """Return the same images and labels whenever they are asked for, chosen at random.

    Args:
        source: the data.
        per_class: images of each class; all there are of a class that has fewer.
        seed: of the choice.
        batch: images read at once.

    Raises:
        InputError: if fewer than two classes have images.
    """
    wanted = torch.bincount(source.train_labels.cpu(), minlength=source.classes).clamp(max=per_class)
    if int((wanted > 0).sum()) < 2:
        raise InputError(f"data {source.name} must have images of at least two classes for their activations to differ")
    generator = torch.Generator().manual_seed(seed)
    size = min(batch, len(source.train_labels))
    images, labels = [], []
    for some, of in source.batches(size, generator, augment=False, drop_last=False, channels_last=True):
        chosen = _first(of.cpu(), wanted)
        wanted = wanted - torch.bincount(of.cpu()[chosen], minlength=source.classes)
        images.append(some[chosen.to(some.device)])
        labels.append(of[chosen.to(of.device)])
        if not bool(wanted.any()):
            break
    return torch.cat(images), torch.cat(labels)


def _first(labels: Int[Tensor, " image"], wanted: Int[Tensor, " class"]) -> Int[Tensor, " chosen"]:
    """Indices of the first images of each class, as many as are wanted."""
    return torch.cat([(labels == c).nonzero().flatten()[: int(count)] for c, count in enumerate(wanted)])
