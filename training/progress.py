"""Progress of long work: a bar with rate and time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

__all__ = ["Progress"]


class Progress:
    """Counts steps.

    Args:
        label: what is being done.
        total: steps in all.
        interval: seconds between plain lines where there is no terminal.
        quiet: show nothing.

    Use as a context manager.
    """

    def __init__(self, label: str, total: int, interval: float = 30.0, quiet: bool = False) -> None:
        self.label, self.total, self.interval = label, total, interval
        self.done = self._begun = 0
        self._console = Console(stderr=True, quiet=quiet)
        self._start = self._last = time.monotonic()
        self._bar: RichProgress | None = None
        if self._console.is_terminal and not quiet:
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task(label, total=total, rate="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin_at(self, done: int) -> None:
        """Start the count at what an earlier process has done; the rate is of what this one does."""
        self.done = self._begun = done

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more."""
        self.done += steps
        now = time.monotonic()
        rate = (self.done - self._begun) / max(now - self._start, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=f"{rate:.1f}/s")
        elif now - self._last >= self.interval:
            self._last = now
            left = (self.total - self.done) / rate
            self._print(f"{self.label}: {self.done}/{self.total}  {rate:.1f}/s  {left:.0f} s left")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._print(f"{self.label}: {text}")

    def _print(self, text: str) -> None:
        (self._bar.console if self._bar is not None else self._console).print(text, highlight=False)
