"""No pruning: what every system is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.data.source import Source
from training.engine.config import Validate
from training.engine.method import Setting

__all__ = ["Unpruned"]


@dataclass(frozen=True)
class Unpruned:
    """No settings."""

    name: ClassVar[str] = "none"

    def run(self, config: Validate, source: Source) -> Validate:
        """As it is."""
        return config

    def method(self, setting: Setting) -> None:
        """Nothing acts."""
