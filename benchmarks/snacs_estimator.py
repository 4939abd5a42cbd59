"""SNACS' conditional information: against brute force at the method's size, and against the number of samples.

The brute force regresses anew for each pair and compares all pairs of samples; the time of a pair is taken from a few
with two other parents, so that what its own regressions would cost is left out. All times are processor time, of one
process, ours and the peer in turn; machine code is made before.

    python -m benchmarks.snacs_estimator
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks import record
from training.methods.snacs.cells import Hashing
from training.methods.snacs.estimator import conditional_information, reference


@dataclass(frozen=True)
class Estimator:
    """Time the estimator of conditional information."""

    filters: tuple[int, ...] = (16, 64, 128)
    """Filters of the layer, and of the one before it."""
    samples: tuple[int, ...] = (2500, 5000, 10_000, 20_000)
    """Samples; the first is what the method takes."""
    repeats: int = 3
    """The least of so many turns is reported."""
    output: Path = Path(__file__).parent / "results"
    """Folder for the result file."""


def layer(n: int, filters: int) -> tuple[np.ndarray, np.ndarray]:
    """Return children and parents of a random layer with ReLUs and noise, each [n, filters]."""
    random = np.random.default_rng(0)
    y = random.standard_normal((n, filters))
    x = y @ random.standard_normal((filters, filters)) / np.sqrt(filters) + 0.3 * random.standard_normal((n, filters))
    return np.maximum(x, 0), np.maximum(y, 0)


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> int:
    options = tyro.cli(Estimator, prog="python -m benchmarks.snacs_estimator")
    if options.repeats < 1 or min((*options.filters, *options.samples), default=0) < 3:
        print("error: repeats must be ≥ 1, filters and samples ≥ 3, one at least of each", file=sys.stderr)
        return 2
    once = Hashing(tables=1)
    conditional_information(*(part[:10, :1] for part in layer(10, 1)), once)
    against, growth = [], []
    for filters in options.filters:
        x, y = layer(options.samples[0], filters)
        turns = [
            (
                seconds(lambda x=x, y=y: conditional_information(x, y, once)),
                seconds(lambda x=x, y=y: reference(x[:, :2], y[:, :3], once)) / 6 * filters**2,
            )
            for _ in range(options.repeats)
        ]
        ours, peer = map(min, zip(*turns, strict=True))
        against.append({"filters": filters, "seconds": ours, "brute_force": peer, "ratio": peer / ours})
        print(f"{filters} filters: {ours:.3f} s, brute force {peer:.1f} s: {peer / ours:.0f} times", flush=True)
    x, y = layer(max(options.samples), 8)
    for n in options.samples:
        spent = min(seconds(lambda n=n: conditional_information(x[:n], y[:n])) for _ in range(options.repeats))
        growth.append({"samples": n, "seconds": spent})
        print(f"{n} samples: {spent:.3f} s", flush=True)
    record.write(options.output / "snacs_estimator.json", {**record.machine(), "against": against, "growth": growth})
    return 0


if __name__ == "__main__":
    sys.exit(main())
