"""`python -m training export RUN`: the network that a run found, as files that need nothing of this package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import nn

from dynamics.command_line import parse
from dynamics.complexity import Structure
from training.export import export
from training.export.atomic_folder import check_free
from training.export.packages import require_packages
from training.gates import Gates
from training.source import Source

__all__ = ["Export", "Restored", "export_run"]


@dataclass(frozen=True)
class Export:
    """Write a run's pruned network as plain PyTorch and as ONNX, with its measured accuracy."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    out: Path | None = None
    """Folder to write; by default RUN/export. Must not exist."""


@dataclass(frozen=True)
class Restored:
    """What a run folder holds.

    Attributes:
        name: of the network.
        network: as it was left, shrunken where gates were removed.
        gates: its own.
        source: the data that it was trained on.
        full: structure of the network before anything was removed.
        about: the run's own settings and command, to be kept beside the network.
    """

    name: str
    network: nn.Module
    gates: Gates
    source: Source
    full: Structure | None = None
    about: dict[str, Any] = field(default_factory=dict)


def export_run(arguments: list[str], restored: Callable[[Path], Restored]) -> None:
    """The command; prints what was written.

    Args:
        arguments: what follows the command's name.
        restored: reads a run folder; raises InputError for one that it cannot read.

    Raises:
        InputError: see `training.export.export`.
        SystemExit: after help (0) or bad options (2).
    """
    config = parse(Export, "python -m training export", arguments)
    folder = config.out if config.out is not None else config.run / "export"
    require_packages()  # before anything that takes time
    check_free(folder)
    run = restored(config.run)
    export(run.network, run.gates, folder, run.source, name=run.name, full=run.full, run=run.about)
    lines = (folder / "README.md").read_text().splitlines()
    print("\n".join(line for line in lines if line.startswith(("# ", "- "))))
    print(f"exported: {folder}")
