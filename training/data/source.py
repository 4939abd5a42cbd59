"""The interface of a data set for training, whether its images lie on the device, in folders or in shards."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from training.runtime.shard import WHOLE, Share

__all__ = ["Batches", "Source", "batch_count", "check_skip", "check_test_batch_size"]

Batches = Iterator[tuple[Float32[Tensor, "batch c h w"], Int64[Tensor, " batch"]]]
"""Normalised images and their labels, on the device."""


@runtime_checkable
class Source(Protocol):
    """Labelled images for training and testing.

    `Dataset` holds all of them on the device, `ImageNet` decodes them as they are asked for. Labels are known
    without looking at an image. What an implementation promises:

    - the generator's state before a call of `batches` fixes the whole epoch: its order and what augmentation does
      to each image, whatever the batch size and however many processes work on it;
    - the shares of a batch, one after the other, are the batch;
    - its state after the call depends on the number of images alone;
    - `skip` gives the rest of an epoch exactly as it would have come, without making what is left out;
    - arguments out of range are refused at the call, not at the first batch.
    """

    @property
    def name(self) -> str:
        """Return the name by which `load` knows the data set."""

    @property
    def classes(self) -> int:
        """Return the number of classes; labels are 0 to classes - 1."""

    @property
    def provenance(self) -> str:
        """Return one phrase to print beside every number measured on these images."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of the images that batches hold."""

    @property
    def train_labels(self) -> Int64[Tensor, " train"]:
        """Return the labels of all training images. [image]"""

    @property
    def test_labels(self) -> Int64[Tensor, " test"]:
        """Return the labels of all test images, in the order of `test_batches`. [image]"""

    def batches(
        self,
        batch_size: int,
        generator: torch.Generator,
        *,
        augment: bool = True,
        drop_last: bool = True,
        skip: int = 0,
        channels_last: bool = False,
        share: Share = WHOLE,
    ) -> Batches:
        """Return the batches of an epoch: every image once, shuffled, normalised and, unless switched off, augmented.

        Args:
            batch_size: 1 to the number of training images.
            generator: a generator on the CPU, wherever the images lie.
            augment: change images at random in ways that leave their meaning.
            drop_last: leave out a last batch smaller than the others.
            skip: start with the batch of this index, 0 to `batch_count`.
            channels_last: give images in the memory format that convolutions prefer on some devices.
            share: give this part of every batch, without making the others'; a part without images is left out.

        Raises:
            ValueError: batch size or skip out of range, or a generator that is not on the CPU.
        """

    def test_batches(self, batch_size: int = 1000, *, channels_last: bool = False, share: Share = WHOLE) -> Batches:
        """Return all test images in their order, normalised, the share of each batch; the last may be smaller.

        Raises:
            ValueError: the batch size is below 1.
        """


def batch_count(source: Source, batch_size: int, drop_last: bool = True) -> int:
    """Return the number of batches in an epoch.

    Raises:
        ValueError: the batch size is below 1 or above the number of training images.

    Example:
        >>> from training.data.data_sets import load_digits
        >>> digits = load_digits()
        >>> batch_count(digits, 100), batch_count(digits, 100, drop_last=False)
        (14, 15)
    """
    n = len(source.train_labels)
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch size is {batch_size}; it must be between 1 and the {n} images of {source.name}")
    return n // batch_size if drop_last else -(-n // batch_size)


def check_skip(source: Source, batch_size: int, count: int, skip: int) -> None:
    """Refuse to begin beyond the end of an epoch of `count` batches.

    Raises:
        ValueError: skip is not in 0 to count.
    """
    if not 0 <= skip <= count:
        raise ValueError(f"skip is {skip}; an epoch of {source.name} has {count} batches of {batch_size}")


def check_test_batch_size(batch_size: int) -> None:
    """Refuse batches of nothing.

    Raises:
        ValueError: the batch size is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch size is {batch_size}; it must be at least 1")
