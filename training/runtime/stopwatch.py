"""Wall and processor time of a stretch of work."""

from __future__ import annotations

import time

__all__ = ["Stopwatch"]


class Stopwatch:
    """Clock of wall and processor time that runs from the moment it is made.

    Wall time is what one waits for; processor time, of all threads of this process, is what the work took, also where
    other work shares the machine. What a GPU computes is not processor time.

    Example:
        >>> watch = Stopwatch()
        >>> wall, processor = watch.lap()
        >>> wall >= 0 and processor >= 0
        True
    """

    def __init__(self) -> None:
        self._began = _now()

    def lap(self) -> tuple[float, float]:
        """Return seconds of wall and of processor time since the last lap, and begin the next."""
        before, self._began = self._began, _now()
        return self._began[0] - before[0], self._began[1] - before[1]


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
