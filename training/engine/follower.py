"""The part of a run's journal that the other ranks have: where the run is."""

from __future__ import annotations

from training.engine.loop import Hooks, Training

__all__ = ["Follower"]


class Follower(Hooks):
    """Follows the first rank's journal (`training.engine.journal`) in a process that writes nothing.

    Args:
        training: new; goes to where the first rank's last checkpoint is, if there is one.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: if the checkpoint is of another kind of run.
    """

    def __init__(self, training: Training) -> None:
        state = training.ranks.broadcast(None)
        if state is not None:
            training.load_state_dict(state)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        pass
