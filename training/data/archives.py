"""Published archives of data sets are verified by checksum, then unpacked: only the files expected of them.

Nothing is written where an archive says: names, kinds, owners and permissions in it are ignored. For each
expected file one regular member of that name is read and its content written to a place chosen here.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from training.data.cifar_layouts import CIFAR10, CIFAR100, Cifar, Layout
from training.errors import DataError
from training.runtime.progress import Progress
from training.runtime.readable import check_file

__all__ = ["ARCHIVES", "Archive", "differing", "unpack", "verify"]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """One published archive.

    Args:
        url: where it is published; its last part is the archive's name.
        size: bytes.
        checksums: by algorithm; all are compared.
        cifar: the data set in it.
        layout: its form: the folder, and the files with their own checksums.
    """

    url: str
    size: int
    checksums: dict[str, str]
    cifar: Cifar
    layout: Layout

    @property
    def name(self) -> str:
        """Return the archive's file name."""
        return self.url.rpartition("/")[2]


def _python_layout(cifar: Cifar) -> Layout:
    return next(layout for layout in cifar.layouts if layout.name == "python")


# MD5 as stated by the publisher on the data sets' page; SHA-256 as listed by Keras (keras.datasets).
ARCHIVES = {
    "cifar10": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        size=170_498_071,
        checksums={
            "md5": "c58f30108f718f92721af3b95e74349a",
            "sha256": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        },
        cifar=CIFAR10,
        layout=_python_layout(CIFAR10),
    ),
    "cifar100": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        size=169_001_437,
        checksums={
            "md5": "eb9058c3a382ffc7106e4002c42a8d85",
            "sha256": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        },
        cifar=CIFAR100,
        layout=_python_layout(CIFAR100),
    ),
}
"""What `python -m training data` downloads, by the name of the data set."""


def _digests(file: io.BufferedIOBase, algorithms: list[str]) -> dict[str, str]:
    """Return several checksums of an open file from its beginning, in one pass."""
    sums = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms}
    file.seek(0)
    while chunk := file.read(_CHUNK):
        for digest in sums.values():
            digest.update(chunk)
    return {algorithm: digest.hexdigest() for algorithm, digest in sums.items()}


def verify(archive: Archive, file: io.BufferedIOBase) -> str | None:
    """Return what is wrong with an archive's content, as a phrase; None if every checksum is the published one."""
    found = _digests(file, list(archive.checksums))
    for algorithm, expected in archive.checksums.items():
        if found[algorithm] != expected:
            return f"has the {algorithm} checksum {found[algorithm]} instead of {expected}"
    return None


def differing(layout: Layout, place: Path) -> str | None:
    """Return the first file of a layout that a folder lacks or that is not official, as a phrase; None if none."""
    for name, checksum in layout.checksums.items():
        check_file(place / name, DataError)
        try:
            with open(place / name, "rb") as file:
                found = _digests(file, [layout.algorithm])[layout.algorithm]
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if found != checksum:
            return f"{name} has another checksum than the official file"
    return None


def unpack(archive: Archive, file: io.BufferedIOBase, folder: Path) -> Path:
    """Unpack a verified archive's files; their folder appears at once and complete, or not at all.

    Args:
        archive: what it is.
        file: its content, verified.
        folder: where to put its folder, under the published name; that name must be free or an empty folder.

    Returns:
        The new folder.

    Raises:
        DataError: an expected file is not in it or is not the official one, or it is no archive.
        OSError: no room, no permission, or the place is taken.
    """
    temporary = folder / f".{archive.layout.folder}.part"
    shutil.rmtree(temporary, ignore_errors=True)  # of an attempt that was killed
    temporary.mkdir()
    try:
        _unpack_into(archive, file, temporary)
        problem = differing(archive.layout, temporary)
        if problem:
            raise DataError(f"in {archive.name}, {problem}")
        os.rename(temporary, folder / archive.layout.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder / archive.layout.folder


def _unpack_into(archive: Archive, file: io.BufferedIOBase, place: Path) -> None:
    layout = archive.layout
    expected = {f"{layout.folder}/{name}": name for name in (*layout.checksums, *layout.names)}
    label = f"unpacking {archive.name}"
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:gz") as tar, Progress(label, len(expected)) as bar:
            for member in tar:
                name = expected.pop(member.name, None)
                content = tar.extractfile(member) if name and member.isreg() else None
                if content is not None:
                    with content, open(place / str(name), "xb") as out:
                        shutil.copyfileobj(content, out, _CHUNK)
                    bar.advance()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{archive.name} cannot be unpacked: {error}") from error
