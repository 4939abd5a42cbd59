"""ImageNet, or any images in its layouts, is decoded in worker processes as training asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader

from training.data.image_crops import centre_pixels, decode, random_pixels
from training.data.image_files import FolderImages, ImageFiles, digest, list_folders, list_shards
from training.data.in_memory import Device
from training.data.source import Batches, batch_count, check_skip, check_test_batch_size
from training.errors import DataError
from training.runtime.readable import check_folder
from training.runtime.shard import WHOLE, Share

__all__ = ["ImageNet", "load_imagenet"]

# Of each channel over ImageNet's training images, in units of 1/255; those of most published networks.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)

_PUBLISHED = (1_281_167, 50_000, 1000)  # training images, validation images, classes of ILSVRC 2012

_MOST_WORKERS = 16

Draw = tuple[int, int | None]  # an image's number, and the seed of its crop; None for its centre


@dataclass(frozen=True, eq=False)
class ImageNet:
    """Images in files, a `Source`: nothing is held in memory but where they are.

    The order of an epoch and the seed of each image's crop are drawn at the call of `batches`, so neither depends
    on the workers or on the batch size, and an epoch can be begun at any batch without decoding those before.

    Args:
        name: what `load` calls it.
        train: the training images.
        test: the validation images.
        classes: number of classes.
        provenance: one phrase to print beside every number measured on these images.
        device: where batches go.
        workers: processes that decode; 0 decodes in this one. Does not change any image.
        size: side of the square that a network sees, at least 1.
        resize: shorter side of a validation image before its centre is cut, at least `size`.

    Raises:
        DataError: while batches are drawn, for an image that cannot be read; the message begins with its path.
    """

    name: str
    train: ImageFiles
    test: ImageFiles
    classes: int
    provenance: str
    device: torch.device
    workers: int
    size: int = 224
    resize: int = 256
    train_labels: Int64[Tensor, " train"] = field(init=False)
    test_labels: Int64[Tensor, " test"] = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.resize:
            raise ValueError(f"size is {self.size}; it must be between 1 and resize = {self.resize}")
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}; it must be at least 0")
        object.__setattr__(self, "train_labels", torch.from_numpy(self.train.labels))
        object.__setattr__(self, "test_labels", torch.from_numpy(self.test.labels))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of the images that batches hold."""
        return 3, self.size, self.size

    @property
    def mean(self) -> Float32[Tensor, " c"]:
        """Return the mean of each channel, for images as bytes. [channel]"""
        return torch.tensor(_MEAN)

    @property
    def std(self) -> Float32[Tensor, " c"]:
        """Return the standard deviation of each channel, for images as bytes. [channel]"""
        return torch.tensor(_STD)

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
        """Return an epoch as in `Source`; augmentation crops, resizes and mirrors, else images are as in evaluation."""
        count = batch_count(self, batch_size, drop_last)
        check_skip(self, batch_size, count, skip)
        if generator.device.type != "cpu":
            raise ValueError(f"the generator is on {generator.device}; use one on the CPU, the same for every device")
        n = len(self.train_labels)
        order = torch.randperm(n, generator=generator)
        seeds = torch.randint(2**62, (n,), generator=generator)

        def draws() -> Iterator[list[Draw]]:
            for index in range(skip, count):
                start = index * batch_size
                where = share.of(min(batch_size, n - start), start)
                chosen = order[where].tolist()
                if not chosen:
                    continue
                crops = seeds[where].tolist() if augment else [None] * len(chosen)
                yield list(zip(chosen, crops, strict=True))

        return self._decoded(self.train, draws(), channels_last)

    def test_batches(self, batch_size: int = 1000, *, channels_last: bool = False, share: Share = WHOLE) -> Batches:
        """Return the batches of all validation images, as in `Source`."""
        check_test_batch_size(batch_size)
        n = len(self.test_labels)
        parts = (share.of(min(batch_size, n - start), start) for start in range(0, n, batch_size))
        draws: Iterator[list[Draw]] = (
            [(i, None) for i in range(part.start, part.stop)] for part in parts if part.start < part.stop
        )
        return self._decoded(self.test, draws, channels_last)

    def normalise(self, images: UInt8[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        """Return images as a network takes them, with the mean and deviation usual for ImageNet."""
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (_MEAN, _STD))
        return (images.float() - mean) / std

    def _decoded(self, files: ImageFiles, draws: Iterable[list[Draw]], channels_last: bool) -> Batches:
        loader: DataLoader[Any] = DataLoader(
            _Decoder(files, self.size, self.resize),  # type: ignore[arg-type]  # indexed by draws, not numbers
            batch_sampler=draws,
            num_workers=self.workers,
            collate_fn=_together,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from the global one, and change the run
        )
        for part in loader:
            if isinstance(part, DataError):
                raise part
            pixels, labels = (tensor.to(self.device, non_blocking=True) for tensor in part)
            # Decoded images are channels last already, and stay so on the way to the device.
            images = self.normalise(pixels.permute(0, 3, 1, 2))
            yield images if channels_last else images.contiguous(), labels


@dataclass(frozen=True, eq=False)
class _Decoder:
    """Decoder of one image at a time, in a worker.

    A broken image comes back as an error instead of being raised: the loader would wrap it in a traceback.
    """

    files: ImageFiles
    size: int
    resize: int

    def __getitem__(self, draw: Draw) -> tuple[UInt8[np.ndarray, "h w 3"], int] | DataError:
        index, seed = draw
        try:
            image = decode(self.files.read(index))
        except OSError as error:
            return DataError(f"{self.files.where(index)} cannot be read ({error.strerror})")
        except ValueError as error:
            return DataError(f"{self.files.where(index)} {error}; replace it")
        if seed is None:
            return centre_pixels(image, self.size, self.resize), int(self.files.labels[index])
        return random_pixels(image, self.size, seed), int(self.files.labels[index])


def _together(
    images: list[tuple[UInt8[np.ndarray, "h w 3"], int] | DataError],
) -> tuple[UInt8[Tensor, "n h w 3"], Int64[Tensor, " n"]] | DataError:
    """Return a batch, or the first error in it."""
    pixels, labels = [], []
    for image in images:
        if isinstance(image, DataError):
            return image
        pixels.append(image[0])
        labels.append(image[1])
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)


