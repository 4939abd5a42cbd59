"""A validation run: a gated network, in shadow or prune mode, and the plain one beside it; then the verdict.

In shadow mode nothing is removed: every rule flags, and the flags are judged by what became of the gates. In prune mode
one rule's flags are followed. Of several processes that train together (`training.runtime.process_group`) the first
alone writes and prints. The picture of a run and what is judged of its certificates come after it
(`training.commands.validate`).
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from training.data.data_sets import load
from training.data.source import Source
from training.engine.build import check_length, network_of, too_short_to_die
from training.engine.callbacks import Follower
from training.engine.config import RunConfig, from_json, to_json
from training.engine.gate_learner import GateLearner
from training.engine.in_folder import train_in_folder
from training.engine.loop import Training
from training.engine.method import NoPruning
from training.engine.optimizer import weight_optimizer
from training.engine.position import Trained
from training.errors import InputError
from training.experiments.run_result import MADE_OF_RESULTS, gated_result
from training.gating.gates import Gates
from training.reports.text import report
from training.runtime.atomic_files import write_atomically
from training.runtime.environment import environment
from training.runtime.interruption import goes_on
from training.runtime.process_group import ALONE, Ranks
from training.runtime.progress import Progress
from training.runtime.run_folder import RunFolder, settings_in

__all__ = ["checked", "default_folder", "resume", "validate"]


def validate(config: RunConfig) -> Path | None:
    """Make a run and return its folder; None in processes that train along.

    Everything that can be wrong with the input is looked at before anything is written.

    Args:
        config: settings.

    Raises:
        InputError: for bad settings, missing or broken data, or an existing run folder.
    """
    with Ranks.of_environment(config.device) as ranks:
        dataset = checked(config, ranks)
        if not ranks.first:
            _train_along(config, dataset, ranks)
            return None
        with RunFolder(config.out or default_folder(config)) as folder, goes_on(_by_resume(folder.path)):
            folder.json("config.json", to_json(config))
            folder.json("environment.json", environment() | {"data": dataset.provenance})
            try:
                return _complete(config, dataset, folder, ranks)
            except InputError:
                if not any(folder.checkpoints(name).paths() for name in ("gated", "ungated")):
                    folder.forget()  # it diverged in its first minute: going on is to diverge again
                raise


def resume(path: Path) -> Path | None:
    """Go on with an interrupted run, from its last checkpoint, and return its folder.

    On the CPU, with the same machine, versions and threads, it ends bit for bit as it would have without the
    interruption. A finished run is left as it is. The number of processes may be another one.

    Raises:
        InputError: for a folder without a run, with those of many seeds or of another method, a run at which another
            process works, or data that have changed.
    """
    config = from_json(settings_in(path))
    if (path / "method.json").exists():
        raise InputError(f"run folder {path} is part of a comparison: continue it by python -m training compare")
    if config.seeds > 1:
        raise InputError(f"run folder {path} must hold one run; it holds those of {config.seeds} seeds")
    with Ranks.of_environment(config.device) as ranks:
        if not ranks.first:
            _train_along(config, checked(config, ranks), ranks)
            return None
        with RunFolder(path, existing=True) as folder, goes_on(_by_resume(path)):
            dataset = checked(config, ranks)
            here = environment()
            first = folder.read("environment.json") or here
            if first.get("data", dataset.provenance) != dataset.provenance:
                raise InputError(
                    f"data must be those that the run began with, {first['data']}; got {dataset.provenance}"
                )
            if _missing(config, folder.read("table.json") or {}):
                folder.json("environment.json", first | {"resumed": [*first.get("resumed", []), here]})
            return _complete(config, dataset, folder, ranks)


def checked(config: RunConfig, ranks: Ranks = ALONE) -> Source:
    """Look at all settings, and return the data set.

    Raises:
        InputError: for the first that is wrong.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    ranks.check_batch(config.batch)
    dataset = load(config.data, config.data_folder, device=ranks.device)
    ranks.check_equal("settings and data", json.dumps(to_json(config)), dataset.provenance)
    network = network_of(config, dataset)
    weight_optimizer(config.optimizer, network, lr=config.lr, momentum=config.momentum, decay=config.decay)
    Gates(network)  # type: ignore[arg-type]
    check_length(config, dataset)
    return dataset


def _by_resume(path: Path) -> str:
    return f"python -m training resume {shlex.quote(str(path))} goes on with it"


def _complete(config: RunConfig, dataset: Source, folder: RunFolder, ranks: Ranks) -> Path:
    """Do what of the run is not done yet."""
    result = folder.read("table.json") or {}
    missing = _missing(config, result)
    ranks.broadcast(missing)
    for name in MADE_OF_RESULTS if missing else ():  # by an earlier training: they say nothing of this one
        folder.discard(name)
    if "gated" in missing:
        result = gated_result(config, *_train(config, dataset, folder, ranks, "gated"), dataset.provenance, folder)
        _write(folder, result)  # already now: an interruption of the ungated run loses nothing of this one
    if "ungated" in missing:
        result["ungated"] = asdict(_train(config, dataset, folder, ranks, "ungated")[1])
        _write(folder, result)
    return folder.path


def _missing(config: RunConfig, result: dict[str, Any]) -> list[str]:
    """The networks that are still to be trained."""
    return [name for name in ("gated", "ungated")[: 1 + config.ungated] if name not in result]


def _write(folder: RunFolder, result: dict[str, Any]) -> None:
    folder.json("table.json", result)
    write_atomically(folder.path / "report.md", report(result).encode())


def _train(config: RunConfig, dataset: Source, folder: RunFolder, ranks: Ranks, name: str) -> tuple[Training, Trained]:
    """Train the gated or the ungated network, from its last checkpoint if there is one."""
    training = _training(config, dataset, ranks, name)
    if isinstance(training.method, GateLearner) and len(training.method.gates.theta):
        short = too_short_to_die(config, float(training.method.costs().max()), training.steps)
        if short is not None:
            print(short, file=sys.stderr)
    return training, train_in_folder(training, folder, name, label=name)


def _train_along(config: RunConfig, dataset: Source, ranks: Ranks) -> None:
    """Train as `_complete` does, in the other processes."""
    for name in ranks.broadcast(None):
        training = _training(config, dataset, ranks, name)
        with Progress(name, training.steps, quiet=True) as progress:
            training.run(progress, Follower(training))


def _training(config: RunConfig, dataset: Source, ranks: Ranks, name: str) -> Training:
    here = replace(config, device=str(ranks.device))
    make_method = GateLearner if name == "gated" else NoPruning
    return Training(here, network_of(here, dataset), dataset, make_method, ranks=ranks)


def default_folder(config: RunConfig) -> Path:
    """Return runs/PRESET-seedSEED-TIME, or runs/PRESET-seedsFIRST-LAST-TIME."""
    seeds = f"seeds{config.seed}-{config.seed + config.seeds - 1}" if config.seeds > 1 else f"seed{config.seed}"
    return Path("runs") / f"{config.preset}-{seeds}-{datetime.now():%Y%m%d-%H%M%S}"
