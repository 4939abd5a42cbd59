"""Files are written under another name and then renamed, so that each is complete or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.errors import InputError

__all__ = ["read_json", "write_atomically", "write_json"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary name, then rename: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(data)
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically; indented unless it is long."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) < 20_000:
        text = json.dumps(value, ensure_ascii=False, indent=1)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Return what a file holds as JSON; None if there is no file.

    Raises:
        InputError: if it is not JSON.
    """
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
