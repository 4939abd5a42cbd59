"""A test of whether the final size depends on the seed and on the size one starts with, for several methods.

"… consistent pruning levels and prediction accuracy regardless of weight initialization or the size of the starting
network" (arXiv 2205.04650, abstract) is tried: the same network is trained from several seeds and at several starting
widths, by equal prices (`training.methods.parsimonious`), by a fixed ratio of the filters of lowest L1 norm
(`training.methods.while_training`, whose final size is proportional to the starting one by construction), and without
pruning. Every run that is done has a file in the folder and is not made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from training.certificates.fates import settled
from training.data.data_sets import load
from training.engine.callbacks import Callback
from training.engine.config import MOST_AT_ONCE, MOST_SEEDS, RunConfig, preset, to_json
from training.errors import InputError
from training.experiments.robustness_spread import as_markdown, by_method
from training.gating.network_structure import structure_of
from training.methods.base import MethodSettings, training_run
from training.methods.parsimonious import Parsimonious
from training.methods.unpruned import Unpruned
from training.methods.while_training import WhileTraining
from training.runtime.atomic_files import check_replaceable, read_json, write_atomically, write_json
from training.runtime.environment import environment
from training.runtime.process_pool import processes
from training.runtime.progress import Progress

__all__ = ["Robustness", "measure", "one_run"]

#: Name of the method, scale of the starting width, seed.
_Run: TypeAlias = tuple[str, float, int]


@dataclass(frozen=True)
class Robustness:
    """Final size and accuracy over seeds and starting widths."""

    out: Path = Path("runs/robustness-digits.json")
    """Result file, ending in .json; its table is written beside it, ending in .md."""
    runs: Path = Path("runs/robustness-digits")
    """Folder of the runs; what is done there is not made again."""
    preset: str = "digits"
    """Preset of the settings that are not named here."""
    network: str = "lenet-300-100"
    """Network; it needs gated units."""
    width: int = 300
    """Units of its first layer at scale 1, the others in proportion."""
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Starting widths, in multiples of `width`."""
    seeds: int = 5
    """Runs at each width, with seeds `seed`, `seed` + 1, …."""
    seed: int = 0
    """The first."""
    cost: float = 0.005
    """Price of every unit, nats of mean loss."""
    ratio: float = 0.8
    """Share of the units that the fixed ratio removes."""
    epochs: int = 120
    """Passes over the training set."""
    gate_lr: float = 2.0
    """Gates' learning rate."""
    jobs: int = 0
    """Runs at once, a process and a thread each; 0 as many as there are cores."""

    def __post_init__(self) -> None:
        if self.out.suffix != ".json":
            raise InputError(f"out must end in .json; got {self.out}")
        if not self.out.parent.is_dir():
            raise InputError(f"out must lie in a folder that exists; got {self.out}")
        check_replaceable(self.out, ("settings", "spread", "runs"))
        if self.runs.exists() and not self.runs.is_dir():
            raise InputError(f"runs must be a folder, or not there yet; got {self.runs}")
        for name, least, most in (("seeds", 1, MOST_SEEDS), ("jobs", 0, MOST_AT_ONCE)):
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} must be ≥ {least} and ≤ {most}; got {getattr(self, name)}")
        if self.width < 1:
            raise InputError(f"width must be ≥ 1; got {self.width}")
        if not self.scales or len(set(self.scales)) < len(self.scales):
            raise InputError(f"scales must be distinct numbers, at least one; got {self.scales}")
        for scale in self.scales:
            if not 0 < scale < float("inf") or round(scale * self.width) < 1:
                raise InputError(f"scales must be > 0 and finite, and scale × width ≥ 1; got {scale} × {self.width}")
        self.methods()
        self.config(self.scales[0], self.seed)

    def methods(self) -> dict[str, MethodSettings]:
        """Return what is compared, by name."""
        chosen: list[MethodSettings] = [Parsimonious(cost=self.cost), WhileTraining(ratio=self.ratio), Unpruned()]
        return {method.name: method for method in chosen}

    def config(self, scale: float, seed: int) -> RunConfig:
        """Settings of one run, before a method adds to them."""
        return replace(
            preset(self.preset),
            network=self.network,
            width=round(scale * self.width),
            epochs=self.epochs,
            gate_lr=self.gate_lr,
            seed=seed,
            threads=1,
        )


