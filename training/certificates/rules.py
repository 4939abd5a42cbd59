"""Pruning rules: each says of a run's history, or of one record, which gates it would remove."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Bool, Int

from training.certificates.fates import first_step
from training.certificates.record import Record
from training.certificates.regions import with_branch
from training.errors import InputError

__all__ = [
    "CERTIFICATES",
    "POOLED_THRESHOLDS",
    "RULES",
    "THRESHOLDS",
    "Rule",
    "first_flags",
    "flag_masks",
    "of_branches",
    "removable",
    "rule",
    "threshold",
    "with_noise",
]

#: A whole history [step, gate], or one record [gate]: a rule reads either.
Columns: TypeAlias = xr.Dataset | Record


@dataclass(frozen=True)
class Rule:
    """A named test of the state of all gates.

    Attributes:
        name: as the table prints it.
        flags: which gates the rule would prune: history → [step, gate], record → [gate].
        units_only: the rule does not speak about branches.
        system: of a certificate, the system whose bound on η it rests on; None for a plain threshold.
        column: of a certificate, the column of a history that holds it; None for a plain threshold.
    """

    name: str
    flags: Callable[[Columns], Bool[np.ndarray, "*step gate"]]
    units_only: bool = False
    system: Literal["linear", "bilinear"] | None = None
    column: Literal["in_box", "margin", "margin_bilinear"] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of gate that the rule is about, as results call them."""
        return ("units",) if self.units_only else ("units", "layers")


def threshold(level: float) -> Rule:
    """Return the plain rule θ < level.

    Raises:
        InputError: for a level outside (0, 1].
    """
    if not 0 < level <= 1:
        raise InputError(f"the t of “θ < t” must be in (0, 1]; got {level:g}")
    return Rule(f"θ < {level:g}", lambda seen: np.asarray(seen.theta) < level)


#: Levels of the plain thresholds in the table of one run.
THRESHOLDS = (0.5, 0.1, 0.05, 0.01)

#: Levels of the plain thresholds that certificates are compared with where runs are pooled.
POOLED_THRESHOLDS = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)

#: The rules that rest on a theorem.
CERTIFICATES: tuple[Rule, ...] = (
    Rule("box", lambda seen: np.asarray(seen.in_box), system="linear", column="in_box"),
    Rule("half-plane", lambda seen: np.asarray(seen.margin) < 0, system="linear", column="margin"),
    Rule(
        "bilinear",
        lambda seen: np.asarray(seen.margin_bilinear) < 0,
        units_only=True,
        system="bilinear",
        column="margin_bilinear",
    ),
)

#: The rules in the table of one run: certificates first, then the plain thresholds they are compared with.
RULES: tuple[Rule, ...] = (*CERTIFICATES, *map(threshold, THRESHOLDS))


def with_noise(risk: float) -> Rule:
    """Return the half-plane where noise carries the gate out with a probability of at most δ.

    Raises:
        InputError: for δ outside (0, 1].
    """
    if not 0 < risk <= 1:
        raise InputError(f"the δ of “half-plane, escape ≤ δ” must be in (0, 1]; got {risk:g}")
    return Rule(
        f"half-plane, escape ≤ {risk:g}",
        lambda seen: (np.asarray(seen.margin) < 0) & (np.asarray(seen.escape) <= risk),
        system="linear",
        column="margin",
    )


_NUMBER = r"(\d+\.?\d*(?:e-?\d+)?|\.\d+)"
_PATTERNS = (
    (re.compile(rf"θ < {_NUMBER}"), threshold),
    (re.compile(rf"half-plane, escape (?:≤|<=) {_NUMBER}"), with_noise),
)


def rule(name: str) -> Rule:
    """Return the rule of that name; “θ < t” and “half-plane, escape ≤ δ” are known for any t and δ in (0, 1].

    Raises:
        InputError: for an unknown name; the message lists the known ones.

    Example:
        >>> rule("half-plane, escape <= 0.1").name
        'half-plane, escape ≤ 0.1'
    """
    known = {each.name: each for each in RULES}
    if name in known:
        return known[name]
    for pattern, made in _PATTERNS:
        found = pattern.fullmatch(name)
        if found:
            return made(float(found[1]))
    raise InputError(
        f"rule must be one of {', '.join(known)}, “θ < t” with another t, or “half-plane, escape ≤ δ”; got {name!r}"
    )


def of_branches(chosen: Rule) -> Rule:
    """Return the rule that decides on branches: the rule itself, or the half-plane where it is about units only."""
    return rule("half-plane") if chosen.units_only else chosen


def removable(name: str, record: Record, is_branch: Bool[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
    """Return which gates a rule removes now, branches by the rule that `of_branches` gives.

    Args:
        name: of the rule.
        record: of the gates that are there.
        is_branch: which of them gate a branch.
    """
    chosen = rule(name)
    return np.where(is_branch, of_branches(chosen).flags(record), chosen.flags(record))


def first_flags(history: xr.Dataset, warmup: int, rules: Sequence[Rule] = RULES) -> Int[np.ndarray, "rule gate"]:
    """Return the step at which each rule first flags each gate, −1 for never; arguments as for `flag_masks`."""
    masks = flag_masks(history, warmup, rules)
    return np.stack([first_step(history.step.values, mask) for mask in masks])


def flag_masks(history: xr.Dataset, warmup: int, rules: Sequence[Rule] = RULES) -> list[Bool[np.ndarray, "step gate"]]:
    """Return for each rule at which records it would prune which gates.

    A unit goes with its branch: under every rule, certificate or threshold, a unit is also flagged where the gate of
    its branch is. (The margins in the history have this already.)

    Args:
        history: of a run, from `training.certificates.history.open_history`.
        warmup: no rule, certificate or threshold, flags before this step.
        rules: the rules to apply.
    """
    late = (history.step.values >= warmup)[:, None]
    parent, cost = history.parent.values, history.cost.values
    return [with_branch(each.flags(history), parent, cost) & late for each in rules]
