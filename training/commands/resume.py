"""`python -m training resume RUN`: go on with an interrupted run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dynamics.commands.arguments import parse
from training.commands.validate import conclude_run
from training.experiments.seeds import resume_any

__all__ = ["Resume", "resume_run"]


@dataclass(frozen=True)
class Resume:
    """Go on with an interrupted run, or with the runs of many seeds, from the last checkpoint of each."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, or folder of many seeds."""


def resume_run(arguments: list[str]) -> None:
    """Go on with the run, or the runs of many seeds, in the folder that the one argument names.

    Raises:
        InputError: unless it is the folder of a run that can be resumed.
        RefutedError: as `python -m training validate`.
        SystemExit: after help (0) or bad options (2).
    """
    conclude_run(resume_any(parse(Resume, "python -m training resume", arguments).run))
