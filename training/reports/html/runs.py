"""The result files of finished runs, from which alone the page is made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.certificates.fates import fates
from training.certificates.history import sound_history
from training.errors import InputError
from training.evidence.run_verdict import RunVerdict, run_verdict
from training.reports.gate_paths import gate_paths
from training.runtime.atomic_files import read_json
from training.runtime.readable import check_file

__all__ = ["PageRun", "read_runs"]


@dataclass(frozen=True)
class PageRun:
    """One finished run.

    Attributes:
        name: of its folder, in the page's headings.
        result: of table.json.
        paths: as `training.reports.gate_paths.gate_paths` makes them.
        scalars: lines of scalars.jsonl; none where the file is not there.
        environment: of environment.json; empty where it is not there.
        verdict: on its certificates.
    """

    name: str
    result: dict[str, Any]
    paths: dict[str, Any]
    scalars: list[dict[str, Any]]
    environment: dict[str, Any]
    verdict: RunVerdict

    @property
    def removed(self) -> list[int]:
        """Step at which each gate left the network, −1 for never. [gate]"""
        steps = [-1] * len(self.paths["gates"])
        for line in self.scalars:
            for gate in line.get("removed", ()):
                steps[gate] = line["step"]
        return steps

    @property
    def macs_left(self) -> int | None:
        """Multiply–accumulates of an image in a prune run's network as it was trained, undecided gates still in it.

        None for a shadow run, from which nothing leaves.
        """
        if self.result.get("mode") != "prune":
            return None
        left = [line["macs_left"] for line in self.scalars if "macs_left" in line]
        return int(left[-1]) if left else int(self.result["gated"]["macs_full"])

    def epochs(self, network: str) -> list[dict[str, Any]]:
        """Return the scalars of each epoch of the "gated" or the "ungated" network."""
        return [line for line in self.scalars if line.get("network") == network and "epoch" in line]


def read_runs(folders: Sequence[Path]) -> list[PageRun]:
    """Return the runs in these folders; a folder of many seeds stands for the runs in it.

    Raises:
        InputError: for a folder without a run, an unfinished or damaged one, or one named twice.
    """
    runs = [run for folder in folders for run in _expanded(folder)]
    twice = [run for i, run in enumerate(runs) if run.resolve() in {other.resolve() for other in runs[:i]}]
    if twice:
        raise InputError(f"run {twice[0]} is named twice")
    alike = len({run.name for run in runs}) < len(runs)
    return [_read(run, str(run) if alike else run.name) for run in runs]


def _expanded(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"no run folder {folder}")
    settings = read_json(folder / "config.json")
    if settings is None:
        raise InputError(f"{folder} is no run folder: it holds no config.json")
    if not isinstance(settings, dict) or settings.get("seeds", 1) == 1:
        return [folder]
    runs = sorted((each for each in folder.glob("seed*") if each.is_dir()), key=lambda run: (len(run.name), run.name))
    if not runs:
        raise InputError(f"{folder} holds no runs yet")
    return runs


def _read(folder: Path, name: str) -> PageRun:
    result = read_json(folder / "table.json")
    if result is None:
        raise InputError(f"run {folder} is not finished: continue it by python -m training resume {folder}")
    try:
        paths = _paths(folder, result)
        return PageRun(
            name=name,
            result=result,
            paths=paths,
            scalars=_scalars(folder / "scalars.jsonl"),
            environment=read_json(folder / "environment.json") or {},
            verdict=run_verdict(result, len(paths["gates"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the results in {folder} are of another version of this package ({error!r})") from None


def _paths(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Return the gate paths from the history where it is there, since it is whole; else from gate_paths.json."""
    if (folder / "gates.zarr").is_dir():
        return gate_paths(sound_history(folder / "gates.zarr"), result["warmup"])
    paths = read_json(folder / "gate_paths.json")
    if paths is None:
        raise InputError(f"{folder} holds neither gates.zarr nor gate_paths.json")
    if any(value is None for row in paths["theta"] for value in row):
        raise InputError(f"{folder / 'gate_paths.json'} is damaged: θ of every gate must be a number at every record")
    if "died" not in paths:  # written before it was: found again, to the records that were kept
        paths["died"] = fates(np.array(paths["steps"]), np.array(paths["theta"])).death.tolist()
    return paths


def _scalars(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    check_file(path)
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line]
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
