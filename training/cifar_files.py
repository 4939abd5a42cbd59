"""CIFAR-10 from its files on disk, in both layouts in which it is published.

==================  ============================  ===================================================
folder              files                         each file
==================  ============================  ===================================================
cifar-10-batches-   data_batch_1.bin to _5.bin,   10,000 records of one label byte and 3,072 pixel
bin                 test_batch.bin                bytes (red, green, blue plane; rows from the top)
cifar-10-batches-   data_batch_1 to _5,           a pickled dictionary: ``b"data"``, bytes
py                  test_batch                    [10000, 3072], and ``b"labels"``, a list
==================  ============================  ===================================================
"""

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from training import array_pickle
from training.errors import InputError

__all__ = ["RECORDS", "DataError", "RawImages", "read_cifar10"]

RECORDS = 10_000
"""Images in each published file."""

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_CLASSES = 10
_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"


class DataError(InputError):
    """A data set is missing, damaged, foreign or unknown; one line that names what, and says what to do."""


@dataclass(frozen=True, eq=False)
class RawImages:
    """What the files hold, in the order in which they hold it.

    Args:
        train_images: pixels 0 to 255, the five training files after one another.
        train_labels: classes 0 to 9.
        test_images: pixels 0 to 255.
        test_labels: classes 0 to 9.
        layout: ``"binary"`` or ``"python"``.
        official: every file has its official checksum.
    """

    train_images: UInt8[np.ndarray, "train 3 32 32"]
    train_labels: UInt8[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test 3 32 32"]
    test_labels: UInt8[np.ndarray, " test"]
    layout: str
    official: bool


Batch = tuple[UInt8[np.ndarray, " n"], UInt8[np.ndarray, "n 3 32 32"]]  # labels, images


def _parse_binary(path: Path, content: bytes, records: int) -> Batch:
    size = 1 + _PIXELS
    if len(content) % size:
        raise _damaged(path, f"is truncated: {len(content)} bytes is no whole number of {size}-byte records")
    rows = np.frombuffer(content, np.uint8).reshape(-1, size)
    return _checked(path, rows[:, 0], rows[:, 1:], records)


def _parse_python(path: Path, content: bytes, records: int) -> Batch:
    try:
        batch = array_pickle.loads(content)
    except pickle.UnpicklingError as error:
        raise _damaged(path, f"is no readable CIFAR-10 pickle: {error}") from error
    data, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS:
        raise _damaged(path, f"has no b'data' of bytes [n, {_PIXELS}]")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise _damaged(path, "has no b'labels', a list of classes")
    return _checked(path, np.array(labels, np.uint8), data, records)


def _checked(path: Path, labels: np.ndarray, pixels: np.ndarray, records: int) -> Batch:
    if not len(labels) == len(pixels) == records:
        counts = f"{len(pixels)} images and {len(labels)} labels"
        raise _damaged(path, f"holds {counts}; {records} of each are expected")
    if labels.max() >= _CLASSES:
        raise _damaged(path, f"is not CIFAR-10: it has the label {labels.max()}, above {_CLASSES - 1}")
    return labels, pixels.reshape(-1, *_SHAPE)


@dataclass(frozen=True)
class _Layout:
    name: str
    folder: str
    parse: Callable[[Path, bytes, int], Batch]
    algorithm: str
    checksums: dict[str, str]  # by file: five for training, then the test file


_LAYOUTS = (
    _Layout(
        name="binary",
        folder="cifar-10-batches-bin",
        parse=_parse_binary,
        algorithm="sha1",  # as listed by Apache MXNet (gluon.data.vision.CIFAR10)
        checksums={
            "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
            "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
            "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
            "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
            "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
            "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
        },
    ),
    _Layout(
        name="python",
        folder="cifar-10-batches-py",
        parse=_parse_python,
        algorithm="md5",  # as listed by torchvision (datasets.CIFAR10)
        checksums={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
    ),
)


def _find(folder: Path) -> tuple[_Layout, Path]:
    """The first layout of which any file is there, and where: inside the folder, or the folder itself."""
    for layout in _LAYOUTS:
        for place in (folder / layout.folder, folder):
            if any(os.path.exists(place / name) for name in layout.checksums):
                return layout, place
    problem = "holds neither cifar-10-batches-bin nor cifar-10-batches-py" if os.path.isdir(folder) else "is no folder"
    archives = sorted(folder.glob("cifar-10-*.tar.gz"))
    remedy = f"unpack {archives[0].name} there" if archives else f"unpack CIFAR-10 there, from {_SOURCE}"
    raise DataError(f"{folder} {problem}; {remedy}")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _damaged(path, "is missing") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its kind and permissions") from error


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path} {problem}; unpack CIFAR-10 afresh, from {_SOURCE}")


def read_cifar10(folder: str | Path, records: int = RECORDS) -> RawImages:
    """Read the ten classes of CIFAR-10 from whichever layout is there; the binary one where both are.

    Args:
        folder: the batches folder itself, or the one that holds it.
        records: images per file, at least 1. Anything but the published 10,000 is for excerpts and tests.

    Raises:
        DataError: nothing there, a file missing, truncated, of another length, or not CIFAR-10.
    """
    if records < 1:
        raise DataError(f"records is {records}; a file holds at least 1")
    layout, place = _find(Path(folder))
    parts, official = [], True
    for name, checksum in layout.checksums.items():
        path = place / name
        content = _content(path)
        official &= hashlib.new(layout.algorithm, content, usedforsecurity=False).hexdigest() == checksum
        parts.append(layout.parse(path, content, records))
    train, test = parts[:-1], parts[-1]
    return RawImages(
        train_images=np.concatenate([images for _, images in train]),
        train_labels=np.concatenate([labels for labels, _ in train]),
        test_images=test[1].copy(),
        test_labels=test[0].copy(),
        layout=layout.name,
        official=official,
    )
