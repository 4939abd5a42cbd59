"""Encoded images of a large data set are found in class folders or in WebDataset shards.

Both kinds are listed once; then any image can be read by its number, so any order can be drawn and an epoch
begun anywhere. For shards the listing goes through the headers of the tar files (not the images) and notes offsets.
That suits disks; shards on remote storage, which want to be read from end to end, are better copied first.

Names are kept in NumPy arrays: a million Python strings would be copied into every worker process, page by page, as
their reference counts change.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, Shaped

from training.errors import DataError
from training.runtime.progress import Progress
from training.runtime.readable import check_file

__all__ = ["FolderImages", "ImageFiles", "ShardImages", "list_folders", "list_shards"]

SUFFIXES = (".jpeg", ".jpg", ".png")
"""Of files that are taken for images, whatever their case."""


@runtime_checkable
class ImageFiles(Protocol):
    """Encoded images by number, in a fixed order."""

    @property
    def labels(self) -> Int64[np.ndarray, " n"]:
        """Return the class of each image. [image]"""

    @property
    def names(self) -> Shaped[np.ndarray, " n"]:
        """Return what tells each image from the others of this data set, as bytes. [image]"""

    def read(self, index: int) -> bytes:
        """Return one image, encoded; raise OSError if it cannot be read."""

    def where(self, index: int) -> str:
        """Return the path of an image, for messages."""


def digest(files: Sequence[ImageFiles]) -> str:
    """Return a short digest of all names and labels: the same for the same listing, whatever is in the images."""
    sha = hashlib.sha256()
    for part in files:
        for name, label in zip(part.names.tolist(), part.labels.tolist(), strict=True):
            sha.update(b"%d %b\n" % (label, name))
    return sha.hexdigest()[:12]


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images in a folder for each class.

    Args:
        folder: that holds the class folders.
        classes: names of the class folders; the labels count in this order.
        labels: of each image.
        names: class folder and file name of each, encoded as the file system does.
    """

    folder: Path
    classes: tuple[str, ...]
    labels: Int64[np.ndarray, " n"]
    names: Shaped[np.ndarray, " n"]

    def read(self, index: int) -> bytes:
        """Return one image, encoded; raise OSError if it cannot be read."""
        return Path(self.where(index)).read_bytes()

    def where(self, index: int) -> str:
        """Return the path of an image."""
        return os.path.join(self.folder, os.fsdecode(self.names[index]))


def list_folders(folder: Path, classes: Sequence[str] | None = None) -> FolderImages:
    """List the images in `folder/CLASS/FILE`, by class and then by name. Hidden files are left out.

    Args:
        folder: that holds the class folders.
        classes: those there may be, if that is known; else they are the folders that are there, sorted, and none may
            be empty.

    Raises:
        DataError: no class folders, one of an unknown class or without images, or a file that is no image.
    """
    found = sorted(entry.name for entry in _entries(folder))
    known = tuple(found if classes is None else classes)
    numbers = {name: number for number, name in enumerate(known)}
    labels, names = [], []
    with Progress(f"listing {folder}", len(found)) as bar:
        for name in found:
            place = folder / name
            if not place.is_dir():
                raise DataError(f"{place} is no folder of a class; sort the images into {folder}/CLASS/")
            if name not in numbers:
                raise DataError(f"{place} is of a class that the training images do not have")
            entries = sorted(_entries(place), key=lambda entry: entry.name)
            images = [entry.name for entry in entries]
            # Neither a folder nor a pipe is one, whatever its name; to read from a pipe would be to wait for ever.
            wrong = next(
                (each.name for each in entries if not (each.name.lower().endswith(SUFFIXES) and each.is_file())), None
            )
            if wrong:
                raise DataError(f"{place / wrong} is no image ({', '.join(SUFFIXES)}); remove it")
            if not images and classes is None:
                raise DataError(f"{place} holds no images; remove it or unpack it again")
            labels += [numbers[name]] * len(images)
            names += [os.fsencode(f"{name}/{image}") for image in images]
            bar.advance()
    if not names:
        raise DataError(f"{folder} holds no images in class folders")
    return FolderImages(folder, known, np.array(labels, np.int64), np.array(names))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})") from error


