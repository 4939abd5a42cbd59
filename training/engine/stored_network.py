"""The gated network of a run, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from dynamics.models.complexity import Structure
from training.data.data_sets import load
from training.data.source import Source
from training.engine.build import network_of
from training.engine.config import from_json
from training.engine.pruning_method import restored_gates
from training.errors import InputError, first_line
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.runtime.atomic_files import read_json
from training.runtime.checkpoints import Checkpoints

__all__ = ["Restored", "restored"]


@dataclass(frozen=True)
class Restored:
    """What a run folder holds.

    Attributes:
        name: of the network.
        network: as the last checkpoint left it, shrunken where gates were removed; on the CPU.
        gates: its own.
        source: the data that it was trained on, on the CPU.
        full: structure of the network before anything was removed.
        about: the run's command, settings, and how far it is.
    """

    name: str
    network: nn.Module
    gates: Gates
    source: Source
    full: Structure
    about: dict[str, Any]


def restored(run: Path, data_folder: Path | None = None) -> Restored:
    """Return the gated network of a run, from its last intact checkpoint; the run may still be going on.

    Args:
        run: its folder.
        data_folder: where the data are, by default where they were for the run.

    Raises:
        InputError: for a folder without a run or without a gated network's checkpoint, a checkpoint of another
            network, or missing data.
    """
    settings = read_json(run / "config.json")
    if settings is None:
        raise InputError(f"run folder {run} holds no config.json: no run to read")
    config = replace(from_json(settings), device="cpu")
    found = Checkpoints(run / "checkpoints", "gated").last()
    if found is None:
        raise InputError(f"run folder {run} holds no intact checkpoint of a gated network")
    step, state = found
    source = load(config.data, data_folder if data_folder is not None else config.data_folder)
    network = network_of(config, source)
    gates = Gates(network)  # type: ignore[arg-type]
    full = structure_of(network, source.shape)
    try:
        restored_gates(network, None, gates, state["gates"])
        network.load_state_dict(state["network"])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise InputError(f"the checkpoint in {run} is not of the network in its config.json: {reason}") from error
    about = {
        "command": (read_json(run / "environment.json") or {}).get("command"),
        "step": step,
        "steps": config.epochs * (len(source.train_labels) // config.batch),
        "settings": settings,
    }
    return Restored(config.network, network, gates, source, full, about)
