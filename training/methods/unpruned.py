"""No pruning: what every system is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from training.config import Validate
from training.method import Setting
from training.source import Source

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
