"""`python -m training export RUN`: the network that a run found, as files that need nothing of this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dynamics.commands.arguments import parse
from training.engine.stored_network import restored
from training.export import export
from training.export.atomic_folder import check_free
from training.export.packages import require_packages

__all__ = ["Export", "export_run"]


@dataclass(frozen=True)
class Export:
    """Write a run's pruned network as plain PyTorch and as ONNX, with its measured accuracy."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    out: Path | None = None
    """Folder to write; by default RUN/export. Must not exist."""
    data_folder: Path | None = None
    """Where the data set's files are; by default where they were for the run."""


def export_run(arguments: list[str]) -> None:
    """Export what the arguments ask for, and print what was written.

    Args:
        arguments: what follows the command's name.

    Raises:
        InputError: see `training.engine.stored_network.restored` and `training.export.export`.
        SystemExit: after help (0) or bad options (2).
    """
    config = parse(Export, "python -m training export", arguments)
    folder = config.out if config.out is not None else config.run / "export"
    require_packages()  # before anything that takes time
    check_free(folder)
    run = restored(config.run, config.data_folder)
    export(run.network, run.gates, folder, run.source, name=run.name, full=run.full, run=run.about)
    lines = (folder / "README.md").read_text().splitlines()
    print("\n".join(line for line in lines if line.startswith(("# ", "- "))))
    print(f"exported: {folder}")
