"""`python -m training evidence RUN [RUN …] --out FILE`: pool shadow runs into one result file and its tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dynamics.commands.arguments import parse
from training.errors import InputError
from training.evidence.conclusion import conclude, stop_if_refuted
from training.evidence.pairs import mode_of, open_ended, pairs
from training.evidence.result import evidence, grouped
from training.evidence.runs import open_run
from training.runtime.atomic_files import check_replaceable
from training.runtime.progress import Progress

__all__ = ["Evidence", "pool_runs"]


@dataclass(frozen=True)
class Evidence:
    """Pool finished runs: of shadow runs rates with intervals, broken assumptions, refutations, headroom, growth; of
    prune runs what differs from the shadow run of the same settings and seed."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, each a different seed or different settings; prune runs only beside their shadow runs."""
    out: Path
    """Result file, ending in .json; the tables are written beside it, ending in .md."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise InputError("runs must name at least one run folder; got none")
        if self.out.suffix != ".json":
            raise InputError(f"out must end in .json; got {self.out}")
        if not self.out.parent.is_dir():
            raise InputError(f"out must lie in a folder that exists; got {self.out}")
        check_replaceable(self.out, ("refutations", "gates", "all"))


def pool_runs(arguments: list[str]) -> None:
    """Write the result and its tables; everything is written before refutations end the command.

    Raises:
        InputError: for a folder that is no finished run, one that is there twice, no shadow run, or a prune run
            without its shadow run.
        RefutedError: if there is a refutation.
    """
    chosen = parse(Evidence, "python -m training evidence", arguments)
    shadows = [folder for folder in chosen.runs if mode_of(folder) == "shadow"]
    prunes = [folder for folder in chosen.runs if folder not in shadows]
    runs = [open_run(folder) for folder in shadows]
    # Without a prune run nothing is asked of how the shadow runs ended, which older ones do not say.
    ends = [open_ended(folder) for folder in shadows] if prunes else []
    compared = pairs(ends, [open_ended(folder) for folder in prunes])
    with Progress("evidence", 2 + len(grouped(runs))) as progress:
        result = evidence(runs, progress.advance) | {"pairs": compared}
    print(conclude(result, chosen.out))
    print(f"written: {chosen.out}, {chosen.out.with_suffix('.md')}", file=sys.stderr)
    stop_if_refuted(result, chosen.out)
