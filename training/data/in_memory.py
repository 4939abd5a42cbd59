"""A labelled set of images is held as a whole on one device."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, Num, UInt8
from torch import Tensor

from training.data.augmentation import draw, shift_and_flip
from training.data.source import Batches, batch_count, check_skip, check_test_batch_size
from training.runtime.shard import WHOLE, Share

__all__ = ["Dataset", "Device", "from_bytes"]

Device = torch.device | str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images for training and testing, all on one device: a `Source`.

    Args:
        name: what `load` calls it.
        train_images: as stored, usually bytes.
        train_labels: 0 to classes - 1.
        test_images: as stored.
        test_labels: 0 to classes - 1.
        classes: number of classes.
        mean: of each channel over the training images, in the units in which they are stored.
        std: deviation of each channel, in the same units, > 0.
        provenance: one phrase to print beside every number measured on these images.
        padding: pixels by which a training image may be shifted without changing its meaning.
        flip: whether it may be mirrored left to right.
    """

    name: str
    train_images: Num[Tensor, "train c h w"]
    train_labels: Int64[Tensor, " train"]
    test_images: Num[Tensor, "test c h w"]
    test_labels: Int64[Tensor, " test"]
    classes: int
    mean: Float32[Tensor, " c"]
    std: Float32[Tensor, " c"]
    provenance: str
    padding: int
    flip: bool

    @property
    def device(self) -> torch.device:
        """Return the device that holds the images."""
        return self.train_images.device

    def normalise(self, images: Num[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        """Return images as a network takes them: each channel of the training set has mean 0 and deviation 1."""
        return (images.float() - self.mean[:, None, None]) / self.std[:, None, None]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of an image."""
        _, c, h, w = self.train_images.shape
        return c, h, w

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
        """Return an epoch as in `Source`; augmentation shifts and mirrors. All its draws are made at the call."""
        count = batch_count(self, batch_size, drop_last)
        check_skip(self, batch_size, count, skip)
        n = len(self.train_labels)
        draws = draw(n, generator, self.padding, self.flip).to(self.device)
        order = torch.randperm(n, generator=generator).to(self.device)

        def rest() -> Batches:
            for index in range(skip, count):
                start = index * batch_size
                where = share.of(min(batch_size, n - start), start)
                if where.start == where.stop:
                    continue
                chosen = order[where]
                images = self.normalise(self.train_images[chosen])
                if augment:
                    images = shift_and_flip(images, draws.part(where), self.padding)
                yield _in_format(images, channels_last), self.train_labels[chosen]

        return rest()

    def test_batches(self, batch_size: int = 1000, *, channels_last: bool = False, share: Share = WHOLE) -> Batches:
        """Return the batches of all test images, as in `Source`."""
        check_test_batch_size(batch_size)
        n = len(self.test_labels)
        parts = (share.of(min(batch_size, n - start), start) for start in range(0, n, batch_size))
        return (
            (_in_format(self.normalise(self.test_images[where]), channels_last), self.test_labels[where])
            for where in parts
            if where.start < where.stop
        )


def _in_format(images: Tensor, channels_last: bool) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if channels_last else images


Arrays = tuple[
    UInt8[np.ndarray, "train c h w"],
    UInt8[np.ndarray, " train"],
    UInt8[np.ndarray, "test c h w"],
    UInt8[np.ndarray, " test"],
]


def from_bytes(
    name: str, origin: str, arrays: Arrays, *, classes: int, padding: int, flip: bool, device: Device
) -> Dataset:
    """Return a data set from bytes as they were read: tensors on the device, with moments, counts and digest.

    Args:
        name: what `load` calls it.
        origin: the beginning of the provenance: what the images are and where they come from.
        arrays: training images, training labels, test images, test labels.
        classes: number of classes.
        padding: as in `Dataset`.
        flip: as in `Dataset`.
        device: where to put the images.
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    train_images, train_labels, test_images, test_labels = (torch.from_numpy(array) for array in arrays)
    mean, std = _moments(train_images)
    counts = f"{len(train_images)} train and {len(test_images)} test images"
    return Dataset(
        name=name,
        train_images=train_images.to(device),
        train_labels=train_labels.long().to(device),
        test_images=test_images.to(device),
        test_labels=test_labels.long().to(device),
        classes=classes,
        mean=mean.to(device),
        std=std.to(device),
        provenance=f"{origin}, {counts}, content sha256 {digest.hexdigest()[:12]}",
        padding=padding,
        flip=flip,
    )


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel of byte images, from exact counts; 1 where a channel is constant."""
    values = torch.arange(256, dtype=torch.float64)
    means, deviations = [], []
    for channel in images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = (share * values).sum()
        means.append(mean)
        deviations.append((share * (values - mean) ** 2).sum().sqrt())
    mean, std = torch.stack(means).float(), torch.stack(deviations).float()
    return mean, torch.where(std > 0, std, torch.ones_like(std))
