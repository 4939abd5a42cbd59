"""The result of a validation run: what table.json says of the gated network, and the run's picture."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.certificates.history import open_history
from training.engine.config import RunConfig, to_json
from training.engine.loop import Training
from training.engine.position import Trained
from training.errors import InputError
from training.evidence.audit import audit
from training.reports.gate_paths import gate_paths
from training.runtime.run_folder import RunFolder

__all__ = ["MADE_OF_RESULTS", "PICTURE", "draw_gate_paths", "drawn", "gated_result"]

#: The picture of a run, in the formats that `figures.style.save` writes.
PICTURE = ("gate_paths.pdf", "gate_paths.png")

#: Files of a run that are made of its results, when it is finished.
MADE_OF_RESULTS = (*PICTURE, "evidence.json", "evidence.md")


def gated_result(
    config: RunConfig, training: Training, trained: Trained, provenance: str, folder: RunFolder
) -> dict[str, Any]:
    """Return what table.json holds of the gated network, and write gate_paths.json beside it.

    Args:
        config: settings.
        training: at its end.
        trained: what it ended with.
        provenance: of the data.
        folder: of the run, with its histories.
    """
    history = open_history(folder.path / "gates.zarr").load()
    folder.json("gate_paths.json", gate_paths(history, config.tracker.warmup))
    result = {
        "preset": config.preset,
        "mode": config.mode,
        "data": provenance,
        "seed": config.seed,
        "epochs": config.epochs,
        "steps": trained.steps,
        "warmup": config.tracker.warmup,
        "settings": to_json(config),
        "gated": asdict(trained) | training.method.counts(),
        "command": folder.read("environment.json")["command"],
    }
    if config.mode == "shadow":
        tables = audit(history, config.tracker.warmup)
        result |= {kind: [asdict(row) for row in rows] for kind, rows in tables.items()}
    return result


def draw_gate_paths(folder: Path) -> None:
    """Draw the run's picture by the command of `figures`, since training imports nothing of that package.

    Args:
        folder: of the run.

    Raises:
        InputError: if the picture could not be drawn; the run is complete all the same.
    """
    if not drawn("figures", "gate_paths", "--run", str(folder)):
        raise InputError(f"run {folder} is complete, but its figure could not be drawn (see above)")


def drawn(module: str, *arguments: str) -> bool:
    """Call a command of the package figures, and return whether it succeeded.

    What it says on standard output is said by this process, whose terminal may lack its letters and whose reader may
    have left: neither keeps a picture from being drawn.

    Args:
        module: figures, or one of its modules.
        arguments: of the command.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    print(done.stdout, end="")
    return not done.returncode
