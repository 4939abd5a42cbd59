"""`python -m training resume RUN`: go on with an interrupted run."""

from __future__ import annotations

from pathlib import Path

from training.commands.validate import conclude_run
from training.errors import InputError
from training.experiments.seeds import resume_any

__all__ = ["resume_run"]


def resume_run(arguments: list[str]) -> None:
    """Go on with the run, or the runs of many seeds, in the folder that the one argument names.

    Raises:
        InputError: unless there is exactly one argument, the folder of a run that can be resumed.
        RefutedError: as `python -m training validate`.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise InputError("usage: python -m training resume RUN")
    conclude_run(resume_any(Path(arguments[0])))
