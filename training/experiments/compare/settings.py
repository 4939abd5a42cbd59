"""The settings of a comparison, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from training.engine.config import MOST_AT_ONCE, MOST_SEEDS, PRESETS, RunConfig
from training.errors import InputError
from training.methods.amount import check_fraction

__all__ = ["COMPARISONS", "Compare", "comparison"]

NAMES = ("digits", "cifar10-quick", "cifar10-full")


@dataclass(frozen=True)
class Compare:
    """Train the same network under several pruning methods and put what came out into one table."""

    preset: str = "digits"
    """Where the other settings start from: digits (ResNet-14), cifar10-quick (ResNet-20, 8 epochs, for a CPU) or
    cifar10-full (ResNet-56, 200 epochs, for a GPU)."""
    methods: tuple[str, ...] = ()
    """Methods, by default all: none, smaller, while-training, prune-and-retrain, torch-pruning, channel-masking, snacs,
    parsimonious, layer-pruning, certified-gates. Each may have settings of its own:
    while-training:criterion=random,first=0.2. The network that is not pruned (none) is always among them: costs are
    relative to it, and others begin with it."""
    seeds: int = 1
    """Runs of each method."""
    seed: int = 0
    """The first seed; the others follow."""
    out: Path | None = None
    """Folder of the runs and the table, by default runs/compare-PRESET. Runs that are there go on, or are left."""

    share: float = 0.4
    """Of the multiply–accumulates that shall be left, for methods that have a target; the others find their own."""
    retrain: int = 10
    """Epochs after pruning, for methods that prune a trained network; on top of `epochs`."""
    network: str = "resnet14"
    """Network: resnet8 to resnet110, resnet50, vgg16, vgg16-bypass, lenet-300-100 or lenet-5."""
    width: int | None = None
    """Units of its first layer, the others in proportion; as published by default."""
    epochs: int = 120
    """Passes over the training set, retraining left out."""
    batch: int = 64
    """Samples a step."""
    lr: float = 0.1
    """Weights' learning rate at the start of the cosine schedule."""

    data: str = "digits"
    """Data set: digits (embedded), cifar10 or cifar100."""
    data_folder: Path = Path("data")
    """Where the files of the others are."""
    device: str = "cpu"
    """Torch device."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the forward pass: bf16 uses torch's autocast, for GPUs."""
    compile: bool = False
    """Let torch.compile fuse the network, for GPUs; it compiles again after each removal."""
    threads: int = 0
    """CPU threads of a run; 0 leaves torch's choice, one each where several runs are made at once."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints, from which the same command goes on."""
    jobs: int = 1
    """Runs at once, each in a process of its own. Times are those of runs that share the machine."""
    cluster: str | None = None
    """Address of a Dask scheduler (tcp://HOST:PORT) whose workers make the runs, and see `out` and the data under the
    same paths; needs the extra `cluster`."""

    def __post_init__(self) -> None:
        if self.preset not in NAMES:
            raise InputError(f"preset must be one of {', '.join(NAMES)}; got {self.preset!r}")
        check_fraction("share", self.share)
        for name, most in (("seeds", MOST_SEEDS), ("retrain", None), ("jobs", MOST_AT_ONCE)):
            value = getattr(self, name)
            if value < 1 or (most is not None and value > most):
                raise InputError(f"{name} must be ≥ 1{f' and ≤ {most}' if most is not None else ''}; got {value}")
        if self.cluster is not None and self.jobs > 1:
            raise InputError(
                f"jobs must be 1 with a cluster, whose workers say how many runs there are; got {self.jobs}"
            )
        self.base(self.seed)

    @property
    def folder(self) -> Path:
        """Of the runs and the table."""
        return self.out if self.out is not None else Path("runs") / f"compare-{self.preset}"

    def base(self, seed: int) -> RunConfig:
        """Return the run that all methods have in common: that of the network that is not pruned.

        Args:
            seed: of the run.

        Raises:
            InputError: for a setting out of range.
        """
        own = ("network", "width", "epochs", "batch", "lr", "data", "data_folder", "device", "precision", "compile")
        threads = self.threads or (1 if self.jobs > 1 or self.cluster is not None else 0)
        return replace(
            PRESETS[self.preset],
            **{name: getattr(self, name) for name in own},
            checkpoint_every=self.checkpoint_every,
            threads=threads,
            seed=seed,
            ungated=False,
        )


def comparison(name: str) -> Compare:
    """Return the settings of a preset.

    Raises:
        InputError: for an unknown name; the message lists the known ones.
    """
    if name not in COMPARISONS:
        raise InputError(f"preset must be one of {', '.join(NAMES)}; got {name!r}")
    return COMPARISONS[name]


def _of(name: str, **others: Any) -> Compare:
    """With the network, the data and the budget of the preset of that name (`training.engine.config.PRESETS`)."""
    run = PRESETS[name]
    same = ("network", "width", "epochs", "batch", "lr", "data", "device", "precision", "compile")
    return Compare(preset=name, **{field: getattr(run, field) for field in same}, **others)


#: The shares are such that whole units come within 2% of them, whole widths too (within 2.5% for cifar10-full).
COMPARISONS: dict[str, Compare] = {
    "digits": _of("digits", share=0.39, retrain=10, threads=1),  # a network this small gains nothing from more
    "cifar10-quick": _of("cifar10-quick", share=0.4, retrain=2),
    "cifar10-full": _of("cifar10-full", share=0.4, retrain=40),
}
