"""Add to an interruption a note that says how the work can be continued."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["goes_on"]


@contextlib.contextmanager
def goes_on(how: str) -> Iterator[None]:
    """Add a note to an interruption, or to what the system refused, of the block.

    Args:
        how: what goes on with the work; where blocks lie in each other the outermost has the last word.

    Example:
        >>> try:
        ...     with goes_on("the same command goes on"):
        ...         raise KeyboardInterrupt
        ... except KeyboardInterrupt as stopped:
        ...     stopped.__notes__
        ['the same command goes on']
    """
    try:
        yield
    except (KeyboardInterrupt, OSError, MemoryError) as stopped:
        stopped.add_note(how)
        raise
