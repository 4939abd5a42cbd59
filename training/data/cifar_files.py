"""CIFAR-10 and CIFAR-100 are read from files on disk, in both layouts in which each is published."""

import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from training.data import safe_pickle
from training.data.cifar_layouts import SOURCE, Cifar, Layout
from training.errors import DataError
from training.runtime.readable import check_file, check_folder

__all__ = ["RawImages", "read_cifar"]

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, eq=False)
class RawImages:
    """Content of a data set's files, in their order.

    Args:
        train_images: pixels 0 to 255, the training files after one another.
        train_labels: a column for each kind of label, in the order of `Cifar.labels`.
        test_images: pixels 0 to 255.
        test_labels: as train_labels.
        layout: ``"binary"`` or ``"python"``.
        official: every file has its official checksum.
    """

    train_images: UInt8[np.ndarray, "train 3 32 32"]
    train_labels: UInt8[np.ndarray, "train kinds"]
    test_images: UInt8[np.ndarray, "test 3 32 32"]
    test_labels: UInt8[np.ndarray, "test kinds"]
    layout: str
    official: bool


Batch = tuple[UInt8[np.ndarray, "n kinds"], UInt8[np.ndarray, "n 3 32 32"]]  # labels, images


@dataclass(frozen=True)
class _File:
    """One file of a data set, with its content; knows how to read and how to refuse it."""

    cifar: Cifar
    path: Path
    content: bytes
    records: int

    def binary(self) -> Batch:
        kinds = len(self.cifar.labels)
        size = kinds + _PIXELS
        if len(self.content) % size:
            count = len(self.content)
            raise self.damaged(f"is truncated: {count} bytes is no whole number of {size}-byte records")
        rows = np.frombuffer(self.content, np.uint8).reshape(-1, size)
        return self.checked(rows[:, :kinds], rows[:, kinds:])

    def python(self) -> Batch:
        try:
            batch = safe_pickle.loads(self.content)
        except pickle.UnpicklingError as error:
            raise self.damaged(f"is no readable {self.cifar.title} pickle: {error}") from error
        data = batch.get(b"data")
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS:
            raise self.damaged(f"has no b'data' of bytes [n, {_PIXELS}]")
        columns = [self.column(key, batch.get(key.encode()), len(data)) for key in self.cifar.labels]
        return self.checked(np.stack(columns, axis=1), data)

    def column(self, key: str, labels: object, images: int) -> UInt8[np.ndarray, " n"]:
        if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
            raise self.damaged(f"has no b'{key}', a list of classes")
        if len(labels) != images:
            raise self.damaged(f"holds {images} images and {len(labels)} labels; {self.records} of each are expected")
        return np.array(labels, np.uint8)

    def checked(self, labels: np.ndarray, pixels: np.ndarray) -> Batch:
        if len(pixels) != self.records:
            counts = f"{len(pixels)} images and {len(labels)} labels"
            raise self.damaged(f"holds {counts}; {self.records} of each are expected")
        for (key, classes), highest in zip(self.cifar.labels.items(), labels.max(0), strict=True):
            if highest >= classes:
                label = key.removesuffix("s").replace("_", " ")
                raise self.damaged(f"is not {self.cifar.title}: it has the {label} {highest}, above {classes - 1}")
        return labels, pixels.reshape(-1, *_SHAPE)

    def damaged(self, problem: str) -> DataError:
        return DataError(f"{self.path} {problem}; unpack {self.cifar.title} afresh, from {SOURCE}")


def _find(cifar: Cifar, folder: Path) -> tuple[Layout, Path]:
    """Return the first layout that is there, whole or in part, and its place: inside the folder, or the folder itself.

    Names such as `train` do not tell a data set from others, so a folder of another name than the published one
    counts only if it has every file.
    """
    check_folder(folder, DataError)
    for layout in cifar.layouts:
        for place in (folder / layout.folder, folder):
            check_folder(place, DataError)
            if place.resolve().name == layout.folder:
                found = any(os.path.exists(place / name) for name in layout.checksums)
            else:
                found = all(os.path.isfile(place / name) for name in layout.checksums)
            if found:
                return layout, place
    folders = " nor ".join(layout.folder for layout in cifar.layouts)
    problem = f"holds neither {folders}" if os.path.isdir(folder) else "is no folder"
    archives = sorted(folder.glob(f"{cifar.archives}*.tar.gz"))
    remedy = f"unpack {archives[0].name} there" if archives else f"unpack {cifar.title} there, from {SOURCE}"
    raise DataError(f"{folder} {problem}; {remedy}, or try: python -m training data {cifar.name}")


def _content(cifar: Cifar, path: Path) -> bytes:
    check_file(path, DataError)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; unpack {cifar.title} afresh, from {SOURCE}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its kind and permissions") from error


def read_cifar(cifar: Cifar, folder: str | Path, records: Sequence[int] | None = None) -> RawImages:
    """Read a data set from whichever layout is there; the binary one where both are.

    Args:
        cifar: `CIFAR10` or `CIFAR100`.
        folder: the data set's own folder, or the one that holds it.
        records: images in each file, at least 1. Anything but the published numbers is for excerpts and tests.

    Raises:
        DataError: nothing there, a file missing, truncated, of another length, or not of this data set.
    """
    records = cifar.records if records is None else records
    if min(records) < 1:
        raise DataError(f"records is {min(records)}; a file holds at least 1")
    layout, place = _find(cifar, Path(folder))
    parts, official = [], True
    for (name, checksum), expected in zip(layout.checksums.items(), records, strict=True):
        file = _File(cifar, place / name, _content(cifar, place / name), expected)
        official &= hashlib.new(layout.algorithm, file.content, usedforsecurity=False).hexdigest() == checksum
        parts.append(file.binary() if layout.name == "binary" else file.python())
    train, test = parts[:-1], parts[-1]
    return RawImages(
        train_images=np.concatenate([images for _, images in train]),
        train_labels=np.concatenate([labels for labels, _ in train]),
        test_images=test[1].copy(),
        test_labels=test[0].copy(),
        layout=layout.name,
        official=official,
    )
