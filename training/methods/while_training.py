"""Pruning filters while training: at the end of epochs, the lowest-ranked filters leave for good.

After Roy et al., "Pruning Filters while Training for Efficiently Optimizing Deep Learning Networks" (arXiv 2003.02800),
read from its abstract: dynamic pruning during training by L1 norm, mean activation or at random, no retraining. The
paper's schedule is not at hand; this project's reading: an equal share of every layer's gated filters, in equal steps
at the ends of epochs from `first` to `last` (as shares of the run).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from training.data.source import Source, batch_count
from training.engine.config import RunConfig
from training.engine.method import Method, RunContext
from training.engine.pruning_method import PruningMethod
from training.errors import InputError
from training.methods.amount import check_fraction, removed_at, removed_by
from training.methods.criteria import check_criterion, looked_at, lowest, scores

__all__ = ["WhileTraining"]


@dataclass(frozen=True)
class WhileTraining:
    """Settings of pruning filters while training.

    Attributes:
        ratio: share of every group's units that is gone in the end, in (0, 1).
        criterion: which go first: those of lowest "l1" norm, mean "activation", or "random".
        first, last: when the first and the last removal are, as shares of the run; 0 ≤ first ≤ last < 1.
        images: training images looked at for a mean activation, ≥ 1.

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "while-training"
    ratio: float = 0.5
    criterion: str = "l1"
    first: float = 0.1
    last: float = 0.6
    images: int = 256

    def __post_init__(self) -> None:
        check_fraction("ratio", self.ratio)
        check_criterion(self.criterion, self.images)
        if not 0 <= self.first <= self.last < 1:
            raise InputError(f"first and last must be 0 ≤ first ≤ last < 1; got {self.first} and {self.last}")

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings as they are: there is no retraining."""
        return config

    def build(self, context: RunContext) -> Method:
        """Return what removes filters at the ends of epochs; see the top of the file."""
        return _FilterPruner(context, self)

    def epochs(self, total: int) -> range:
        """Return after which epochs filters leave; none after the last one, whose removal nothing could make up for.

        Args:
            total: epochs of the run.

        Raises:
            InputError: for a run of one epoch.

        Example:
            >>> WhileTraining(first=0.2, last=0.6).epochs(10)
            range(2, 7)
        """
        if total < 2:
            raise InputError(f"epochs must be ≥ 2, so that some are left after a removal; got {total}")
        first = min(max(1, round(self.first * total)), total - 1)
        return range(first, min(max(first, round(self.last * total)), total - 1) + 1)


class _FilterPruner(PruningMethod):
    """Acts at the ends of epochs. All it depends on is the step, the weights and the seed."""

    def __init__(self, context: RunContext, settings: WhileTraining) -> None:
        super().__init__(context)
        self.settings = settings
        self._each = batch_count(self.source, self.config.batch)
        self._epochs = settings.epochs(self.config.epochs)
        self.target = removed_at(settings.ratio, self.full)  # [group]
        self._sizes = np.array(self.gates.sizes[: len(self.gates.groups)])

    def select_removals(self, step: int) -> Bool[np.ndarray, " gate"] | None:
        epoch, rest = divmod(step, self._each)
        if rest or epoch not in self._epochs:
            return None
        gone = removed_by(self._epochs.index(epoch) + 1, len(self._epochs), self.target)
        already = self._sizes - np.array(self.gates.sizes[: len(self.gates.groups)])
        self.count_forward(looked_at(self.settings.criterion, self.source, self.settings.images))
        values = scores(
            self.settings.criterion,
            self.network,
            self.gates,
            self.source,
            seed=self.config.seed,
            images=self.settings.images,
        )
        return lowest(values, self.gates, gone - already)
