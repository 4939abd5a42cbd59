"""Files are written under another name and then renamed, so that each is complete or absent."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import InputError
from training.runtime.readable import check_file

__all__ = ["check_replaceable", "read_json", "write_atomically", "write_json"]


def write_atomically(path: Path, data: bytes, *, temporary: Path | None = None, sync: bool = False) -> None:
    """Write to a temporary name, then rename: a reader sees the old file or the new one, never a part.

    Args:
        path: of the file.
        data: all of it.
        temporary: the name until then; by default that of the file with ".partial" behind it. Gone after an error.
        sync: return only when the file is on the disk.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    temporary = temporary if temporary is not None else path.with_name(path.name + ".partial")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically; indented unless it is long."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) < 20_000:
        text = json.dumps(value, ensure_ascii=False, indent=1)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Return what a file holds as JSON; None if there is no file.

    Raises:
        InputError: if it is not JSON, or no file.
    """
    if not path.exists():
        return None
    check_file(path)
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def check_replaceable(out: Path, names: Sequence[str]) -> None:
    """Refuse to write a result and its tables, NAME.json and NAME.md, over files that hold something else.

    Args:
        out: the JSON file, or where it shall be.
        names: that a result of the same kind has at its top.

    Raises:
        InputError: naming the file that is in the way.
    """
    text = out.with_suffix(".md")
    if not out.exists() and text.exists():
        raise InputError(
            f"out must be new, or an earlier result; {text} is there, and not of one: choose another --out"
        )
    if out.exists():
        held = read_json(out)
        if not isinstance(held, dict) or not set(names) <= held.keys():
            raise InputError(f"out must be new, or an earlier result; {out} holds something else: choose another --out")
