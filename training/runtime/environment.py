"""The description of machine and software that is stored in environment.json beside every run."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Return where and how a result was made: command, git commit, versions, machine, time."""
    packages = ("torch", "numpy", "sympy", "numba", "scikit-learn", "pruning-dynamics")
    return {
        "command": shlex.join([*_starter(), _module(), *sys.argv[1:]]),
        "processes": int(os.environ.get("WORLD_SIZE", 1)),
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


def _starter() -> list[str]:
    """Return the command that started this process: python, or torchrun as far as its variables tell."""
    here, all_of_them = (os.environ.get(name, "1") for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    if all_of_them == "1":
        return [Path(sys.executable).name, "-m"]
    nodes = [] if here == all_of_them else ["--nnodes", str(int(all_of_them) // int(here))]
    return ["torchrun", *nodes, "--nproc-per-node", here, "-m", "--"]  # else torchrun takes --nu for one of its own


def _module() -> str:
    main = sys.modules["__main__"].__spec__
    if main:
        return main.name.removesuffix(".__main__")
    path = Path(sys.argv[0])  # of a spawned process, that of the file it was begun from
    return path.parent.name if path.name == "__main__.py" else path.name


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
