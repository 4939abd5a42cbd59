"""Several that listen to one training run."""

from __future__ import annotations

from training.certificates.record import Record
from training.engine.loop import Hooks, Training

__all__ = ["Listeners"]


class Listeners(Hooks):
    """Tells each of several hooks what a run tells it, in their order."""

    def __init__(self, *each: Hooks) -> None:
        self.each = each

    def log(self, **values: object) -> None:
        """See `Hooks.log`."""
        for hooks in self.each:
            hooks.log(**values)

    def record(self, record: Record) -> None:
        """See `Hooks.record`."""
        for hooks in self.each:
            hooks.record(record)

    def save(self, training: Training, last: bool) -> None:
        """See `Hooks.save`."""
        for hooks in self.each:
            hooks.save(training, last)
