"""A run with all that goes with it in its folder: progress, live view, journal and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.engine.callbacks import CallbackList
from training.engine.journal import Journal
from training.engine.loop import Training
from training.engine.position import Trained
from training.engine.view.live_view import LiveView
from training.runtime.progress import Progress
from training.runtime.run_folder import RunFolder

__all__ = ["train_in_folder"]


def train_in_folder(
    training: Training,
    folder: RunFolder,
    network: str,
    *,
    label: str,
    quiet: bool = False,
    first: Callable[[], dict[str, Any]] | None = None,
) -> Trained:
    """Train to the end, from the last checkpoint in the folder if there is one.

    Args:
        training: new.
        folder: of the run.
        network: "gated" or "ungated"; names its checkpoints and scalars.
        label: of the progress bar.
        quiet: show no progress.
        first: gives the last state of the run whose end is taken over (`Training.take_over`), where there is one.

    Raises:
        InputError: if the loss diverges, or the checkpoints are of another kind of run.
    """
    view = LiveView(training)
    with (
        Progress(label, training.steps, quiet=quiet) as progress,
        Journal(folder, network, training, progress) as journal,
    ):
        if first is not None and training.at.step == 0:
            training.take_over(first(), progress, journal)
        progress.show(view)
        return training.run(progress, CallbackList(journal, view))
