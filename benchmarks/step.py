"""`python -m benchmarks.step`: a gated training step against the ungated one, and what tracking certificates costs.

Targets: the gated step takes at most 1.10 times as long, tracking at most 1 % of a step averaged over its interval.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks import record
from benchmarks.training_step import Batch, Step, images, ratio, take_turns


@dataclass(frozen=True)
class Settings:
    """Time gated against ungated training steps. Wants a quiet machine."""

    networks: tuple[str, ...] = ("resnet20", "resnet56")
    """Which networks."""
    threads: tuple[int, ...] = (2, 1)
    """Numbers of CPU threads."""
    compiled: bool = False
    """Also with both networks through torch.compile, as `--compile` does; takes minutes to compile."""
    rounds: int = 24
    """Pairs of steps, ≥ 1; ResNet-56 and deeper get half as many."""
    batch: int = 128
    """Images a step."""
    data_folder: Path = Path("data")
    """Where CIFAR-10 is; without it the images are random."""
    output: Path = Path(__file__).parent / "results" / "step.json"
    """Result file."""


def compare(name: str, found: list[Batch], rounds: int, threads: int, compiled: bool) -> dict[str, Any]:
    torch.set_num_threads(threads)
    plain, gated = Step(name, gated=False), Step(name, gated=True)
    if compiled:
        for step in (plain, gated):
            step.forward = torch.compile(step.network)
    seconds = take_turns([plain, gated], found, rounds)
    tracking = track(gated, found[0])
    median = statistics.median(seconds[1])
    return {
        "network": name,
        "threads": threads,
        "compiled": compiled,
        "gates": len(gated.method.gates.theta),
        "ungated seconds": statistics.median(seconds[0]),
        "gated seconds": median,
        "gated over ungated": ratio(seconds[1], seconds[0]),
        "tracking seconds": tracking,
        "tracking share of a gated step": tracking / median,
        "all seconds": {"ungated": seconds[0], "gated": seconds[1]},
    }


def track(step: Step, batch: Batch) -> float:
    """Seconds a step that all work on gates after the backward pass takes, averaged over a whole tracking interval.

    Estimator, sums, tracker with its record of all margins, costs and the gates' own step.
    """
    step(batch)
    learner, every = step.method, step.config.tracker.every
    start = 0.0
    for turn in range(2 * every):  # the first interval compiles
        if turn == every:
            start = time.perf_counter()
        losses = step.losses.clone().requires_grad_()
        learner.after_forward(losses)
        losses.mean().backward()
        learner.after_backward(step.losses, 0, 1.0)
    return (time.perf_counter() - start) / every


def main(arguments: list[str] | None = None) -> int:
    settings = tyro.cli(Settings, args=arguments, prog="python -m benchmarks.step", description=__doc__)
    if min(settings.rounds, settings.batch, *settings.threads) < 1:
        print("error: rounds, batch and threads must be ≥ 1", file=sys.stderr)
        return 2
    about = record.machine("benchmarks.step")
    found, what = images(settings.data_folder, settings.batch, 4)
    rows = []
    modes = [
        (t, n, c) for c in (False, True)[: 1 + settings.compiled] for t in settings.threads for n in settings.networks
    ]
    for threads, name, compiled in modes:
        rounds = settings.rounds if name not in ("resnet56", "resnet110") else -(-settings.rounds // 2)
        rows.append(compare(name, found, rounds, threads, compiled))
        over, share = rows[-1]["gated over ungated"], rows[-1]["tracking share of a gated step"]
        print(
            f"{name}, {threads} threads{', compiled' * compiled}: gated/ungated {over['median']:.3f}"
            f" ({over['quartiles'][0]:.3f} to {over['quartiles'][1]:.3f}, n = {over['n']}),"
            f" fastest {over['of fastest']:.3f}; tracking {100 * share:.2f} % of a step",
            flush=True,
        )
    ended = round(os.getloadavg()[0], 2)
    result = {"images": what, "batch": settings.batch, "load at end": ended, "rows": rows}
    record.write(settings.output, {**about, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
