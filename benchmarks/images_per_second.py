"""`python -m benchmarks.images_per_second`: training speed on a GPU, gated and plain, before and after a removal.

Everything is on the device, data and augmentation too. Four networks take turns:

    peer            the same ResNet in plain PyTorch, written for this comparison (`plain_resnet`)
    plain           ours without masks
    gated           ours, gates drawn for every sample, estimated, tracked and moved
    gated, shrunk   after half of the FLOPs were removed: half of them by layers, half by units in eights

`--device cpu --batch 8 --steps 1 --networks resnet8` tries the script out where there is no GPU; the figures mean
nothing then.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from benchmarks import record
from benchmarks.plain_resnet import plain_resnet
from benchmarks.shrunk import removed
from benchmarks.training_step import Step, images
from training.data.augmentation import augment


@dataclass(frozen=True)
class Settings:
    """Images a second in training."""

    device: str = "cuda"
    """Torch device."""
    networks: tuple[str, ...] = ("resnet20", "resnet56")
    """Residual networks for small images."""
    batch: int = 512
    """Images a step."""
    steps: int = 50
    """Steps in a turn, ≥ 1."""
    turns: int = 5
    """Turns of each network, ≥ 1; the median is reported."""
    compile: Literal["no", "default", "reduce-overhead"] = "no"
    """torch.compile; reduce-overhead records CUDA graphs."""
    bfloat16: bool = True
    """Autocast to bfloat16."""
    removed: float = 0.5
    """Share of the FLOPs that is removed, in (0, 1)."""
    data_folder: Path = Path("data")
    """Where CIFAR-10 is; without it the images are random."""
    output: Path = Path(__file__).parent / "results" / "images_per_second.json"
    """Result file."""


class Trainer:
    """A network on the device with what one step of it needs.

    Args:
        settings: of the benchmark.
        network: trained.
        step: what drives its gates, or None for a network without.
    """

    def __init__(self, settings: Settings, network: nn.Module, step: Step | None = None) -> None:
        self.settings, self.method = settings, step.method if step is not None else None
        self.device = torch.device(settings.device)
        self.network = network.to(self.device, memory_format=torch.channels_last).train()
        fused = self.device.type == "cuda"
        self.optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=5e-4, fused=fused)
        self.order = torch.Generator().manual_seed(0)
        self.forward: Callable[[Tensor], Tensor] = self.network
        if settings.compile != "no":
            self.forward = torch.compile(self.network, mode=settings.compile)

    def step(self, pictures: Tensor, labels: Tensor) -> None:
        pictures = augment(pictures, self.order, 4, True).contiguous(memory_format=torch.channels_last)
        if self.method is not None:
            self.method.before_step(len(pictures))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bfloat16):
            losses = F.cross_entropy(self.forward(pictures), labels, reduction="none")
        if self.method is not None:
            self.method.after_forward(losses)
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        if self.method is not None:
            self.method.after_backward(losses.detach(), 0, 1.0)
        self.optimizer.step()

    def turn(self, found: list[tuple[Tensor, Tensor]]) -> float:
        """Images a second over a turn."""
        self.wait()
        start = time.perf_counter()
        for i in range(self.settings.steps):
            self.step(*found[i % len(found)])
        self.wait()
        return self.settings.steps * len(found[0][1]) / (time.perf_counter() - start)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def trainers(settings: Settings, name: str) -> tuple[dict[str, Trainer], float]:
    """Return the four, and the share of the FLOPs that the shrunken one has."""
    depth = re.fullmatch(r"resnet(\d+)", name)
    if depth is None or (int(depth[1]) - 2) % 6:
        raise SystemExit(f"error: networks must be residual networks for small images, resnet20 and so on; got {name}")
    gated, shrunk = (Step(name, gated=True, device=settings.device) for _ in range(2))
    full = shrunk.macs
    removed(shrunk, "both", settings.removed)
    return {
        "peer": Trainer(settings, plain_resnet(int(depth[1]))),
        "plain": Trainer(settings, Step(name, gated=False, device=settings.device).network),
        "gated": Trainer(settings, gated.network, gated),
        "gated, shrunk": Trainer(settings, shrunk.network, shrunk),
    }, shrunk.macs / full


def measure(settings: Settings, name: str, found: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    every, flops = trainers(settings, name)
    rates: dict[str, list[float]] = {label: [] for label in every}
    for turn in range(settings.turns + 1):
        for label, trainer in every.items():
            rate = trainer.turn(found)
            if turn:  # the first compiles and warms up
                rates[label].append(rate)
    middle = {label: statistics.median(values) for label, values in rates.items()}
    for label, value in middle.items():
        print(f"{name}, {label}: {value:,.0f} images/s, {value / middle['peer']:.2f} of the peer's", flush=True)
    return {"network": name, "flops ratio of the shrunken": flops, "images a second": middle, "turns": rates}


def main(arguments: list[str] | None = None) -> int:
    settings = tyro.cli(Settings, args=arguments, prog="python -m benchmarks.images_per_second", description=__doc__)
    if min(settings.batch, settings.steps, settings.turns) < 1 or not 0 < settings.removed < 1:
        print("error: batch, steps and turns must be ≥ 1, removed in (0, 1)", file=sys.stderr)
        return 2
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        print("error: device cuda is not there; --device cpu tries the script out", file=sys.stderr)
        return 2
    about = record.machine("benchmarks.images_per_second")
    found, what = images(settings.data_folder, settings.batch, 8, settings.device)
    torch.backends.cudnn.benchmark = True
    rows = [measure(settings, name, found) for name in settings.networks]
    gpu = torch.cuda.get_device_name() if settings.device.startswith("cuda") else None
    chosen = {k: getattr(settings, k) for k in ("device", "batch", "steps", "compile", "bfloat16", "removed")}
    record.write(settings.output, {**about, "gpu": gpu, "images": what, "settings": chosen, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
