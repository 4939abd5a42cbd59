"""`python -m training evidence RUN [RUN …] --out FILE`: pool shadow runs into one result file and its tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dynamics.command_line import parse
from training.errors import InputError, RefutedError
from training.evidence.result import evidence, grouped
from training.evidence.runs import open_run
from training.evidence.tables import CALIBRATION, as_markdown
from training.progress import Progress
from training.rundir import environment, write_atomically, write_json

__all__ = ["Evidence", "pool_runs"]


@dataclass(frozen=True)
class Evidence:
    """Pool finished shadow runs: rates with intervals, broken assumptions, refutations, headroom, growth."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, each a different seed or different settings."""
    out: Path
    """Result file, ending in .json; the tables are written beside it, ending in .md."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise InputError("runs must name at least one run folder; got none")
        if self.out.suffix != ".json":
            raise InputError(f"out must end in .json; got {self.out}")
        if not self.out.parent.is_dir():
            raise InputError(f"out must lie in a folder that exists; got {self.out}")


def pool_runs(arguments: list[str]) -> None:
    """Write the result and its tables; everything is written before refutations end the command.

    Raises:
        InputError: for a folder that is no finished shadow run, or one that is there twice.
        RefutedError: if there is a refutation.
    """
    chosen = parse(Evidence, "python -m training evidence", arguments)
    runs = [open_run(folder) for folder in chosen.runs]
    with Progress("evidence", 2 + len(grouped(runs))) as progress:
        result = evidence(runs, progress.advance)
    text = as_markdown(result)
    write_json(chosen.out, result | {"made": environment()})
    write_atomically(chosen.out.with_suffix(".md"), text.encode())
    print(text.partition(CALIBRATION)[0].rstrip())
    print(f"written: {chosen.out}, {chosen.out.with_suffix('.md')}", file=sys.stderr)
    if result["refutations"]:
        refuted = [f"{entry['run']}: {entry['gate']}" for entry in result["gates"] if entry["verdict"] == "refutation"]
        raise RefutedError(f"by {len(refuted)} gates, first {refuted[0]}: see `gates` in {chosen.out}")