@dataclass(frozen=True, eq=False)
class ShardImages:
    """Images inside tar files.

    Args:
        shards: the tar files.
        labels: of each image.
        names: each one's name in its shard.
        shard: the number of the shard it is in.
        offsets: bytes before it.
        sizes: its bytes.
    """

    shards: tuple[Path, ...]
    labels: Int64[np.ndarray, " n"]
    names: Shaped[np.ndarray, " n"]
    shard: Int64[np.ndarray, " n"]
    offsets: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " n"]

    def read(self, index: int) -> bytes:
        """Return one image, encoded; raise OSError if it cannot be read."""
        with open(self.shards[self.shard[index]], "rb") as file:
            file.seek(self.offsets[index])
            return file.read(self.sizes[index])

    def where(self, index: int) -> str:
        """Return shard and name of an image."""
        return f"{self.shards[self.shard[index]]}:{os.fsdecode(self.names[index])}"


class _Sample(NamedTuple):
    name: bytes
    label: int
    offset: int
    size: int


def list_shards(shards: Sequence[Path]) -> ShardImages:
    """List the images in WebDataset shards: uncompressed tar files that hold KEY.jpg and KEY.cls, a class as digits.

    Members of other kinds (KEY.json, say) are left out.

    Raises:
        DataError: a shard is no tar file or truncated, or an image has no class or a class no image.
    """
    samples: list[_Sample] = []
    numbers: list[int] = []
    with Progress(f"listing {shards[0].parent}", len(shards)) as bar:
        for number, path in enumerate(shards):
            found = _samples(path)
            samples += found
            numbers += [number] * len(found)
            bar.advance()
    names, *columns = zip(*samples, strict=True)
    labels, offsets, sizes = (np.array(column, np.int64) for column in columns)
    return ShardImages(tuple(shards), labels, np.array(names), np.array(numbers, np.int64), offsets, sizes)


def _samples(path: Path) -> list[_Sample]:
    """Return the samples of one shard, in the order of their images in it."""
    images: dict[str, tarfile.TarInfo] = {}
    classes: dict[str, int] = {}
    check_file(path, DataError)
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                key, suffix = _split(member.name)
                if not member.isreg() or member.issparse() or not (suffix in SUFFIXES or suffix == ".cls"):
                    continue
                if key in (images if suffix != ".cls" else classes):
                    raise DataError(f"{path}:{member.name} is there twice for the sample {key}")
                if suffix == ".cls":
                    classes[key] = _class(path, member, tar)
                else:
                    images[key] = member
            _check_length(path, file, images)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path} is no whole tar file ({error}); copy it again, uncompressed") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    if not images:
        raise DataError(f"{path} holds no samples of KEY.jpg and KEY.cls")
    alone = next(iter(images.keys() ^ classes.keys()), None)
    if alone is not None:
        raise DataError(f"{path} has, for {alone}, only one of image and class")
    return [_Sample(os.fsencode(at.name), classes[key], at.offset_data, at.size) for key, at in images.items()]


def _split(name: str) -> tuple[str, str]:
    """Return key and suffix in WebDataset's sense: the suffix begins at the first dot of the last part."""
    folder, _, last = name.rpartition("/")
    stem, dot, suffix = last.partition(".")
    return f"{folder}/{stem}", (dot + suffix).lower() if stem else ""


def _class(path: Path, member: tarfile.TarInfo, tar: tarfile.TarFile) -> int:
    content = tar.extractfile(member)
    text = content.read(20).strip() if content else b""
    if not (text.isdigit() and len(text) < 10):
        raise DataError(f"{path}:{member.name} holds {text!r}, not a class as digits")
    return int(text)


def _check_length(path: Path, file: io.BufferedIOBase, images: dict[str, tarfile.TarInfo]) -> None:
    """Refuse a shard whose last member is cut, which tarfile does not notice."""
    length = file.seek(0, 2)
    for member in images.values():
        if member.offset_data + member.size > length:
            raise DataError(f"{path} is truncated: {member.name} ends beyond it; copy it again")
