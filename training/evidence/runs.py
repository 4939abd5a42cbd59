"""A finished shadow run as the analyses see it: its history, the constants of its ODE, and the ODE's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from training.certificates.history import sound_history
from training.engine.optimizer import cosine, effective_step, rate_of
from training.errors import InputError
from training.runtime.atomic_files import read_json

__all__ = ["KINDS", "ShadowRun", "ode_time", "of_kind", "open_run", "run_name"]

#: The kinds of gate, as results call them.
KINDS = ("units", "layers")


@dataclass(frozen=True)
class ShadowRun:
    """A finished run in which nothing was removed.

    Attributes:
        name: what reports call it.
        history: from `training.certificates.history.open_history`.
        time: the ODE's time at each record, [step].
        steps: optimizer steps of the whole run.
        warmup: no rule flags before this step.
        factor: safety factor contained in the history's bounds on η, > 0.
        decay: λ.
        rate: r.
        settings: config.json.
        made: commit, data and machine of the run; empty where unknown.
    """

    name: str
    history: xr.Dataset
    time: Float[np.ndarray, " step"]
    steps: int
    warmup: int
    factor: float
    decay: float
    rate: float
    settings: dict[str, Any]
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The run's seed, the unit of replication."""
        return int(self.settings["seed"])

    def values(self, name: str) -> np.ndarray:
        """Return a column of the history in double precision. [step, gate]"""
        return np.asarray(self.history[name].values, dtype=np.float64)

    def of_kind(self, kind: str) -> Bool[np.ndarray, " gate"]:
        """Return which gates are of a kind."""
        return of_kind(self.history, kind)


def of_kind(history: xr.Dataset, kind: str) -> Bool[np.ndarray, " gate"]:
    """Return which gates of a history are of a kind.

    Args:
        history: of a run.
        kind: one of `KINDS`; layers are the gates of residual branches.
    """
    return history.is_branch.values == (kind == "layers")


def ode_time(steps: np.ndarray, total: int, *, lr: float, momentum: float) -> np.ndarray:
    """Return the ODE's time at the records: lr/(1 − momentum) a step, with the cosine schedule.

    A record is made before its own step moves anything: the record at step s has seen s − 1 steps.

    Args:
        steps: of the records, ≥ 1. [step]
        total: steps of the whole run, over which the schedule runs.
        lr: learning rate of the weights at the start, > 0.
        momentum: in [0, 1).
    """
    each = [effective_step(lr, momentum) * cosine(step, total) for step in range(total)]
    return np.concatenate([[0.0], np.cumsum(each)])[np.asarray(steps) - 1]


def run_name(folder: Path) -> str:
    """Return the name of a run in reports: its folder and the folder above, which often names the settings."""
    return "/".join(folder.resolve().parts[-2:])


def open_run(folder: Path) -> ShadowRun:
    """Return the shadow run that a run folder holds.

    Raises:
        InputError: unless it holds a finished shadow run with a record after its warm-up.
    """
    for name in ("table.json", "config.json", "gates.zarr"):
        if not (folder / name).exists():
            raise InputError(f"{folder} is no finished run: it holds no {name}")
    settings = read_json(folder / "config.json")
    if settings.get("mode", "shadow") != "shadow":
        raise InputError(f"{folder} is a {settings['mode']} run: what it removed cannot be judged, name a shadow run")
    steps = int(read_json(folder / "table.json")["steps"])
    history = sound_history(folder / "gates.zarr").load()
    warmup = settings["tracker"]["warmup"]
    if not history.sizes["step"] or history.step.values[-1] < warmup:
        raise InputError(f"{folder} has no record after its warm-up of {warmup} steps: nothing to judge")
    lr, momentum = settings["lr"], settings["momentum"]
    return ShadowRun(
        name=run_name(folder),
        history=history,
        time=ode_time(history.step.values, steps, lr=lr, momentum=momentum),
        steps=steps,
        warmup=warmup,
        factor=settings["tracker"]["factor"],
        decay=settings["decay"],
        rate=rate_of(settings["gate_lr"], lr=lr, momentum=momentum),
        settings=settings,
        made=_made(folder),
    )


def _made(folder: Path) -> dict[str, Any]:
    """Return commit, data and machine of a run, as far as its folder says."""
    path = folder / "environment.json"
    known = read_json(path) if path.exists() else {}
    found = {name: known[name] for name in ("data", "machine") if name in known}
    found.setdefault("data", read_json(folder / "table.json").get("data", "unknown"))
    return found | {"commit": (known.get("git") or {}).get("commit")}
