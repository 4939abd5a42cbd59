"""Concurrent training and layer pruning: one gate a residual branch, and none on units.

After Guenter and Sideris, "Concurrent Training and Layer Pruning of Deep Neural Networks" (arXiv 2406.04549), of which
the listing at hand says: irrelevant layers are identified and eliminated in the early stages of training, with residual
connections around nonlinear network sections, so that information flows on once a section is gone. So this is this
project's own equations at α = 1 with no gates on units (`training.methods.views`). Removal is that of prune mode, by
the run's rule and its settings.

It needs a network with residual branches: a residual network, or a plain one with bypasses laid around its sections
(`training.networks`: vgg16-bypass).

This project's reading: a branch is priced by the complexity that goes with it, and our certificates decide what leaves
and when; the listing says nothing of either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from training.data.source import Source
from training.engine.build import check_length
from training.engine.config import RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.method import Method, RunContext
from training.errors import InputError
from training.methods.views import LayersOnly

__all__ = ["LayerPruning"]


@dataclass(frozen=True)
class LayerPruning:
    """Settings of layer pruning.

    Attributes:
        nu: pruning pressure ν, nats of loss one would pay for the whole network's complexity, ≥ 0 and finite; None:
            the run's own.

    Raises:
        InputError: for a pressure out of range.
    """

    name: ClassVar[str] = "layer-pruning"
    nu: float | None = None

    def __post_init__(self) -> None:
        if self.nu is not None and not 0 <= self.nu < math.inf:
            raise InputError(f"nu must be ≥ 0 and finite; got {self.nu}")

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings in prune mode, layers only: α = 1.

        Raises:
            InputError: for a run too short for its warm-up.
        """
        config = replace(config, mode="prune", alpha=1.0, nu=config.nu if self.nu is None else self.nu)
        check_length(config, source)
        return config

    def build(self, context: RunContext) -> Method:
        """Return what learns the branches' gates.

        Raises:
            InputError: for a network without residual branches, or an optimizer that the theory does not cover.
        """
        return _BranchGates(context)


class _BranchGates(GateLearner):
    def __init__(self, context: RunContext) -> None:
        self._view = LayersOnly(context.network)
        if not self._view.branches():
            raise InputError(
                f"network must have residual branches for layers to be removed; {context.config.network} has none: "
                "take a residual network, or one with bypasses"
            )
        super().__init__(context._replace(network=self._view))

    def counts(self) -> dict[str, float | int]:
        """Return the counts, in which a unit is on where its branch is."""
        on = self.gates.decided().tolist()
        running = {branch.name for branch, there in zip(self.gates.residual, on, strict=True) if there}
        groups = self._view.network.unit_groups()
        return super().counts() | {
            "units_on": sum(group.site.count for group in groups if group.branch is None or group.branch in running),
            "units_left": sum(group.site.count for group in groups),
        }
