"""One run of a comparison, in a folder of its own: OUT/METHOD/seedN/.

Beside what every run folder holds (`training.runtime.run_folder`):

method.json       which method, with which settings
result.json       what came out

A method that prunes a trained network takes over the end of the run without pruning of the same seed, which is, step
for step, what its own first phase would be. The cost of that phase is in its result all the same, and told apart.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from training.data.data_sets import load
from training.data.source import Source
from training.engine.build import network_of
from training.engine.config import RunConfig, from_json, run_identity, to_json
from training.engine.in_folder import train_in_folder
from training.engine.loop import Training
from training.engine.method import NoPruning
from training.engine.position import Trained
from training.errors import InputError
from training.methods.after_training import AfterTraining
from training.methods.base import MethodSettings
from training.runtime.atomic_files import read_json
from training.runtime.checkpoints import Checkpoints
from training.runtime.environment import environment
from training.runtime.run_folder import RunFolder

__all__ = ["Run", "check_folder", "make"]


@dataclass(frozen=True)
class Run:
    """What is to be run.

    Attributes:
        label: of the method in the table.
        settings: of the method.
        config: of this run, as the method wants it.
        folder: where it lies.
        first: folder of the run whose end it takes over, if it does.
        command: that asked for it, which is not that of a cluster's worker; by default this process's own.
    """

    label: str
    settings: MethodSettings
    config: RunConfig
    folder: Path
    first: Path | None = None
    command: str = field(default_factory=lambda: str(environment()["command"]))

    @property
    def name(self) -> str:
        """Short and unique in the comparison."""
        return f"{self.label}, seed {self.config.seed}"

    @property
    def method(self) -> dict[str, Any]:
        """The content of method.json."""
        settings = asdict(self.settings)  # type: ignore[call-overload]
        return {"method": self.settings.name, "settings": json.loads(json.dumps(settings))}

    @property
    def ready(self) -> bool:
        """Whether the run whose end it takes over, if it does, is finished."""
        return self.first is None or read_json(self.first / "result.json") is not None

    def result(self) -> dict[str, Any] | None:
        """Return what came out; None while the run is not finished."""
        return read_json(self.folder / "result.json")


def check_folder(run: Run) -> None:
    """Refuse a folder with another run in it.

    Raises:
        InputError: naming the folder and what differs.
    """
    settings, method = (read_json(run.folder / name) for name in ("config.json", "method.json"))
    if settings is None:
        return
    # A run that was killed between the two files has not begun to train.
    held, wanted = (method or run.method) | run_identity(from_json(settings)), run.method | run_identity(run.config)
    for name in wanted:
        if held.get(name) != wanted[name]:
            raise InputError(
                f"run folder {run.folder} holds a run with {name} = {held.get(name)}, not {wanted[name]}: "
                "choose another --out"
            )


def make(run: Run, quiet: bool = False) -> None:
    """Make the run, go on with it from its last checkpoint, or leave it as it is where it is finished.

    Args:
        run: which.
        quiet: show no progress.

    Raises:
        InputError: if it diverges, its folder is in use or holds another run, or the data are not those it began with.
    """
    if run.result() is not None:
        return
    check_folder(run)
    if run.config.threads:
        torch.set_num_threads(run.config.threads)
    source = load(run.config.data, run.config.data_folder, device=run.config.device)
    with RunFolder(run.folder, existing=(run.folder / "config.json").exists()) as folder:
        _describe(folder, run, source)
        folder.json("result.json", _trained(run, source, folder, quiet))


def _describe(folder: RunFolder, run: Run, source: Source) -> None:
    here = environment() | {"command": run.command}
    first = folder.read("environment.json")
    if first is not None and first["data"] != source.provenance:
        raise InputError(f"data must be those that the run began with, {first['data']}; got {source.provenance}")
    folder.json("config.json", to_json(run.config))
    folder.json("method.json", run.method)
    if first is None:
        folder.json("environment.json", here | {"data": source.provenance})
    else:
        folder.json("environment.json", first | {"resumed": [*first.get("resumed", []), here]})


def _trained(run: Run, source: Source, folder: RunFolder, quiet: bool) -> dict[str, Any]:
    training = Training(run.config, network_of(run.config, source), source, run.settings.build)
    network = "ungated" if isinstance(training.method, NoPruning) else "gated"
    first = partial(_end_of, run.first) if run.first is not None else None
    trained = train_in_folder(training, folder, network, label=run.name, quiet=quiet, first=first)
    return _result(run, training, trained, source)


def _end_of(folder: Path) -> dict[str, Any]:
    """The last state of a finished run."""
    found = Checkpoints(folder / "checkpoints", "ungated").last()
    if read_json(folder / "result.json") is None or found is None:
        raise InputError(f"run folder {folder} must hold a finished run with its last checkpoint: remove the folder")
    return found[1]


def _result(run: Run, training: Training, trained: Trained, source: Source) -> dict[str, Any]:
    full = training.method.full
    counts = training.method.counts() or {"macs": float(full.full_macs), "parameters": float(full.full_parameters)}
    before = read_json(run.first / "result.json") if run.first is not None else None
    retrain = run.settings.retrain if isinstance(run.settings, AfterTraining) else 0
    return {
        "label": run.label,
        **run.method,
        "seed": run.config.seed,
        "network": run.config.network,
        "width": run.config.width,
        "data": source.provenance,
        "pretrained": isinstance(run.settings, AfterTraining),
        "epochs": run.config.epochs,
        "retrain": retrain,
        **asdict(trained),
        **counts,
        # What of the cost was spent in the run without pruning, whose end was taken over.
        "taken_over": {key: before[key] for key in ("flops", "seconds")} if before is not None else None,
        "threads": torch.get_num_threads(),
        "command": run.command,
    }
