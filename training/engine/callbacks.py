"""Callbacks: those that are told what a training run does."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from training.certificates.record import Record
from training.engine.config import RunConfig
from training.engine.method import Method
from training.engine.position import Position
from training.runtime.process_group import Ranks

__all__ = ["Callback", "CallbackList", "Follower", "TrainingRun"]


@runtime_checkable
class TrainingRun(Protocol):
    """The parts of a run (`training.engine.loop.Training`) that callbacks read."""

    config: RunConfig
    method: Method
    at: Position
    ranks: Ranks

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where a saved run was."""
        ...


class Callback:
    """A listener that ignores everything; subclasses override what they want to be told."""

    def log(self, **values: object) -> None:
        """Take scalars with their step: after each epoch, and of each removal, gates by their place at first."""

    def record(self, record: Record) -> None:
        """Take a record of the tracker, in the columns of all gates there were at first."""

    def save(self, training: TrainingRun, last: bool) -> None:
        """Take the run's state if it is wanted; called between steps, and at the end with `last`."""


class CallbackList(Callback):
    """Several callbacks, told in their order."""

    def __init__(self, *each: Callback) -> None:
        self.each = each

    def log(self, **values: object) -> None:
        """See `Callback.log`."""
        for callback in self.each:
            callback.log(**values)

    def record(self, record: Record) -> None:
        """See `Callback.record`."""
        for callback in self.each:
            callback.record(record)

    def save(self, training: TrainingRun, last: bool) -> None:
        """See `Callback.save`."""
        for callback in self.each:
            callback.save(training, last)


class Follower(Callback):
    """The part of a run's journal that the other ranks have: it starts where the first rank's journal starts.

    Args:
        training: new; goes to where the first rank's last checkpoint is, if there is one.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: if the checkpoint is of another kind of run.
    """

    def __init__(self, training: TrainingRun) -> None:
        state = training.ranks.broadcast(None)
        if state is not None:
            training.load_state_dict(state)
