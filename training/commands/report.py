"""`python -m training report RUN [RUN …]`: one HTML page that says what came out of one or more runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dynamics.commands.arguments import parse
from training.errors import InputError
from training.reports.html import page, read_runs
from training.runtime.atomic_files import write_atomically

__all__ = ["Report", "write_page"]


@dataclass(frozen=True)
class Report:
    """Write a page about finished runs; it needs no network and no other file."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders of many seeds. Several are put side by side."""
    out: Path | None = None
    """Where to write; by default report.html in the one folder named, or here for several."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise InputError("runs must name at least one run folder; got none")
        if self.out is not None and (self.out.suffix != ".html" or not self.out.parent.is_dir()):
            raise InputError(f"out must end in .html and lie in a folder that exists; got {self.out}")


def write_page(arguments: list[str]) -> None:
    """Write the page of the runs named in `arguments`.

    Raises:
        InputError: for a folder that is no finished run, or one that is there twice.
    """
    chosen = parse(Report, "python -m training report", arguments)
    runs = read_runs(chosen.runs)
    try:
        text = page(runs)
    except (KeyError, TypeError) as error:
        names = ", ".join(map(str, chosen.runs))
        raise InputError(f"results in {names} are of another version of this package ({error!r})") from None
    out = chosen.out or (chosen.runs[0] if len(chosen.runs) == 1 else Path()) / "report.html"
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another --out") from error
    print(f"written: {out}")
