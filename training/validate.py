"""The shadow run: train with gates, let every rule flag without removing anything, then audit the flags."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.audit import audit
from training.config import Validate
from training.data import Source, load
from training.errors import InputError
from training.gates import Gates
from training.history import History, open_history
from training.loop import Gating, Trained, train
from training.networks import ResNet
from training.optimizer import weight_optimizer
from training.paths import gate_paths
from training.progress import Progress
from training.report import print_result, report
from training.rundir import RunFolder, environment, write_atomically
from training.structure import structure_of

__all__ = ["validate"]


def validate(config: Validate) -> Path:
    """Run the validation and return its run folder.

    Everything that can be wrong with the input is looked at before anything is written.

    Raises:
        InputError: for bad settings, missing or broken data, or an existing run folder.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    _check_device(config.device)
    dataset = load(config.data, config.data_folder, device=config.device)
    network = _network(config, dataset)
    weight_optimizer(config.optimizer, network, lr=config.lr, momentum=config.momentum, decay=config.decay)
    _check_length(config, dataset)
    folder = RunFolder(config.out or _default_folder(config))
    folder.json("config.json", _plain(config))
    folder.json("environment.json", environment())
    result = _shadow_run(config, network, dataset, folder)
    _write(folder, result)  # already now: an interruption of the ungated run loses nothing of this one
    if config.ungated:
        result["ungated"] = asdict(_ungated_run(config, dataset, folder))
        _write(folder, result)
    print_result(result)  # before the figure: should it fail, the table has been seen
    _draw(folder.path)
    return folder.path


def _write(folder: RunFolder, result: dict[str, Any]) -> None:
    folder.json("table.json", result)
    write_atomically(folder.path / "report.md", report(result).encode())


def _check_device(name: str) -> None:
    """Refuse a device on which nothing can be computed here."""
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError):  # the second is how a build without CUDA answers
        raise InputError(f"device {name!r} is not usable here: use cpu, or cuda where torch has it") from None


def _check_length(config: Validate, dataset: Source) -> None:
    """Refuse a batch larger than the training set, and a run too short for its warm-up."""
    images = len(dataset.train_labels)
    if config.batch > images:
        raise InputError(f"batch must be ≤ {images}, the number of training images; got {config.batch}")
    steps = config.epochs * (images // config.batch)
    every = config.tracker.every
    # The audit needs a record, and records come only at multiples of `every`.
    least = every * max(1, -(-config.tracker.warmup // every))
    if steps < least:
        raise InputError(
            f"epochs = {config.epochs} makes {steps} steps; the first record after the warm-up is at {least}:"
            " raise epochs, or lower tracker.warmup or tracker.every"
        )
    if steps <= config.hold:
        raise InputError(f"epochs = {config.epochs} makes {steps} steps, all within hold = {config.hold}: lower hold")


def _network(config: Validate, dataset: Source) -> ResNet:
    """The network with the seed's initial weights; gated and ungated runs start from the same ones."""
    torch.manual_seed(config.seed)
    network = ResNet(config.depth, config.width, channels=dataset.shape[0], classes=dataset.classes)
    return network.to(config.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _shadow_run(config: Validate, network: ResNet, dataset: Source, folder: RunFolder) -> dict[str, Any]:
    gates = Gates(network, config.theta_start).to(config.device)
    structure = structure_of(network, dataset.shape)
    is_layer = gates.is_layer.cpu().numpy()
    store = folder.path / "gates.zarr"
    with History(store, structure.names, is_layer, gates.holder.cpu().numpy()) as history:

        def on_epoch(epoch: int) -> None:
            history.flush()
            folder.checkpoint({"epoch": epoch, "network": network.state_dict(), "gates": gates.state_dict()})

        with _progress(config, dataset, "gated") as progress:
            trained = train(
                config,
                network,
                dataset,
                progress,
                lambda **values: folder.scalars(network="gated", **values, **_counts(gates, structure)),
                Gating(gates, structure, history.append),
                on_epoch,
            )
    done = open_history(store).load()
    folder.json("gate_paths.json", gate_paths(done, config.tracker.warmup))
    tables = audit(done, config.tracker.warmup)
    return {
        "preset": config.preset,
        "data": dataset.provenance,
        "seed": config.seed,
        "epochs": config.epochs,
        "steps": trained.steps,
        "warmup": config.tracker.warmup,
        "settings": _plain(config),
        **{kind: [asdict(row) for row in rows] for kind, rows in tables.items()},
        "gated": asdict(trained) | _counts(gates, structure),
        "command": environment()["command"],
    }


def _ungated_run(config: Validate, dataset: Source, folder: RunFolder) -> Trained:
    network = _network(config, dataset)
    with _progress(config, dataset, "ungated") as progress:
        return train(config, network, dataset, progress, lambda **values: folder.scalars(network="ungated", **values))


def _progress(config: Validate, dataset: Source, label: str) -> Progress:
    return Progress(label, config.epochs * (len(dataset.train_labels) // config.batch))


def _counts(gates: Gates, structure: Any) -> dict[str, float | int]:
    """How much of the network is on: MACs and parameters of the deterministic network, against the full one."""
    decided = gates.decided().double().cpu().numpy()
    full = np.ones_like(decided)
    layer = structure.is_layer
    return {
        "units_on": int(decided[~layer].sum()),
        "layers_on": int(decided[layer].sum()),
        "macs": float(structure.macs(decided)),
        "macs_full": float(structure.macs(full)),
        "parameters": float(structure.parameters(decided)),
        "parameters_full": float(structure.parameters(full)),
    }


def _default_folder(config: Validate) -> Path:
    return Path("runs") / f"{config.preset}-seed{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"


def _plain(config: Validate) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(config), default=str))


def _draw(folder: Path) -> None:
    """Ask `figures` for the run's picture: through its command, since training imports nothing of figures."""
    subprocess.run([sys.executable, "-m", "figures", "gate_paths", "--run", str(folder)], check=True)
