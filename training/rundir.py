"""A run's folder: configuration, environment, scalars, histories, checkpoint, results.

config.json       what was asked for
environment.json  versions, machine, git commit, command
scalars.jsonl     one JSON object a line, appended as training goes
gates.zarr        gate histories
checkpoint.pt     the last state of network and gates
gate_paths.json   gate paths, small enough to keep beside the table
    table.json        what the audit found
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.errors import InputError

__all__ = ["RunFolder", "environment", "write_atomically", "write_json"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary name, then rename: a reader sees the old file or the new one, never half of it."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(data)
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """JSON, indented unless it is long, written atomically."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) < 20_000:
        text = json.dumps(value, ensure_ascii=False, indent=1)
    write_atomically(path, (text + "\n").encode())


class RunFolder:
    """Creates a run's folder and writes into it.

    Args:
        path: must not exist, or be an empty folder.

    Raises:
        InputError: if something is there already, or the folder cannot be made or written to.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"run folder {path} exists already: choose another --out, or remove it")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"run folder {path} cannot be made ({error.strerror}): choose another --out") from error
        if not os.access(path, os.W_OK):
            raise InputError(f"run folder {path} cannot be written to: choose another --out")
        self.path = path

    def json(self, name: str, value: Any) -> None:
        """Write `name` as JSON."""
        write_json(self.path / name, value)

    def scalars(self, **values: object) -> None:
        """Append one line to scalars.jsonl."""
        with (self.path / "scalars.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")

    def checkpoint(self, state: dict[str, Any]) -> None:
        """Replace checkpoint.pt by a new one, atomically."""
        path = self.path / "checkpoint.pt"
        temporary = path.with_name("checkpoint.pt.partial")
        torch.save(state, temporary)
        temporary.replace(path)


def environment() -> dict[str, Any]:
    """Where and how a result was made: command, git commit, versions, machine, time."""
    packages = ("torch", "numpy", "sympy", "numba", "scikit-learn", "pruning-dynamics")
    return {
        "command": " ".join([Path(sys.executable).name, "-m", _module(), *sys.argv[1:]]),
        "git": _git(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "system": platform.platform(),
        },
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _module() -> str:
    main = sys.modules["__main__"].__spec__
    return main.name.removesuffix(".__main__") if main else Path(sys.argv[0]).name


def _git() -> dict[str, Any] | None:
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None  # not a checkout, or no git


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ImportError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
