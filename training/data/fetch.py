"""A published data set is downloaded once, verified, and put as a whole where `load` looks for it.

The archive is received into a hidden file, `.NAME.part`, so that a transfer that was killed is continued by the
next call; its checksums are compared before it is opened; its files are unpacked into a hidden folder, which takes
the published name when it is complete.
"""

from __future__ import annotations

import fcntl
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.data.archives import Archive, differing, unpack, verify
from training.data.download import DownloadError, download
from training.errors import DataError, InputError
from training.runtime.progress import Progress
from training.runtime.readable import check_file

__all__ = ["fetch"]

_MIB = 1 << 20


def fetch(archive: Archive, folder: Path, url: str | None = None) -> str:
    """Make sure that a data set's official files are in a folder.

    An archive that was placed there by hand, under its published name, is used instead of a download, and kept.

    Args:
        archive: which.
        folder: where data sets are kept; made if it is not there.
        url: a mirror to take it from; the checksums stay those published.

    Returns:
        One line: what is where, and how that is known.

    Raises:
        DataError: no connection, a wrong checksum, or files that are not the official ones where they would go; the
            message says what to do.
        InputError: a URL that is neither http nor https.
    """
    url = url or archive.url
    if not url.startswith(("https://", "http://")):
        raise InputError(f"url must begin with https:// or http://; got {url}")
    try:
        return _already(archive, folder) or _fetch(archive, folder, url)
    except OSError as error:
        raise DataError(f"cannot write {error.filename or folder} ({error.strerror})") from error


def _already(archive: Archive, folder: Path) -> str | None:
    """Return the message that the official files are there, in any layout; None if no file of the data set is."""
    for layout in archive.cifar.layouts:
        place = folder / layout.folder
        if not any((place / name).exists() for name in layout.checksums):
            continue
        problem = differing(layout, place)
        if problem:
            raise DataError(f"{place} is there, but {problem}; move that folder away and run this again")
        return f"{place}: already there, {len(layout.checksums)} files with official checksums"
    return None


def _fetch(archive: Archive, folder: Path, url: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    given = folder / archive.name
    for name in (given, folder / f".{archive.name}.part"):
        check_file(name, DataError)
    if given.exists():
        with open(given, "rb") as file:
            problem = verify(archive, file)
            if problem:
                raise DataError(f"{given} {problem}; remove it and run this again")
            return _done(archive, unpack(archive, file, folder))
    part = folder / f".{archive.name}.part"
    with _alone(part) as file:
        done = _already(archive, folder)  # another process may have ended between our look and our lock
        if done is None:
            _complete(archive, file, folder, url)
            problem = verify(archive, file)
            if problem is None:
                done = _done(archive, unpack(archive, file, folder))
        part.unlink()
    if done is None:
        raise DataError(f"what came from {url} {problem}, and was removed; {_by_hand(archive, folder)}")
    return done


@contextmanager
def _alone(part: Path) -> Iterator[io.BufferedIOBase]:
    """Yield the file for reading and appending, locked against other processes that download the same."""
    with open(part, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{part} is being written by another process; wait until that has ended") from None
        try:
            yield file
        finally:
            if file.seek(0, 2) == 0:
                part.unlink(missing_ok=True)


def _complete(archive: Archive, file: io.BufferedIOBase, folder: Path, url: str) -> None:
    """Receive what is missing of the archive."""
    have = file.seek(0, 2)
    received = 0
    with Progress(f"{archive.name} (MiB)", -(-(archive.size - have) // _MIB)) as bar:

        def count(new: int) -> None:
            nonlocal received
            received += new
            if steps := received // _MIB - bar.done:
                bar.advance(steps)

        try:
            download(url, file, archive.size, count)
        except DownloadError as error:
            kept = file.seek(0, 2)
            note = f"; the {kept // _MIB} MiB received are kept and continued next time" if kept >= _MIB else ""
            raise DataError(f"cannot download {url} ({error}{note}); {_by_hand(archive, folder)}") from error


def _by_hand(archive: Archive, folder: Path) -> str:
    first = folder / archive.layout.folder / next(iter(archive.layout.checksums))
    place = f"place {archive.name} (md5 {archive.checksums['md5']}) in {folder}/ and run this again"
    return f"{place}, or unpack it so that {first} is there"


def _done(archive: Archive, place: Path) -> str:
    return f"{place}: {len(archive.layout.checksums)} files, official checksums verified"
