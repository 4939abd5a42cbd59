"""The baseline of pruning filters while training: the same filters leave after training, then there is retraining.

The abstract of arXiv 2003.02800 compares the compute of pruning while training with that of "training with retraining
for 10 epochs"; what it prunes by is taken to be the same criterion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from training.engine.method import Method, RunContext
from training.methods.after_training import AfterTraining, PrunesOnce
from training.methods.amount import check_fraction, removed_at
from training.methods.criteria import check_criterion, looked_at, lowest, scores

__all__ = ["PruneAndRetrain"]


@dataclass(frozen=True)
class PruneAndRetrain(AfterTraining):
    """Settings of pruning filters after training.

    Attributes:
        ratio: share of every group's units that leaves, in (0, 1).
        criterion: which: those of lowest "l1" norm, mean "activation", or "random".
        images: training images looked at for a mean activation, ≥ 1.

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "prune-and-retrain"
    ratio: float = 0.5
    criterion: str = "l1"
    images: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("ratio", self.ratio)
        check_criterion(self.criterion, self.images)

    def build(self, context: RunContext) -> Method:
        """Return what removes filters between the phases."""
        return _FilterPruner(context, self)


class _FilterPruner(PrunesOnce):
    def __init__(self, context: RunContext, settings: PruneAndRetrain) -> None:
        super().__init__(context, settings)
        self.settings = settings
        self.target = removed_at(settings.ratio, self.full)  # [group]

    def choose(self) -> Bool[np.ndarray, " gate"]:
        chosen = self.settings
        self.count_forward(looked_at(chosen.criterion, self.source, chosen.images))
        values = scores(
            chosen.criterion, self.network, self.gates, self.source, seed=self.config.seed, images=chosen.images
        )
        return lowest(values, self.gates, self.target)
