"""`python -m benchmarks [--only flow|margin] …`: time, print, write benchmarks/results/NAME.json."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from benchmarks import record


@dataclass(frozen=True)
class Benchmarks:
    """Time ours against peers. For diffrax: pip install -e '.[bench]'. Wants a quiet machine."""

    only: Literal["all", "flow", "margin"] = "all"
    """Which benchmark."""
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    """Numbers of states."""
    repeats: int = 3
    """The median of so many turns is reported."""
    largest_peer: int = 100_000
    """diffrax gets at most so many states; its rate does not depend on their number beyond the batch."""
    batches: tuple[int, ...] = (100, 500, 2000, 10_000)
    """States in one vmap of diffrax: the fastest of these is the one compared with."""
    output: Path = Path(__file__).parent / "results"
    """Folder for the result files."""


def main() -> int:
    options = tyro.cli(Benchmarks, prog="python -m benchmarks")
    if options.repeats < 1 or min(options.batches, default=0) < 1 or not options.sizes or min(options.sizes) < 1:
        print("error: sizes, repeats and batches must be ≥ 1", file=sys.stderr)
        return 2

    def say(line: str) -> None:
        print(line, flush=True)

    about = record.machine()
    if options.only in ("all", "flow"):
        from benchmarks import flow

        found = flow.run(list(options.sizes), options.repeats, options.largest_peer, list(options.batches), say)
        record.write(options.output / "flow.json", {**about, **found})
    if options.only in ("all", "margin"):
        from benchmarks import margin

        record.write(options.output / "margin.json", {**about, **margin.run(options.repeats, say)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
