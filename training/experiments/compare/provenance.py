"""The origin of the runs of a table: their own records, not those of the command that put the table together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from training.experiments.compare.one_run import Run

__all__ = ["made_by", "provenance"]

_SAME = ("command", "git", "python", "packages", "machine")
#: What of a machine decides how long a run takes.
_SPEED = ("processor", "cores", "threads", "accelerator")


def provenance(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what runs that have begun were begun with, those of the same beginnings together.

    Returns:
        A list of: command, git (commit, modified), python, packages, machine and device; started, of the first; runs,
        their names; resumed, those that were continued later, perhaps elsewhere.
    """
    found: list[dict[str, Any]] = []
    for run in runs:
        made, settings = (json.loads((run.folder / name).read_text()) for name in ("environment.json", "config.json"))
        about = {name: made[name] for name in _SAME} | {"device": settings["device"]}
        alike = [each for each in found if all(each[name] == about[name] for name in about)]
        if not alike:
            alike = [about | {"started": made["started"], "runs": [], "resumed": []}]
            found += alike
        alike[0]["started"] = min(alike[0]["started"], made["started"])
        alike[0]["runs"].append(run.name)
        if made.get("resumed"):
            alike[0]["resumed"].append(run.name)
    return found


def made_by(found: Sequence[dict[str, Any]]) -> list[str]:
    """Say the same in sentences."""
    told = []
    for each in found:
        commit = (each["git"] or {}).get("commit") or "unknown"
        state = ", modified" if (each["git"] or {}).get("modified") else ""
        machine = each["machine"]
        where = each["device"] if not machine["accelerator"] else f"{each['device']} ({machine['accelerator']})"
        runs = "1 run" if len(each["runs"]) == 1 else f"{len(each['runs'])} runs"
        processor = f"{machine['processor']}, {machine['cores']} cores, threads of a run: {machine['threads']}"
        told.append(
            f"{runs} made with `{each['command']}` (commit {commit[:10]}{state}; {processor}; {where}; "
            f"begun {each['started'][:10]})."
        )
    if len({(each["device"], *(each["machine"][name] for name in _SPEED)) for each in found}) > 1:
        told.append("They were made on machines, or with numbers of threads, that differ: times do not compare.")
    return told