def measure(chosen: Robustness) -> dict[str, Any]:
    """Make the runs that are missing, then write the result and its table.

    Raises:
        InputError: for a network that a method cannot handle, or a folder that holds runs of other settings.
    """
    wanted = [
        (name, scale, chosen.seed + i)
        for i in range(chosen.seeds)
        for scale in chosen.scales
        for name in chosen.methods()
    ]
    _check(chosen)
    missing = [run for run in wanted if read_json(_file(chosen, *run)) is None]
    _make(chosen, missing)
    rows = [read_json(_file(chosen, *run)) for run in wanted]
    result = {
        "settings": _settings(chosen) | {"scales": list(chosen.scales), "seeds": chosen.seeds, "seed": chosen.seed},
        "data": rows[0]["data"],
        "log_gamma": rows[0]["log_gamma"],
        "spread": by_method(rows),
        "runs": rows,
        "made": environment(),
    }
    write_json(chosen.out, result)
    text = as_markdown(result)
    write_atomically(chosen.out.with_suffix(".md"), text.encode())
    print(text.rstrip())
    return result


def one_run(chosen: Robustness, name: str, scale: float, seed: int) -> dict[str, Any]:
    """Make one run and return its final size and accuracy, as JSON holds them.

    Args:
        chosen: settings.
        name: of the method.
        scale: of the starting width.
        seed: of the run.
    """
    torch.set_num_threads(1)
    config = chosen.config(scale, seed)
    source = load(config.data, config.data_folder)
    training = training_run(chosen.methods()[name], config, source)
    full = structure_of(training.network, source.shape)
    with Progress(f"{name} ×{scale:g} seed {seed}", training.steps, quiet=True) as progress:
        trained = training.run(progress, Callback())
    counts: dict[str, Any] = {"macs": full.total_macs, "parameters": full.total_parameters}
    counts |= {"units_on": sum(full.units.values()), "units_left": sum(full.units.values())}
    counts |= training.method.counts()
    gates = training.method.gates
    undecided = int((~settled(gates.theta.detach().numpy())).sum()) if gates is not None else 0
    return {
        "system": name,
        "scale": scale,
        "seed": seed,
        "units_start": sum(full.units.values()),
        "units": counts["units_on"],
        "units_left": counts["units_left"],
        "undecided": undecided,
        "macs": int(counts["macs"]),
        "parameters": int(counts["parameters"]),
        "accuracy": trained.accuracy,
        "training_flops": trained.flops / trained.flops_full,
        "seconds": round(trained.seconds, 1),
        "data": source.provenance,
        "git": environment()["git"],
        "log_gamma": Parsimonious(cost=chosen.cost).log_gamma(len(source.train_labels)),
    }


def _settings(chosen: Robustness) -> dict[str, Any]:
    """All that shapes a run but its method, width and seed."""
    common = to_json(chosen.config(1.0, 0))
    return {"cost": chosen.cost, "ratio": chosen.ratio, "width": chosen.width, "run": common}


def _check(chosen: Robustness) -> None:
    """Look at everything that can be wrong before anything is trained."""
    source = load(chosen.config(1.0, 0).data, chosen.config(1.0, 0).data_folder)
    for scale in chosen.scales:
        for method in chosen.methods().values():
            training_run(method, chosen.config(scale, chosen.seed), source)
    chosen.runs.mkdir(parents=True, exist_ok=True)
    known, own = read_json(chosen.runs / "config.json"), json.loads(json.dumps(_settings(chosen)))
    if known is not None and known != own:
        raise InputError(f"runs {chosen.runs} holds runs of other settings: choose another folder")
    write_json(chosen.runs / "config.json", own)


def _file(chosen: Robustness, name: str, scale: float, seed: int) -> Path:
    return chosen.runs / f"{name}-x{scale:g}-seed{seed}.json"


def _make(chosen: Robustness, missing: list[_Run]) -> None:
    if not missing:
        return
    jobs = chosen.jobs or os.cpu_count() or 1
    with Progress("runs", len(missing)) as progress:
        for run, row in _one_by_one(chosen, missing) if jobs == 1 else _side_by_side(chosen, missing, jobs):
            write_json(_file(chosen, *run), row)
            progress.note(f"{row['system']} ×{row['scale']:g} seed {row['seed']}: {row['units']} units")
            progress.advance()


def _one_by_one(chosen: Robustness, missing: list[_Run]) -> Iterator[tuple[_Run, dict[str, Any]]]:
    for run in missing:
        yield run, one_run(chosen, *run)


def _side_by_side(chosen: Robustness, missing: list[_Run], jobs: int) -> Iterator[tuple[_Run, dict[str, Any]]]:
    with processes(jobs) as pool:
        waiting = {pool.submit(one_run, chosen, *run): run for run in missing}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
