"""Our own method: gates on units and layers, removed while training once a certificate says that they stay off.

This is `python -m training validate --mode prune` (`training.engine.gate_learner`), as one method among others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from training.certificates.rules import rule as known_rule
from training.data.source import Source
from training.engine.build import check_length
from training.engine.config import RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.method import Method, RunContext
from training.errors import InputError

__all__ = ["Certified"]


@dataclass(frozen=True)
class Certified:
    """Settings; None: the run's own (`training.engine.config`).

    Attributes:
        nu: pruning pressure ν, nats of loss one would pay for the whole network's complexity, ≥ 0 and finite.
        alpha: layers against units, in [0, 1].
        rule: whose flags are followed.

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "certified-gates"
    nu: float | None = None
    alpha: float | None = None
    rule: str | None = None

    def __post_init__(self) -> None:
        if self.nu is not None and not 0 <= self.nu < math.inf:
            raise InputError(f"nu must be ≥ 0 and finite; got {self.nu}")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise InputError(f"alpha must be in [0, 1]; got {self.alpha}")
        if self.rule is not None:
            known_rule(self.rule)

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings in prune mode.

        Raises:
            InputError: for a run too short for its warm-up.
        """
        config = replace(
            config,
            mode="prune",
            nu=config.nu if self.nu is None else self.nu,
            alpha=config.alpha if self.alpha is None else self.alpha,
            prune=config.prune if self.rule is None else replace(config.prune, rule=self.rule),
        )
        check_length(config, source)
        return config

    def build(self, context: RunContext) -> Method:
        """Return what learns the gates.

        Raises:
            InputError: for an optimizer that the theory does not cover.
        """
        return GateLearner(context)
