"""`python -m training validate`: train with gates, and judge every rule or prune by one."""

from __future__ import annotations

from pathlib import Path

from dynamics.commands.arguments import parse
from training.commands.preset_argument import preset_name
from training.engine.config import RunConfig, from_json, preset
from training.errors import InputError, RefutedError
from training.evidence.conclusion import judge_run
from training.experiments.run_result import PICTURE, draw_gate_paths
from training.experiments.seeds import validate_seeds
from training.experiments.validate import validate
from training.reports.text import print_result
from training.runtime.atomic_files import read_json
from training.runtime.run_folder import settings_in

__all__ = ["conclude_run", "validate_run"]


def validate_run(arguments: list[str]) -> None:
    """Make the run, or the runs of many seeds, that the arguments ask for.

    Raises:
        InputError: for bad settings or data.
        RefutedError: if a certificate's own bounding ODE does not end in zero, after everything is written.
        SystemExit: after help (0) or bad options (2).
    """
    chosen = preset(preset_name(arguments, RunConfig.preset))
    config = parse(RunConfig, "python -m training validate", arguments, chosen)
    conclude_run(validate(config) if config.seeds == 1 else validate_seeds(config))


def conclude_run(folder: Path | None) -> None:
    """Judge the certificates of a single shadow run, draw its picture, print what came out of it, and where it lies.

    Everything is written before anything is printed, since whoever reads may leave in the middle; and the certificates
    are judged before the picture is drawn, which may fail. What a finished run has is left as it is.

    Args:
        folder: of the run; None in processes that train along.

    Raises:
        RefutedError: if the theory is refuted.
        InputError: if there is nothing to judge, or the picture could not be drawn.
    """
    if folder is None:
        return
    config = from_json(settings_in(folder))
    problems: list[Exception] = []
    if config.seeds == 1:  # many seeds have been judged together
        for conclude in (judge_run, _draw) if config.mode == "shadow" else (_draw,):
            try:
                conclude(folder)
            except (RefutedError, InputError) as problem:
                problems.append(problem)
        print_result(read_json(folder / "table.json"))
    print(f"run folder: {folder}")
    if problems:
        raise problems[0]


def _draw(folder: Path) -> None:
    """Draw the picture of a run that has none."""
    if not all((folder / name).exists() for name in PICTURE):
        draw_gate_paths(folder)