def load_imagenet(
    folder: str | Path, device: Device = "cpu", *, workers: int | None = None, size: int = 224, resize: int = 256
) -> ImageNet:
    """Return ImageNet from class folders or WebDataset shards.

    ====================  ===========================================================
    class folders         `train/CLASS/NAME.JPEG` and `val/CLASS/NAME.JPEG`
    WebDataset shards     `train/*.tar` and `val/*.tar`, or `*train*.tar` and `*val*.tar`
    ====================  ===========================================================

    Args:
        folder: that holds one of these, or holds it under the name `imagenet`.
        device: where batches go.
        workers: processes that decode; by default as many as there are processors to use, 16 at most.
        size: side of the square that a network sees.
        resize: shorter side of a validation image before its centre is cut.

    Raises:
        DataError: nothing there, or something that is not as it should be.
    """
    inside = Path(folder) / "imagenet"
    place = inside if inside.is_dir() else Path(folder)
    train, kind = _list(place, "train")
    test, _ = _list(place, "val", train.classes if isinstance(train, FolderImages) else None)
    classes = len(train.classes) if isinstance(train, FolderImages) else int(train.labels.max()) + 1
    if int(test.labels.max()) >= classes:
        raise DataError(f"{place} has a validation image of class {test.labels.max()}, above {classes - 1} in training")
    counts = (len(train.labels), len(test.labels), classes)
    published = "the published counts" if counts == _PUBLISHED else "not the published counts"
    return ImageNet(
        name="imagenet",
        train=train,
        test=test,
        classes=classes,
        provenance=f"ImageNet from {kind}, {counts[0]} train and {counts[1]} test images in {classes} classes "
        f"({published}), files not verified, listing sha256 {digest([train, test])}",
        device=torch.device(device),
        workers=_processors() if workers is None else workers,
        size=size,
        resize=resize,
    )


def _processors() -> int:
    """Return the number of processors for this process, in a container or a batch job fewer than the machine has."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # torchrun's processes on this machine, which decode too
    return max(1, min(usable // beside, _MOST_WORKERS))


def _list(place: Path, split: str, classes: tuple[str, ...] | None = None) -> tuple[ImageFiles, str]:
    """Return the images of a split, and the name of their layout."""
    for folder in (place, place / split):
        check_folder(folder, DataError)
    shards = sorted((place / split).glob("*.tar")) or sorted(place.glob(f"*{split}*.tar"))
    if shards:
        return list_shards(shards), "WebDataset shards"
    if (place / split).is_dir():
        return list_folders(place / split, classes), "class folders"
    raise DataError(f"{place} holds neither {split}/CLASS/NAME.JPEG nor {split}/*.tar; place ImageNet there")
