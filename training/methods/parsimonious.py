"""Robust learning of parsimonious networks: units only, every unit at the same price.

After Guenter and Sideris, "Robust Learning of Parsimonious Deep Neural Networks" (arXiv 2205.04650), read from its
abstract: Bernoulli gates on units and filters, learned with the weights, and the flattening hyper-prior on their prior.
With one γ for all gates that hyper-prior makes a unit cost κ = −ln γ/N, whatever its layer and whatever its θ
(`dynamics.models.hyperprior`, proved in `dynamics.claims.hyperprior`). So this is this project's own equations with
that cost in place of the one from complexity, and no gates on layers (`training.methods.views`). Removal is that of
prune mode, by the run's rule and its settings.

The price is in nats *a unit*, not shared out among the units that a network starts with: at twice the width a unit
costs as much as before, which is what may make the final size independent of the starting one.

This project's reading: which units leave and when is decided by our certificates, not by the paper's pruning
conditions; a layer keeps at least one unit, of which the abstract says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dynamics.models.hyperprior import log_gamma_from_cost
from training.data.source import Source
from training.engine.build import check_length
from training.engine.config import RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.method import Method, RunContext
from training.errors import InputError
from training.methods.views import UnitsOnly

__all__ = ["Parsimonious"]


@dataclass(frozen=True)
class Parsimonious:
    """Settings of equal prices.

    Attributes:
        cost: κ of every unit, nats of mean loss one would pay for it, > 0 and finite.

    Raises:
        InputError: for a cost out of range.
    """

    name: ClassVar[str] = "parsimonious"
    cost: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.cost < math.inf:
            raise InputError(f"cost must be > 0 and finite; got {self.cost}")

    def log_gamma(self, samples: int) -> float:
        """Return ln γ of the hyper-prior that this cost stands for.

        Args:
            samples: in the training set, ≥ 1.

        Example:
            >>> Parsimonious(cost=0.01).log_gamma(1000)
            -10.0
        """
        return log_gamma_from_cost(self.cost, samples)

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings in prune mode, units only: α = 0. The run's ν and β play no part.

        Raises:
            InputError: for a run too short for its warm-up.
        """
        config = replace(config, mode="prune", alpha=0.0)
        check_length(config, source)
        return config

    def build(self, context: RunContext) -> Method:
        """Return what learns the units' gates.

        Raises:
            InputError: for a network without gated units, or an optimizer that the theory does not cover.
        """
        return _EqualCostGates(context, self.cost)


class _EqualCostGates(GateLearner):
    def __init__(self, context: RunContext, cost: float) -> None:
        view = UnitsOnly(context.network)
        if not view.unit_groups():
            raise InputError(f"network must have gated units for some to be removed; {context.config.network} has none")
        super().__init__(context._replace(network=view))
        self.cost, self._layers = cost, len(view.network.branches())

    def costs(self) -> Float[Tensor, " gate"]:
        return torch.full_like(self.gates.theta.detach(), self.cost)

    def counts(self) -> dict[str, float | int]:
        """Return the counts, in which all layers are on and left."""
        return super().counts() | {"layers_on": self._layers, "layers_left": self._layers}
