"""No pruning: what every system is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.data.source import Source
from training.engine.config import RunConfig
from training.engine.method import RunContext

__all__ = ["Unpruned"]


@dataclass(frozen=True)
class Unpruned:
    """No settings."""

    name: ClassVar[str] = "none"

    def run(self, config: RunConfig, source: Source) -> RunConfig:
        """As it is."""
        return config

    def method(self, setting: RunContext) -> None:
        """Nothing acts."""
