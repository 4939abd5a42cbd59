"""Reading result files, and saying which are not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["NotThereError", "read"]


class NotThereError(Exception):
    """Results that a figure needs are not there (yet).

    Args:
        what: the missing file, or what is missing in words.
    """

    def __init__(self, what: Path | str) -> None:
        super().__init__(str(what))
        self.what = what

    def told(self, name: str, command: str) -> str:
        """Return one line: the figure, what it lacks, and the command that makes it."""
        what = str(self.what).replace(f"{Path.cwd()}/", "")
        return f"{name}: {what} is not there; made by: {command}"


def read(path: Path) -> Any:
    """Return a JSON result.

    Raises:
        NotThereError: if there is no such file.
        json.JSONDecodeError: if it is not JSON.
    """
    if not path.is_file():
        raise NotThereError(path)
    return json.loads(path.read_text(encoding="utf-8"))
