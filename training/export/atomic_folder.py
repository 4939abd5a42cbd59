"""A folder is written under another name and renamed, so that it is complete or absent."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import InputError

__all__ = ["atomic_folder", "check_free"]


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to write into, which becomes `path` at the end; after an error nothing of it is left.

    It is written beside the nearest folder that exists already, under a name that begins with ".partial-": that is
    what a kill leaves.

    Args:
        path: must not exist, or be an empty folder.

    Raises:
        InputError: if something is there already, or it cannot be made.
    """
    check_free(path)
    beside = next(parent for parent in path.absolute().parents if parent.exists())
    partial = beside / f".partial-{uuid.uuid4().hex}"
    try:
        partial.mkdir()
    except OSError as error:
        raise InputError(f"folder {path} cannot be created ({error.strerror}): choose another --out") from error
    try:
        yield partial
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_free(path: Path) -> None:
    """Refuse a path where something is.

    Raises:
        InputError: unless it does not exist, or is an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"folder {path} exists already: choose another --out, or remove it")
