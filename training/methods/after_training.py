"""Train, prune once, retrain: what all methods that start from a trained network have in common.

The run has two phases. The first is training without pruning, step for step (so its end is the trained network of a run
without pruning, of the same seed and as many epochs). Then the method's choice leaves at once, and the second phase
trains what is left, with a cosine schedule of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from training.data.source import Source, batch_count
from training.engine.config import RunConfig
from training.engine.method import RunContext
from training.engine.optimizer import cosine
from training.engine.pruning_method import PruningMethod
from training.errors import InputError

__all__ = ["AfterTraining", "PrunesOnce"]


@dataclass(frozen=True)
class AfterTraining:
    """Settings of the second phase.

    Attributes:
        retrain: epochs of the second phase, ≥ 1, on top of the run's own.
        peak: its first learning rate, as a share of the run's, in (0, 1].

    Raises:
        InputError: for a setting out of range.
    """

    retrain: int = 10
    peak: float = 0.1

    def __post_init__(self) -> None:
        if self.retrain < 1:
            raise InputError(f"retrain must be ≥ 1 epochs; got {self.retrain}")
        if not 0 < self.peak <= 1:
            raise InputError(f"peak must be in (0, 1]; got {self.peak}")

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings with the epochs of the second phase."""
        return replace(config, epochs=config.epochs + self.retrain)


class PrunesOnce(PruningMethod, ABC):
    """A method that prunes between the phases.

    Args:
        context: of a run whose epochs are those of both phases.
        phases: settings.
    """

    def __init__(self, context: RunContext, phases: AfterTraining) -> None:
        super().__init__(context)
        self.phases = phases
        self._border = batch_count(self.source, self.config.batch) * (self.config.epochs - phases.retrain)
        if self._border < 1:
            raise InputError(
                f"epochs must be more than the {phases.retrain} of retraining; got {self.config.epochs} in all"
            )

    def lr_factor(self, step: int, steps: int) -> float:
        """Return a cosine over each phase."""
        if step < self._border:
            return cosine(step, self._border)
        return self.phases.peak * cosine(step - self._border, steps - self._border)

    def select_removals(self, step: int) -> Bool[np.ndarray, " gate"] | None:
        """Return everything that goes, at once, between the phases."""
        return self.choose() if step == self._border else None

    @abstractmethod
    def choose(self) -> Bool[np.ndarray, " gate"]:
        """Return which gates of the trained network leave."""
