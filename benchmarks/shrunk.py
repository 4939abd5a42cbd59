"""`python -m benchmarks.shrunk`: does a training step get cheaper as its FLOPs do?

From a gated network 25, 50 and 75 % of the FLOPs are removed: units by eights, units in other numbers, layers, or half
of each. Full and shrunken networks take turns in one process. Target for layers and units by eights: the step's time
falls to at most 1.2 times the share of the FLOPs that is left. A profile says which operations do not follow.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks import record
from benchmarks.training_step import Batch, Step, images, ratio, take_turns

KINDS = ("units by 8", "units not by 8", "layers", "both")
SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Settings:
    """Time steps of shrunken networks against the full one. Wants a quiet machine."""

    networks: tuple[str, ...] = ("resnet20", "resnet56")
    """Which networks."""
    threads: int = 2
    """CPU threads."""
    rounds: int = 8
    """Rounds, ≥ 1, in each of which the full network and every shrunken one make one step; deeper ones get half."""
    batch: int = 128
    """Images a step."""
    data_folder: Path = Path("data")
    """Where CIFAR-10 is; without it the images are random."""
    output: Path = Path(__file__).parent / "results" / "shrunk.json"
    """Result file."""


def removed(step: Step, kind: str, share: float, seed: int = 0) -> None:
    """Remove about that share of the full network's FLOPs, in random places."""
    rng, target = np.random.default_rng(seed), (1 - share) * step.macs
    if kind == "layers":
        remove_layers(step, target, rng)
    elif kind == "both":
        remove_layers(step, (1 - share / 2) * step.macs, rng)
        remove_units(step, target, rng, 8)
    else:
        remove_units(step, target, rng, 8 if kind == "units by 8" else 1)


def remove_layers(step: Step, target: float, rng: np.random.Generator) -> None:
    """Branches in random order, as long as that comes closer to the target."""
    index = step.method.structure.branch_index
    gone = np.zeros(len(step.method.gates.theta), bool)
    for branch in rng.permutation(list(index)):
        tried = gone.copy()
        tried[index[branch]] = True
        if closer(step, target, tried, gone):
            gone = tried
    apply(step, gone)


def remove_units(step: Step, target: float, rng: np.random.Generator, by: int) -> None:
    """Units `by` at a time from the group that has lost the smallest share of its units, ties at random.

    At least `by` stay in each group, and where `by` is 1 the numbers left are no multiples of 8.
    """
    groups = step.method.structure.unit_slices
    gone = np.zeros(len(step.method.gates.theta), bool)
    sizes = {name: where.stop - where.start for name, where in groups.items()}
    left, open_groups = dict(sizes), set(groups)
    while open_groups:
        name = max(rng.permutation(sorted(open_groups)), key=lambda g: left[g] / sizes[g])
        tried, fewer = gone.copy(), left[name] - by
        if by == 1 and fewer % 8 == 0:
            fewer -= 1
        tried[groups[name].start : groups[name].stop] = np.arange(sizes[name]) >= fewer
        if fewer < by or not closer(step, target, tried, gone):
            open_groups.discard(name)
            continue
        gone, left[name] = tried, fewer
    # Which units of a group go makes no difference to the time, but take them from all over.
    for where in groups.values():
        rng.shuffle(gone[where])
    apply(step, gone)


def closer(step: Step, target: float, tried: np.ndarray, gone: np.ndarray) -> bool:
    return abs(macs_without(step, tried) - target) < abs(macs_without(step, gone) - target)


def macs_without(step: Step, gone: np.ndarray) -> float:
    return float(step.method.structure.macs(1.0 - gone))


def apply(step: Step, gone: np.ndarray) -> None:
    step.method.remove(gone)
    for parameter in step.network.parameters():
        if parameter.dim() == 4 and not parameter.is_contiguous(memory_format=torch.channels_last):
            raise RuntimeError("a shrunken convolution lost its memory format")


#: Kind of operation ← beginning of its name, by where it spends time.
GROUPS = {
    "convolutions": ("aten::convolution_backward", "aten::mkldnn_convolution"),
    "normalisations": ("aten::native_batch_norm",),
    "activations, masks, sums": (
        *("aten::clamp", "aten::threshold", "aten::mul", "aten::add", "aten::sum", "aten::relu", "aten::copy"),
        *("aten::constant_pad", "aten::fill", "aten::mean", "aten::div"),
    ),
}


def profile(step: Callable[[Batch], None], batch: Batch) -> dict[str, float]:
    """Milliseconds of one step by kind of operation: of each kind the least of three steps."""
    turns = []
    for _ in range(3):
        with torch.profiler.profile() as found:
            step(batch)
        spent: Counter[str] = Counter()
        for event in found.key_averages():
            kind = next((kind for kind, names in GROUPS.items() if event.key.startswith(names)), "everything else")
            spent[kind] += event.self_cpu_time_total / 1e3
        turns.append(spent)
    return {kind: min(spent[kind] for spent in turns) for kind in (*GROUPS, "everything else")}


def measure(name: str, found: list[Batch], rounds: int) -> dict[str, Any]:
    full = Step(name, gated=True)
    cases = []
    for kind in KINDS:
        for share in SHARES:
            step = Step(name, gated=True)
            removed(step, kind, share)
            cases.append((kind, share, step))
    seconds = take_turns([full, *(step for *_, step in cases)], found, rounds)
    before = profile(full, found[0])
    rows = []
    for (kind, share, step), taken in zip(cases, seconds[1:], strict=True):
        flops, time = step.macs / full.macs, ratio(taken, seconds[0])
        rows.append(
            {
                "removed": kind,
                "wanted": share,
                "flops ratio": flops,
                "time ratio": time,
                "time over flops": time["median"] / flops,
                "profile ratio": {k: v / before[k] for k, v in profile(step, found[0]).items() if before.get(k)},
                "seconds": taken,
            }
        )
        print(
            f"{name}, {kind}: {100 * flops:.0f} % of the FLOPs, {100 * time['median']:.0f} % of the time"
            f" ({100 * time['quartiles'][0]:.0f} to {100 * time['quartiles'][1]:.0f}),"
            f" {time['median'] / flops:.2f} of proportional",
            flush=True,
        )
    return {"network": name, "full profile ms": before, "full seconds": seconds[0], "rows": rows}


def main(arguments: list[str] | None = None) -> int:
    settings = tyro.cli(Settings, args=arguments, prog="python -m benchmarks.shrunk", description=__doc__)
    if min(settings.rounds, settings.batch, settings.threads) < 1:
        print("error: rounds, batch and threads must be ≥ 1", file=sys.stderr)
        return 2
    about = record.machine("benchmarks.shrunk")
    torch.set_num_threads(settings.threads)
    found, what = images(settings.data_folder, settings.batch, 4)
    networks = [
        measure(name, found, -(-settings.rounds // 2) if name in ("resnet56", "resnet110") else settings.rounds)
        for name in settings.networks
    ]
    result = {
        "images": what,
        "batch": settings.batch,
        "threads": settings.threads,
        "load at end": round(os.getloadavg()[0], 2),
        "networks": networks,
    }
    record.write(settings.output, {**about, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
