"""The files that pooled runs end in, and the error that is raised where the theory is refuted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.errors import RefutedError
from training.evidence.result import evidence
from training.evidence.runs import open_run
from training.evidence.tables import CALIBRATION, as_markdown
from training.runtime.atomic_files import read_json, write_atomically, write_json
from training.runtime.environment import environment

__all__ = ["conclude", "judge_run", "stop_if_refuted"]


def conclude(result: dict[str, Any], out: Path) -> str:
    """Write a result of `training.evidence.result.evidence` and its tables beside it.

    Args:
        result: of shadow runs.
        out: the JSON file; the tables go to the same name ending in .md.

    Returns:
        The tables that a terminal shows.
    """
    text = as_markdown(result)
    write_json(out, result | {"made": environment()})
    write_atomically(out.with_suffix(".md"), text.encode())
    return text.partition(CALIBRATION)[0].rstrip()


def stop_if_refuted(result: dict[str, Any], out: Path) -> None:
    """Raise if a certificate was refuted.

    Raises:
        RefutedError: naming the first such gate and the file that lists all of them.
    """
    if result["refutations"]:
        refuted = [f"{entry['run']}: {entry['gate']}" for entry in result["gates"] if entry["verdict"] == "refutation"]
        raise RefutedError(f"by {len(refuted)} gates, first {refuted[0]}: see `gates` in {out}")


def judge_run(folder: Path) -> None:
    """Hold the certificates of one finished shadow run against what its gates did: evidence.json and evidence.md.

    Those of a run that has been judged are left as they are.

    Raises:
        RefutedError: if one was refuted; everything is written before.
    """
    out = folder / "evidence.json"
    result = read_json(out)
    if result is None:
        result = evidence([open_run(folder)])
        conclude(result, out)
    stop_if_refuted(result, out)
