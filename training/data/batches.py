"""Batches of a data set in a repeatable order, from any batch on, as `Source` promises them."""

import torch

from training.data.source import Batches, Source, batch_count
from training.runtime.shard import WHOLE, Share

__all__ = ["batch_count", "batches", "test_batches"]


def batches(
    source: Source,
    batch_size: int,
    generator: torch.Generator,
    *,
    augment: bool = True,
    drop_last: bool = True,
    skip: int = 0,
    channels_last: bool = False,
    share: Share = WHOLE,
) -> Batches:
    """Return the batches of one epoch of training; arguments and promises as in `Source.batches`.

    Example:
        >>> from training.data.data_sets import load_digits
        >>> images, labels = next(batches(load_digits(), 128, torch.Generator().manual_seed(0)))
        >>> images.shape, images.dtype, labels.shape
        (torch.Size([128, 1, 8, 8]), torch.float32, torch.Size([128]))
    """
    return source.batches(
        batch_size,
        generator,
        augment=augment,
        drop_last=drop_last,
        skip=skip,
        channels_last=channels_last,
        share=share,
    )


def test_batches(
    source: Source, batch_size: int = 1000, *, channels_last: bool = False, share: Share = WHOLE
) -> Batches:
    """Return the batches of all test images in their order, as in `Source.test_batches`.

    Example:
        >>> from training.data.data_sets import load_digits
        >>> [len(labels) for _, labels in test_batches(load_digits(), 100)]
        [100, 100, 100, 60]
    """
    return source.test_batches(batch_size, channels_last=channels_last, share=share)
