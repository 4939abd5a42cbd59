"""The settings of a validation run, and the presets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import torch

from training.certificates.rules import rule as known_rule
from training.certificates.tracker import TrackerSettings
from training.errors import InputError
from training.estimators import estimator as make_estimator

__all__ = [
    "HOST_ONLY",
    "MOST_AT_ONCE",
    "MOST_SEEDS",
    "PRESETS",
    "PruneSettings",
    "RunConfig",
    "fingerprint",
    "from_json",
    "preset",
    "run_identity",
    "shared_settings",
    "to_json",
]


@dataclass(frozen=True)
class PruneSettings:
    """What prune mode removes, and when.

    Attributes:
        rule: whose flags are followed, after the tracker's warm-up: box, half-plane, bilinear (units by the bilinear
            certificate, branches by the half-plane), the half-plane with its noise bound such as "half-plane, escape ≤
            0.1", or a plain threshold such as "θ < 0.1".
        every: steps between two removals, a multiple of tracker.every.
        multiple: every group of units keeps a multiple of this many.
    """

    rule: str = "bilinear"
    every: int = 300
    multiple: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", known_rule(self.rule).name)  # one spelling of each
        for name in ("every", "multiple"):
            if getattr(self, name) < 1:
                raise InputError(f"prune.{name} must be ≥ 1; got {getattr(self, name)}")


@dataclass(frozen=True)
class RunConfig:
    """Train with gates; judge every pruning rule by what became of the gates it flagged, or prune by one of them."""

    preset: str = "digits"
    """Where the other settings start from: digits, cifar10-quick, cifar10-full or cifar100-full."""
    out: Path | None = None
    """Run folder; by default runs/PRESET-seedSEED-TIME. Must not exist."""

    data: str = "digits"
    """Data set: digits (embedded), cifar10, cifar100 or imagenet."""
    data_folder: Path = Path("data")
    """Where the files of the others are."""

    network: str = "resnet14"
    """Network: resnet8 to resnet110, resnet50, vgg16, vgg16-bypass, lenet-300-100 or lenet-5."""
    width: int | None = None
    """Units of its first layer, the others in proportion; as published by default."""

    mode: Literal["shadow", "prune"] = "shadow"
    """shadow flags gates and removes nothing, so that every rule can be judged; prune removes them as it goes."""
    prune: PruneSettings = field(default_factory=PruneSettings)
    """What prune mode removes, and when."""

    nu: float = 0.4
    """Pruning pressure ν ≥ 0: nats of loss one would pay for the whole network's complexity."""
    alpha: float = 0.5
    """Layer against unit pruning: 0 units only, 1 layers only."""
    beta: float = 0.0
    """What is counted: 0 multiply–accumulates, 1 parameters."""
    theta_start: float = 0.9
    """θ of every gate at the start."""

    epochs: int = 60
    """Passes over the training set."""
    batch: int = 64
    """Samples a step."""
    optimizer: str = "sgd"
    """Optimizer of the weights; the theory covers sgd."""
    lr: float = 0.1
    """Weights' learning rate at the start of the cosine schedule."""
    momentum: float = 0.9
    """Weights' momentum."""
    decay: float = 5e-4
    """Weight decay λ."""
    gate_lr: float = 0.5
    """Gates' learning rate; follows the same schedule."""
    estimator: str = "mixed"
    """Of D, for the gates' steps: mixed (of layers corrected by losses, of units for curvature), or first-order,
    trapezoid, curvature, corrected, difference, horvitz-thompson, control and others (training.estimators)."""
    hold: int = 0
    """Steps at the start in which θ does not move: an untrained network needs none of its layers yet."""

    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    """How couplings are measured."""
    ungated: bool = True
    """Also train the ungated network with the same budget."""

    seed: int = 0
    """Of initial weights, order of the data, augmentation and masks."""
    seeds: int = 1
    """Runs, with seeds `seed`, `seed` + 1, …, each in a folder of its own below the run folder, then pooled."""
    jobs: int = 0
    """How many of them at once, a process and a thread each; 0 as many as there are cores."""
    device: str = "cpu"
    """Torch device."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the forward pass: bf16 uses torch's autocast, for GPUs. Weights, gates and losses stay float32."""
    compile: bool = False
    """Let torch.compile fuse the network, for GPUs; it compiles again after each removal."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints, from which `python -m training resume RUN` goes on."""

    def __post_init__(self) -> None:
        for name in ("lr", "gate_lr", "checkpoint_every"):
            _require(name, getattr(self, name), "> 0 and finite", lambda v: 0 < v < math.inf)
        for name in ("nu", "decay"):
            _require(name, getattr(self, name), "≥ 0 and finite", lambda v: 0 <= v < math.inf)
        for name in ("alpha", "beta"):
            _require(name, getattr(self, name), "in [0, 1]", lambda v: 0 <= v <= 1)
        _require("momentum", self.momentum, "in [0, 1)", lambda v: 0 <= v < 1)
        _require("theta_start", self.theta_start, "in (0, 1]", lambda v: 0 < v <= 1)
        for name in ("epochs", "batch"):
            _require(name, getattr(self, name), "≥ 1", lambda v: v >= 1)
        _require("seeds", self.seeds, f"≥ 1 and ≤ {MOST_SEEDS}", lambda v: 1 <= v <= MOST_SEEDS)
        _require("hold", self.hold, "≥ 0", lambda v: v >= 0)
        for name in ("threads", "jobs"):
            _require(name, getattr(self, name), f"≥ 0 and ≤ {MOST_AT_ONCE}", lambda v: 0 <= v <= MOST_AT_ONCE)
        for name, known in (("mode", ("shadow", "prune")), ("precision", ("float32", "bf16"))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be {' or '.join(known)}; got {getattr(self, name)!r}")
        if self.mode == "prune" and self.prune.every % self.tracker.every:
            raise InputError(
                f"prune.every must be a multiple of tracker.every = {self.tracker.every}; got {self.prune.every}"
            )
        make_estimator(self.estimator, torch.zeros(1, dtype=torch.bool))
        if self.hold > self.tracker.warmup:
            raise InputError(
                f"hold must be ≤ tracker.warmup = {self.tracker.warmup}; got {self.hold}"
                " (a flag on a gate that cannot move yet would lead by waiting)"
            )
        _require("seed", self.seed, "≥ 0 and below 2⁶³ − 1", lambda v: 0 <= v < 2**63 - 1)  # torch's generators


def _require(name: str, value: float, allowed: str, test: object) -> None:
    if not test(value):  # type: ignore[operator]
        raise InputError(f"{name} must be {allowed}; got {value}")


#: Bounds beyond which a number is a slip: nobody waits for more runs, and no machine has more processors.
MOST_SEEDS, MOST_AT_ONCE = 10_000, 1024

PRESETS: dict[str, RunConfig] = {
    "digits": RunConfig(
        preset="digits",
        width=8,
        nu=2.0,
        alpha=0.2,
        epochs=160,
        gate_lr=0.1,
        hold=300,
        tracker=TrackerSettings(warmup=300, window=90, every=30, factor=1.5),
        prune=PruneSettings(every=60),
    ),
    "cifar10-quick": RunConfig(
        preset="cifar10-quick",
        data="cifar10",
        network="resnet20",
        epochs=8,
        batch=128,
        nu=1.0,
        alpha=0.2,
        gate_lr=1.0,
        hold=780,
        tracker=TrackerSettings(warmup=780, window=150, factor=1.5),
        prune=PruneSettings(every=200),
    ),
}

#: 200 epochs of ResNet-56, for a GPU. Settings carried over from the quick preset; not run in full yet.
_FULL = RunConfig(
    preset="cifar10-full",
    data="cifar10",
    network="resnet56",
    epochs=200,
    batch=128,
    nu=1.0,
    alpha=0.2,
    gate_lr=0.1,
    hold=3900,
    tracker=TrackerSettings(warmup=3900, window=1000, every=50, factor=1.5),
    prune=PruneSettings(every=1950, multiple=8),
    device="cuda",
    precision="bf16",
)
PRESETS |= {
    "cifar10-full": _FULL,
    "cifar100-full": replace(_FULL, preset="cifar100-full", data="cifar100"),
}


def preset(name: str) -> RunConfig:
    """Return the settings of a preset.

    Raises:
        InputError: for an unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def to_json(config: RunConfig) -> dict[str, Any]:
    """Return the settings as JSON holds them."""
    return json.loads(json.dumps(asdict(config), default=str))


#: Settings that say where and how fast, not what: a run may go on under others.
HOST_ONLY = (
    "preset",
    "out",
    "data_folder",
    "seeds",
    "jobs",
    "device",
    "threads",
    "compile",
    "checkpoint_every",
    "ungated",
)


def shared_settings(settings: Mapping[str, Any], *apart: str) -> dict[str, Any]:
    """Return the settings that runs must have in common to be put together: not where and how fast they were made.

    Args:
        settings: what a run's config.json holds.
        apart: names of further settings in which the runs may differ, such as "seed".

    Example:
        >>> shared_settings({"nu": 0.5, "seed": 3, "device": "cpu"}, "seed")
        {'nu': 0.5}
    """
    return {name: value for name, value in settings.items() if name not in (*HOST_ONLY, *apart)}


def run_identity(config: RunConfig) -> dict[str, Any]:
    """Return all settings on which the course of a run depends, by name; those in groups as GROUP.NAME."""
    found: dict[str, Any] = {}
    for name, value in shared_settings(to_json(config)).items():
        found |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    return found


def fingerprint(config: RunConfig) -> str:
    """Return all settings on which the course of a run depends, as one text."""
    return json.dumps(shared_settings(to_json(config)), sort_keys=True)


def from_json(values: dict[str, Any]) -> RunConfig:
    """Return the settings that `to_json` gave.

    Raises:
        InputError: for settings of another version, out of range, or of another kind, such as a text for a number.
    """
    try:
        for kind, prefix, held in (
            (RunConfig, "", values),
            (TrackerSettings, "tracker.", values["tracker"]),
            (PruneSettings, "prune.", values["prune"]),
        ):
            _check_kinds(kind, prefix, held)
        nested = {"tracker": TrackerSettings(**values["tracker"]), "prune": PruneSettings(**values["prune"])}
        paths = {name: values[name] and Path(values[name]) for name in ("out", "data_folder")}
        return RunConfig(**(values | nested | paths))
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"the settings are of another version of this package ({error})") from None


#: What a setting of each kind may be in JSON, in words and in Python; others are texts.
_IN_JSON: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
}


def _check_kinds(settings: type, prefix: str, values: dict[str, Any]) -> None:
    """Refuse a value that is of another kind than its setting."""
    for name, hint in get_type_hints(settings).items():
        value, kinds = values.get(name), get_args(hint) or (hint,)
        if name not in values or is_dataclass(hint) or (value is None and type(None) in kinds):
            continue
        words, allowed = _IN_JSON.get(kinds[0], ("a text", (str,)))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise InputError(f"{prefix}{name} must be {words}; got {value!r}")
