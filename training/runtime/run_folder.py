"""A run's folder holds its configuration, environment, scalars, histories, checkpoints and results.

config.json       the settings
environment.json  versions, machine, git commit, command
scalars.jsonl     one JSON object a line, appended as training goes
gates.zarr        gate histories
checkpoints/      the last states of the run, from which it can be resumed
gate_paths.json   gate paths, small enough to keep beside the table
table.json        the results
report.md         the same as text
gate_paths.*      the figure of the gates' paths
evidence.*        of a shadow run: its certificates judged
method.json       of a run of a comparison: its method
result.json       of a run of a comparison: its results
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from training.errors import InputError
from training.runtime.atomic_files import read_json, write_atomically, write_json
from training.runtime.checkpoints import Checkpoints
from training.runtime.readable import check_file

__all__ = ["RunFolder", "begun", "settings_in"]

_LOCK = ".lock"
_FOLDERS = ("checkpoints", "gates.zarr")
_FILES = (
    *(_LOCK, "config.json", "environment.json", "scalars.jsonl", "gate_paths.json", "table.json", "report.md"),
    *("gate_paths.pdf", "gate_paths.png", "evidence.json", "evidence.md", "method.json", "result.json"),
)


class RunFolder:
    """The folder of a new run, or of an interrupted one; for one process at a time.

    Args:
        path: new: must not exist, or be an empty folder. Existing: holds the settings of a run.
        existing: which of the two is meant.

    Raises:
        InputError: if the folder exists where it must not, holds no run where it should, is in use by another
            process, cannot be created or written to, or holds a link out of it or a file in place of a folder.
    """

    def __init__(self, path: Path, *, existing: bool = False) -> None:
        if existing:
            settings_in(path)
            _check_inside(path)
        elif path.exists() and (not path.is_dir() or begun(path)):
            ways = "choose another --out, or remove it"
            if (path / "config.json").is_file():
                ways = f"choose another --out, remove it, or resume it with python -m training resume '{path}'"
            raise InputError(f"run folder {path} exists already: {ways}")
        self._new = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"run folder {path} cannot be created ({error.strerror}): choose another --out") from error
        if not os.access(path, os.W_OK):
            raise InputError(f"run folder {path} cannot be written to: choose another --out")
        self.path = path
        self._lock = _locked(path / _LOCK)

    def json(self, name: str, value: Any) -> None:
        """Write `name` as JSON."""
        write_json(self.path / name, value)

    def read(self, name: str) -> Any:
        """Return what `name` holds as JSON; see `read_json`."""
        return read_json(self.path / name)

    def scalars(self, **values: object) -> None:
        """Append one line to scalars.jsonl."""
        with (self.path / "scalars.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def cut_scalars(self, network: str, step: int, epoch: int) -> None:
        """Remove a network's lines of later than `step` or `epoch`, and a line that a kill left unfinished.

        Args:
            network: "gated" or "ungated".
            step: steps done.
            epoch: epochs done; the last step of an epoch is before its end, and the epoch's line is written after it.
        """
        path = self.path / "scalars.jsonl"
        if not path.exists():
            return
        whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        kept = []
        for number, line in enumerate(whole, 1):
            try:
                values = json.loads(line)
                earlier = values["step"] <= step and values.get("epoch", 0) <= epoch
                if values["network"] != network or earlier:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path} is damaged in line {number}: remove the line") from None
        write_atomically(path, "".join(kept).encode())

    def checkpoints(self, network: str, warn: Callable[[str], None] = print) -> Checkpoints:
        """Return the checkpoints of a network, "gated" or "ungated"; `warn` is told of damaged ones."""
        return Checkpoints(self.path / "checkpoints", network, warn)

    def discard(self, name: str) -> None:
        """Remove a file or folder of the run, if it is there."""
        path = self.path / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove all that is in the folder, and the folder too if it was made for this run; it is closed then."""
        for entry in list(self.path.iterdir()):
            self.discard(entry.name)
        if self._new:
            self.path.rmdir()
        self.close()

    def close(self) -> None:
        """Release the folder for other processes."""
        self._lock.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def settings_in(path: Path) -> Any:
    """Return the settings of the run in this folder, as JSON holds them.

    Raises:
        InputError: for a folder without a run.
    """
    found = read_json(path / "config.json")
    if found is None:
        raise InputError(f"run folder {path} holds no config.json: there is no run to resume")
    return found


def _check_inside(path: Path) -> None:
    """Refuse a run folder in which work would reach out of it, or could not be done.

    A folder that was received from somebody may hold a link to any place, and what goes on with the run would write,
    cut and delete there.
    """
    root = path.resolve()
    for folder, folders, files in os.walk(path):
        for entry in (Path(folder, name) for name in (*folders, *files)):
            if entry.is_symlink() and not entry.resolve().is_relative_to(root):
                raise InputError(f"{entry} is a link out of the run folder, to {os.readlink(entry)}: remove it")
    for name in _FOLDERS:
        if (path / name).exists() and not (path / name).is_dir():
            raise InputError(f"{path / name} must be a folder; it is a file: remove it")
    for name in _FILES:
        check_file(path / name)


def begun(path: Path) -> bool:
    """Return whether a folder holds anything but what a process that was killed at its start leaves."""
    return any(entry.name != _LOCK and entry.suffix != ".partial" for entry in path.iterdir())


def _locked(path: Path) -> IO[bytes]:
    """Return an open file, locked until it is closed or the process ends, however it ends."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise InputError(f"run folder {path.parent} is in use by another process") from None
    return file
