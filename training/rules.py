"""Pruning rules: which gates a rule would remove, judged from a run's history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from training.certificates import with_branch
from training.errors import InputError
from training.tracker import Record

__all__ = ["RULES", "Rule", "first_flags", "first_step", "removable", "rule"]

#: A whole history [step, gate], or one record [gate]: a rule reads either.
Columns: TypeAlias = xr.Dataset | Record


@dataclass(frozen=True)
class Rule:
    """A named test of the state of all gates.

    Attributes:
        name: as the table prints it.
        flags: which gates the rule would prune: history → [step, gate], record → [gate].
        units_only: the rule does not speak about branches.
    """

    name: str
    flags: Callable[[Columns], Bool[np.ndarray, "*step gate"]]
    units_only: bool = False


def _threshold(level: float) -> Rule:
    return Rule(f"θ < {level:g}", lambda seen: np.asarray(seen.theta) < level)


#: Certificates first, then the plain thresholds they are compared with.
RULES: tuple[Rule, ...] = (
    Rule("box", lambda seen: np.asarray(seen.in_box)),
    Rule("half-plane", lambda seen: np.asarray(seen.margin) < 0),
    Rule("bilinear", lambda seen: np.asarray(seen.margin_bilinear) < 0, units_only=True),
    *(_threshold(level) for level in (0.5, 0.1, 0.05, 0.01)),
)


def rule(name: str) -> Rule:
    """The rule of that name.

    Raises:
        InputError: for an unknown name; the message lists the known ones.
    """
    found = {each.name: each for each in RULES}
    if name not in found:
        raise InputError(f"rule must be one of {', '.join(found)}; got {name!r}")
    return found[name]


def removable(name: str, record: Record, is_layer: Bool[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
    """Which gates a rule removes now; the linear half-plane decides on branches where the rule does not speak of them.

    Args:
        name: of the rule.
        record: of the gates that are there.
        is_layer: which of them gate a branch.
    """
    chosen = rule(name)
    flags = chosen.flags(record)
    return np.where(is_layer, rule("half-plane").flags(record), flags) if chosen.units_only else flags


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
    masks = [each.flags(history) for each in RULES]
    masks = [with_branch(mask, holder, history.cost.values) & late for mask in masks]
    return np.stack([first_step(steps, mask) for mask in masks])


def first_step(steps: Int[np.ndarray, " step"], mask: Bool[np.ndarray, "step gate"]) -> Int[np.ndarray, " gate"]:
    """The step of each gate's first record in the mask, −1 for none."""
    return np.where(mask.any(0), steps[mask.argmax(0)], -1)
