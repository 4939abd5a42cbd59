"""One training step as `training.engine.loop` makes it, with or without gates; and how steps are timed.

Steps of several networks take turns in one process, so that what disturbs the machine disturbs all of them; only
ratios of neighbours are compared.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.batches import batches
from training.data.data_sets import load_cifar10
from training.engine.config import RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.method import RunContext
from training.engine.optimizer import weight_optimizer
from training.errors import DataError
from training.networks import build

SHAPE = (3, 32, 32)
Batch = tuple[Tensor, Tensor]


def images(folder: Path, batch: int, count: int, device: str = "cpu") -> tuple[list[Batch], str]:
    """Some batches, channels last, and what they are: CIFAR-10 where it is to be had, otherwise noise."""
    try:
        data = load_cifar10(folder, device)
    except DataError:
        generator = torch.Generator().manual_seed(0)
        found = [
            (torch.randn(batch, *SHAPE, generator=generator), torch.randint(10, (batch,), generator=generator))
            for _ in range(count)
        ]
        last = torch.channels_last
        return [(x.to(device, memory_format=last), y.to(device)) for x, y in found], "random images"
    stream = batches(data, batch, torch.Generator().manual_seed(0), channels_last=True)
    return [*itertools.islice(stream, count)], data.provenance


class Step:
    """A network in training; call it with a batch to make one step.

    Args:
        name: of the network, one of `training.networks.NETWORKS`.
        gated: with gates drawn for every sample at θ = 0.9, estimated, tracked and moved as in `training.engine.loop`;
            or without.
        device: torch device.
    """

    def __init__(self, name: str, gated: bool, device: str = "cpu") -> None:
        torch.manual_seed(0)
        # Gates that move slowly: all steps have about the same masks.
        self.config = RunConfig(data="cifar10", batch=128, lr=0.01, gate_lr=1e-4, device=device)
        self.network = build(name, 3, 10).to(device, memory_format=torch.channels_last).train()
        self.optimizer = weight_optimizer(
            "sgd", self.network, lr=self.config.lr, momentum=self.config.momentum, decay=self.config.decay
        )
        context = RunContext(self.config, self.network, self.optimizer, SimpleNamespace(shape=SHAPE))  # type: ignore
        self.method = GateLearner(context)
        self.gated = gated
        self.forward: Callable[[Tensor], Tensor] = self.network
        self.losses = torch.zeros(0)

    @property
    def macs(self) -> int:
        """Multiply–accumulates of one image, all gates open."""
        return self.method.structure.total_macs

    def __call__(self, batch: Batch) -> None:
        pictures, labels = batch
        if self.gated:
            self.method.before_step(len(pictures))
        losses = F.cross_entropy(self.forward(pictures), labels, reduction="none")
        if self.gated:
            self.method.after_forward(losses)
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        self.losses = losses.detach()
        if self.gated:
            self.method.after_backward(self.losses, 0, 1.0)
        self.optimizer.step()


def take_turns(calls: Sequence[Callable[[Batch], Any]], found: Sequence[Batch], rounds: int) -> list[list[float]]:
    """Seconds of every call in each round; all see the same batches, and every other round goes backwards."""
    source: Iterator[Batch] = itertools.cycle(found)
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(-1, rounds):  # one round to warm up
        batch = next(source)
        order = range(len(calls)) if turn % 2 else reversed(range(len(calls)))
        for i in order:
            start = time.perf_counter()
            calls[i](batch)
            if turn >= 0:
                seconds[i].append(time.perf_counter() - start)
    return seconds


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, Any]:
    """Median of the rounds' ratios with quartiles, and the ratio of the fastest rounds, which a busy moment spares."""
    ratios = sorted(a / b for a, b in zip(over, under, strict=True))
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"median": median, "quartiles": [low, high], "of fastest": min(over) / min(under), "n": len(ratios)}
