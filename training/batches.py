"""The order in which training sees a data set, repeatable from any batch on."""

from collections.abc import Iterator

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.augmentation import draw, shift_and_flip
from training.dataset import Dataset

__all__ = ["batch_count", "batches", "test_batches"]

Batches = Iterator[tuple[Float32[Tensor, "batch c h w"], Int64[Tensor, " batch"]]]


def batch_count(dataset: Dataset, batch_size: int, drop_last: bool = True) -> int:
    """Batches in an epoch.

    Raises:
        ValueError: the batch size is below 1 or above the number of training images.

    Example:
        >>> from training.data import load_digits
        >>> digits = load_digits()
        >>> batch_count(digits, 100), batch_count(digits, 100, drop_last=False)
        (14, 15)
    """
    n = len(dataset.train_labels)
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch size is {batch_size}; it must be between 1 and the {n} images of {dataset.name}")
    return n // batch_size if drop_last else -(-n // batch_size)


def batches(
    dataset: Dataset,
    batch_size: int,
    generator: torch.Generator,
    *,
    augment: bool = True,
    drop_last: bool = True,
    skip: int = 0,
    channels_last: bool = False,
) -> Batches:
    """One epoch of training: every image once, shuffled, normalised and, unless switched off, augmented.

    The order and every image's augmentation are drawn at the call, before the first batch. So the generator's
    state before the call fixes the whole epoch; its state after the call does not depend on the options or on
    how much of the epoch is used; and `skip` gives the rest of an epoch exactly as it would have come,
    without replaying it.

    Args:
        dataset: what to go through.
        batch_size: 1 to the number of training images.
        generator: a generator on the CPU, wherever the images lie.
        augment: shift and mirror as suits the data set.
        drop_last: leave out a last batch smaller than the others.
        skip: start with the batch of this index, 0 to `batch_count`.
        channels_last: give images in the memory format that convolutions prefer on some devices.

    Returns:
        An iterator of images, float32, and their labels.

    Raises:
        ValueError: batch size or skip out of range, or a generator that is not on the CPU.

    Example:
        >>> from training.data import load_digits
        >>> images, labels = next(batches(load_digits(), 128, torch.Generator().manual_seed(0)))
        >>> images.shape, images.dtype, labels.shape
        (torch.Size([128, 1, 8, 8]), torch.float32, torch.Size([128]))
    """
    count = batch_count(dataset, batch_size, drop_last)
    if not 0 <= skip <= count:
        raise ValueError(f"skip is {skip}; an epoch of {dataset.name} has {count} batches of {batch_size}")
    n, padding = len(dataset.train_labels), dataset.padding
    draws = draw(n, generator, padding, dataset.flip).to(dataset.device)
    order = torch.randperm(n, generator=generator).to(dataset.device)

    def rest() -> Batches:
        for index in range(skip, count):
            where = slice(index * batch_size, (index + 1) * batch_size)
            chosen = order[where]
            images = dataset.normalise(dataset.train_images[chosen])
            if augment:
                images = shift_and_flip(images, draws.part(where), padding)
            yield _in_format(images, channels_last), dataset.train_labels[chosen]

    return rest()


def test_batches(dataset: Dataset, batch_size: int = 1000, *, channels_last: bool = False) -> Batches:
    """All test images in their order, normalised; the last batch may be smaller.

    Raises:
        ValueError: the batch size is below 1.

    Example:
        >>> from training.data import load_digits
        >>> [len(labels) for _, labels in test_batches(load_digits(), 100)]
        [100, 100, 100, 60]
    """
    if batch_size < 1:
        raise ValueError(f"batch size is {batch_size}; it must be at least 1")
    parts = zip(dataset.test_images.split(batch_size), dataset.test_labels.split(batch_size), strict=True)
    return ((_in_format(dataset.normalise(images), channels_last), labels) for images, labels in parts)


def _in_format(images: Tensor, channels_last: bool) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if channels_last else images
