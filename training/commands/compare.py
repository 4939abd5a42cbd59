"""`python -m training compare …`: pruning methods side by side, in one table.

    OUT/METHOD/seedN/     a run each (`training.experiments.compare.one_run`)
    OUT/table.json        what came out, with the values of all seeds
    OUT/table.md, table.tex
    OUT/methods_compared.pdf, .png      accuracy against MACs left and against training cost

Called again, with the same settings or with more methods or seeds, it goes on with what is missing.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dynamics.commands.arguments import parse
from training.commands.preset_argument import preset_name
from training.errors import InputError
from training.experiments.compare.columns import NARROW, WIDE, grid, notes, title
from training.experiments.compare.latex import as_latex
from training.experiments.compare.markdown import as_markdown
from training.experiments.compare.plan import Plan, planned
from training.experiments.compare.settings import Compare, comparison
from training.experiments.compare.table import table
from training.experiments.compare.workers import worker
from training.experiments.run_result import drawn
from training.runtime.atomic_files import write_atomically, write_json
from training.runtime.interruption import goes_on
from training.runtime.process_group import Ranks
from training.runtime.run_folder import begun

__all__ = ["compare", "compare_methods"]


def compare_methods(arguments: list[str]) -> None:
    """Make the comparison that the arguments ask for, and say where it is.

    Args:
        arguments: what follows the command's name.

    Raises:
        InputError: before anything is trained, for whatever would stop a run; after it, if runs diverged.
        SystemExit: after help (0) or bad options (2).
    """
    chosen = comparison(preset_name(arguments, "digits"))
    asked = parse(Compare, "python -m training compare", arguments, chosen)
    with goes_on(f"the same command goes on with {asked.folder}"):
        folder = compare(asked)
    print(f"written: {folder}/table.json, table.md, table.tex, methods_compared.pdf and .png")


def compare(chosen: Compare, draw: bool = True) -> Path:
    """Make the runs that are missing and write the table of all; returns its folder.

    Args:
        chosen: what is compared.
        draw: also draw the figure.

    Raises:
        InputError: see `compare_methods`; the table of the runs that did not diverge is written first.
    """
    if chosen.cluster is not None:  # its workers may have another working directory
        chosen = replace(chosen, out=chosen.folder.resolve(), data_folder=chosen.data_folder.resolve())
    _check_place(chosen)
    plan = planned(chosen)
    failed = _make(plan)
    _write(plan, draw)
    if failed:
        raise InputError(f"without a result: {'; '.join(failed)}. The others are in {chosen.folder}")
    return chosen.folder


def _check_place(chosen: Compare) -> None:
    """Refuse a device on which nothing can be computed, and a folder that cannot be written to."""
    if "WORLD_SIZE" in os.environ:
        raise InputError("compare makes each run in one process: start it without torchrun, with --jobs or --cluster")
    if chosen.cluster is None:
        Ranks.of_environment(chosen.device)
    nearest = next(path for path in (chosen.folder, *chosen.folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"out must be a folder that can be written to; got {chosen.folder}, and {nearest} cannot be")
    if chosen.folder.exists() and not _may_hold_a_comparison(chosen.folder):
        raise InputError(
            f"out must be a new folder, or that of a comparison; got {chosen.folder}, which holds something else: "
            "choose another --out"
        )


def _may_hold_a_comparison(folder: Path) -> bool:
    """Return whether a folder is empty, or has METHOD/seedN/ of a comparison in it, perhaps one killed at its start.

    A run's own folder, that of many seeds and a folder of such folders are none: a comparison writes its settings
    beside no METHOD, and method.json into each run.
    """
    if not any(entry.suffix != ".partial" for entry in folder.iterdir()):
        return True
    if (folder / "config.json").exists():
        return False
    runs = [run for run in folder.glob("*/seed[0-9]*") if run.is_dir() and not (run.parent / "config.json").exists()]
    return any((run / "method.json").exists() or not begun(run) for run in runs)


def _make(plan: Plan) -> list[str]:
    """Make what is missing; what stopped those that stopped."""
    failed: list[str] = []
    waves = [[run for run in wave if run.result() is None] for wave in plan.waves()]
    every, missing = sum(map(len, plan.runs)), sum(map(len, waves))
    print(
        f"methods: {len(plan.entries)}, seeds: {plan.compare.seeds}; {missing} of {every} runs to make", file=sys.stderr
    )
    if missing:
        with worker(plan.compare.jobs, plan.compare.cluster) as make:
            for wave in waves:
                ready = [run for run in wave if run.ready]
                failed += [f"{run.name}: not made, as {run.first} has no result" for run in wave if not run.ready]
                if ready:
                    failed += [f"{run.name}: {why}" for run, why in make(ready) if why is not None]
    return failed


def _left_out(plan: Plan) -> list[str]:
    """Systems with runs in the folder that are not asked for now."""
    asked = {each.folder for each in plan.entries}
    return sorted({path.parent.parent.name for path in plan.compare.folder.glob("*/seed*/result.json")} - asked)


def _write(plan: Plan, draw: bool) -> None:
    result, folder = table(plan), plan.compare.folder
    if not result["rows"]:
        return  # not even the network that is not pruned was trained to its end
    write_json(folder / "table.json", result)
    write_atomically(folder / "table.md", as_markdown(result).encode())
    write_atomically(folder / "table.tex", as_latex(result).encode())
    if draw:
        _draw(folder)
    _show(plan, result)


def _show(plan: Plan, result: dict[str, Any]) -> None:
    """Print the table, as far as a terminal has room for it; every file is written before."""
    folder, console = plan.compare.folder, Console()
    headings, *rows = grid(result)
    chosen = [i for i, heading in enumerate(headings) if console.width >= WIDE or heading in NARROW]
    shown = Table(box=SIMPLE_HEAD, title=title(result))
    for i in chosen:
        shown.add_column(headings[i], overflow="fold")
    for row in rows:
        shown.add_row(*(row[i] for i in chosen))
    console.print(shown)
    console.print("\n".join(notes(result)), highlight=False)
    if len(chosen) < len(headings):
        console.print(f"The other columns are in {folder}/table.md.", highlight=False)
    if left_out := _left_out(plan):
        console.print(f"In {folder}, but not asked for and not in this table: {', '.join(left_out)}.", highlight=False)


def _draw(folder: Path) -> None:
    """Through the figure's own command, since training imports nothing of figures."""
    if not drawn("figures.methods_compared", str(folder)):
        raise InputError(f"comparison {folder} is complete, but its figure could not be drawn (see above)")
