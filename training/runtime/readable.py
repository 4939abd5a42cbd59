"""Refuse a path that exists but cannot be read as a file or folder, without waiting for one that never ends."""

from __future__ import annotations

import os
from pathlib import Path

from training.errors import InputError

__all__ = ["check_file", "check_folder"]


def check_file(path: Path, error: type[InputError] = InputError) -> None:
    """Refuse what is there and no file: to read from a pipe is to wait for somebody who writes.

    Args:
        path: of a file, or of nothing.
        error: the kind to raise.

    Raises:
        InputError: naming the path.
    """
    if path.exists() and not path.is_file():
        raise error(f"{path} must be a file; it is something else: remove it")


def check_folder(path: Path, error: type[InputError] = InputError) -> None:
    """Refuse a folder that is there, and whose files this user may not list or open.

    Args:
        path: of a folder, or of anything else, which is let pass.
        error: the kind to raise.

    Raises:
        InputError: naming the path.
    """
    try:
        refused = path.is_dir() and not os.access(path, os.R_OK | os.X_OK)
    except PermissionError:  # of a folder above it
        refused = True
    if refused:
        raise error(f"{path} cannot be read (permission denied)")
