"""Progress of long work is shown as a bar with rate and time left in a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.segment import Segment

__all__ = ["Progress"]

REFRESH = 1.0  # seconds between two drawings in a terminal; one takes about a millisecond


class _Bar(RichProgress):
    """A bar with something else above it."""

    above: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.above is not None:
            yield self.above
        yield from map(_Narrower, super().get_renderables())


@dataclass(frozen=True)
class _Narrower:
    """Console narrower by the ^C that a terminal writes at the cursor: in a line of its own it would not be erased."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        yield from console.render(self.content, options.update_width(max(1, options.max_width - 3)))


class Progress:
    """Counter of steps that shows how far the work is.

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
        self._bar: _Bar | None = None
        # rich takes a file for a terminal where FORCE_COLOR is set, and draws nothing in one that cannot move back.
        if self._console.is_interactive and sys.stderr.isatty() and not quiet:
            self._bar = _Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=1 / REFRESH,
            )
            self._task = self._bar.add_task(label, total=total, rate="")

    def __enter__(self) -> Progress:
        if self._bar is not None:
            try:
                self._bar.start()
            except BaseException:  # an interruption, after the cursor was hidden
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Leave the terminal as it was found, even if the last look at the bar is interrupted."""
        if self._bar is not None:
            try:
                self._bar.update(self._task, completed=self.done)
                self._bar.stop()
            finally:
                self._console.show_cursor(True)

    def show(self, view: RenderableType) -> None:
        """Show something above the bar, asked anew at each look at it; nothing where there is no terminal."""
        if self._bar is not None:
            self._bar.above = view

    def begin_at(self, done: int) -> None:
        """Start the count at what an earlier process has done; the rate is of what this one does."""
        self.done = self._begun = done
        if self._bar is not None:
            self._bar.reset(self._task, completed=done, rate="")  # without it the time left is reckoned from zero

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more."""
        self.done += steps
        now = time.monotonic()
        if now - self._last < (self.interval if self._bar is None else REFRESH):
            return
        rate = (self.done - self._begun) / max(now - self._start, 1e-9)
        self._last = now
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=f"{rate:.1f}/s")
        else:
            left = (self.total - self.done) / rate
            self._print(f"{self.label}: {self.done}/{self.total}  {rate:.1f}/s  {left:.0f} s left")

    def times(self) -> str:
        """Return how long this process has worked, and how long it will at the same rate."""
        spent, done = time.monotonic() - self._start, self.done - self._begun
        left = spent * (self.total - self.done) / done if done else None
        return f"{_clock(spent)} so far" + (f", {_clock(left)} left" if left is not None else "")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._print(f"{self.label}: {text}")

    def _print(self, text: str) -> None:
        (self._bar.console if self._bar is not None else self._console).print(text, highlight=False)


def _clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds.

    Example:
        >>> _clock(3725.4)
        '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))
