"""`python -m training data cifar10`: download a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dynamics.commands.arguments import parse
from training.data.archives import ARCHIVES
from training.data.fetch import fetch
from training.runtime.interruption import goes_on

__all__ = ["Data", "data"]


@dataclass(frozen=True)
class Data:
    """Download a data set's official archive, verify its checksums and unpack it."""

    name: Annotated[Literal["cifar10", "cifar100"], tyro.conf.Positional]
    """Which data set."""
    folder: Path = Path("data")
    """Where data sets are kept."""
    url: str | None = None
    """A mirror to take the archive from; its checksums must still be the published ones."""


def data(arguments: list[str]) -> None:
    """Download what the arguments ask for, and print one line.

    Raises:
        InputError: nothing could be downloaded, or it was not what is expected; the message says what to do.
        SystemExit: after help (0) or bad options (2).
    """
    config = parse(Data, "python -m training data", arguments)
    with goes_on("what was received is kept, and the same command continues it"):
        print(fetch(ARCHIVES[config.name], config.folder, config.url))
