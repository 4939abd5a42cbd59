"""Files that are whole or not there: written under another name, then renamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.errors import InputError

__all__ = ["read_json", "write_atomically", "write_json"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary name, then rename: a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(data)
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """JSON, indented unless it is long, written atomically."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) < 20_000:
        text = json.dumps(value, ensure_ascii=False, indent=1)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """What a file holds as JSON; None if it is not there.

    Raises:
        InputError: if it is no JSON.
    """
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
