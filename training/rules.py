"""Pruning rules: which gates a rule would remove, judged from a run's history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

__all__ = ["RULES", "Rule", "first_flags", "first_step"]


@dataclass(frozen=True)
class Rule:
    """A named test of the state of all gates.

    Attributes:
        name: as the table prints it.
        flags: history → which gates the rule would prune at each record, [step, gate].
        units_only: the rule does not speak about branches.
    """

    name: str
    flags: Callable[[xr.Dataset], Bool[np.ndarray, "step gate"]]
    units_only: bool = False


def _threshold(level: float) -> Rule:
    return Rule(f"θ < {level:g}", lambda history: history.theta.values < level)


#: Certificates first, then the plain thresholds they are compared with.
RULES: tuple[Rule, ...] = (
    Rule("box", lambda history: history.in_box.values),
    Rule("half-plane", lambda history: history.margin.values < 0),
    Rule("bilinear", lambda history: history.margin_bilinear.values < 0, units_only=True),
    *(_threshold(level) for level in (0.5, 0.1, 0.05, 0.01)),
)


def first_flags(history: xr.Dataset, warmup: int) -> Int[np.ndarray, "rule gate"]:
    """Step at which each rule first flags each gate, −1 for never.

    A unit goes with its branch: under every rule, certificate or threshold, a unit is also flagged where the gate of
    its branch is. (The margins in the history have this already.)

    Args:
        history: of a run, from `training.history.open_history`.
        warmup: no rule, certificate or threshold, flags before this step.
    """
    steps = history.step.values
    late = (steps >= warmup)[:, None]
    holder = history.holder.values
    masks = [rule.flags(history) for rule in RULES]
    # A unit without a price is not driven to zero when its branch is gone: it is flagged for itself only.
    inherits = (holder >= 0) & (history.cost.values > 0)
    masks = [(mask | (mask[:, holder] & inherits)) & late for mask in masks]
    return np.stack([first_step(steps, mask) for mask in masks])


def first_step(steps: Int[np.ndarray, " step"], mask: Bool[np.ndarray, "step gate"]) -> Int[np.ndarray, " gate"]:
    """The step of each gate's first record in the mask, −1 for none."""
    return np.where(mask.any(0), steps[mask.argmax(0)], -1)
