"""One training step as `training.loop` makes it, with or without gates; and how steps are timed against one another.

Steps of several networks take turns in one process, so that what disturbs the machine disturbs all of them; only
ratios of neighbours are compared.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.data import DataError, batches, load_cifar10
from training.gates import Gates
from training.networks import build
from training.optimizer import ProjectedSGD, gate_rate, weight_optimizer
from training.structure import structure_of
from training.tracker import Tracker, TrackerSettings

SHAPE, NU, ALPHA, BETA = (3, 32, 32), 0.5, 0.2, 0.0
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
        gated: with gates drawn for every sample at θ = 0.9, moved and tracked as in `training.loop`; or without.
    """

    def __init__(self, name: str, gated: bool) -> None:
        torch.manual_seed(0)
        self.network = build(name, 3, 10).to(memory_format=torch.channels_last).train()
        self.optimizer = weight_optimizer("sgd", self.network, lr=0.01, momentum=0.9, decay=5e-4)
        self.masks = torch.Generator().manual_seed(1)
        self.full = structure_of(self.network, SHAPE)
        self.gates = Gates(self.network)
        self.gated = gated
        self.after_removal()

    def after_removal(self) -> None:
        """Make anew what follows from the network's shapes."""
        self.structure = structure_of(self.network, SHAPE, self.full)
        self.mover = ProjectedSGD(self.gates.theta, 1e-4)  # slowly: all steps have about the same masks
        rate = gate_rate(self.optimizer, 1e-4)
        self.tracker = Tracker(self.gates, TrackerSettings(), decay=5e-4, rate=rate)

    @property
    def macs(self) -> float:
        """Multiply–accumulates of one image, all gates open."""
        return float(self.structure.macs(np.ones(len(self.gates.theta))))

    def __call__(self, batch: Batch) -> None:
        pictures, labels = batch
        if self.gated:
            self.gates.sample(len(pictures), self.masks)
        loss = F.cross_entropy(self.network(pictures), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.gated:
            self.move_gates()
        self.optimizer.step()

    def move_gates(self) -> None:
        """What a step does for the gates after the backward pass."""
        difference = self.gates.difference()
        if not bool(difference.isfinite().all()):
            raise FloatingPointError("the loss diverged")
        cost = self.structure.costs(self.gates.theta.detach(), NU, ALPHA, BETA)
        self.tracker.observe(difference, cost)
        self.mover.step(difference + cost)


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
