"""The journal of a run: it writes as training goes, and finds the place again after an interruption.

Before a checkpoint is written, everything up to its step is on the disk. So after a kill the scalars and histories hold
at least what the checkpoint knows, what is later is cut off, and the run repeats it.
"""

from __future__ import annotations

import time

from training.certificates.history import History
from training.certificates.record import Record
from training.engine.callbacks import Callback, TrainingRun
from training.errors import InputError
from training.runtime.progress import Progress
from training.runtime.run_folder import RunFolder

__all__ = ["Journal"]


class Journal(Callback):
    """Writes one network's scalars, histories and checkpoints. Use as a context manager.

    Of several processes that train together, the first has a journal; the others have a `Follower`.

    Args:
        folder: of the run.
        network: "gated" or "ungated".
        training: new; goes to where the last checkpoint of the folder is, if there is one.
        progress: goes there too.

    Raises:
        InputError: if the checkpoint is of another kind of run.
    """

    def __init__(self, folder: RunFolder, network: str, training: TrainingRun, progress: Progress) -> None:
        self.folder, self.network = folder, network
        self._every, self._saved = training.config.checkpoint_every, time.monotonic()
        self._checkpoints = folder.checkpoints(network, progress.note)
        found = self._checkpoints.last()
        training.ranks.broadcast(found[1] if found is not None else None)
        step = 0
        if found is not None:
            step, state = found
            try:
                training.load_state_dict(state)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise InputError(f"the checkpoints in {folder.path} are of another kind of run: {error}") from error
            progress.begin_at(step)
            progress.note(f"goes on from step {step}")
        folder.cut_scalars(network, step, training.at.epoch)
        self._history = self._open_history(training, step)

    def _open_history(self, training: TrainingRun, step: int) -> History | None:
        method = training.method
        if not method.makes_records or method.gates is None:
            return None
        path = self.folder.path / "gates.zarr"
        if step:
            return History.resumed(path, step)
        self.folder.discard("gates.zarr")  # of a run that was killed before its first checkpoint
        parent = method.gates.parent.cpu().numpy()
        return History(path, method.full.names, method.full.is_branch, parent)

    def log(self, **values: object) -> None:
        """Append a line to the scalars."""
        self.folder.scalars(network=self.network, **values)

    def record(self, record: Record) -> None:
        """Append a record to the histories."""
        if self._history is not None:
            self._history.append(record)

    def save(self, training: TrainingRun, last: bool) -> None:
        """Write a checkpoint if the last one is old enough, and in any case at the end."""
        if not last and time.monotonic() - self._saved < self._every:
            return
        if self._history is not None:
            self._history.flush()
        self._checkpoints.write(training.at.step, training.state_dict())
        self._saved = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._history is not None:
            self._history.flush()
