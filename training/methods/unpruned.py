"""No pruning: what every method is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.data.source import Source
from training.engine.config import RunConfig
from training.engine.method import Method, NoPruning, RunContext

__all__ = ["Unpruned"]


@dataclass(frozen=True)
class Unpruned:
    """Settings of training without pruning: none."""

    name: ClassVar[str] = "none"

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings as they are."""
        return config

    def build(self, context: RunContext) -> Method:
        """Return a method that does nothing."""
        return NoPruning(context)
