"""Pruning rules: from a record to the gates a rule would remove now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from training.tracker import Record

__all__ = ["RULES", "Flags", "Rule"]


@dataclass(frozen=True)
class Rule:
    """A named test of one record.

    Attributes:
        name: as the table prints it.
        flags: record → which gates the rule would prune, [gate].
        units_only: the rule does not speak about branches.
    """

    name: str
    flags: Callable[[Record], Bool[np.ndarray, " gate"]]
    units_only: bool = False


def _threshold(level: float) -> Rule:
    return Rule(f"θ < {level:g}", lambda record: record.theta < level)


#: Certificates first, then the plain thresholds they are compared with.
RULES: tuple[Rule, ...] = (
    Rule("box", lambda record: record.in_box),
    Rule("half-plane", lambda record: record.margin < 0),
    Rule("bilinear", lambda record: record.margin_bilinear < 0, units_only=True),
    *(_threshold(level) for level in (0.5, 0.1, 0.05, 0.01)),
)


class Flags:
    """When each rule first flagged each gate.

    Attributes:
        first: step of the first flag, −1 for none, [rule, gate].
    """

    def __init__(self, gates: int) -> None:
        self.first: Int[np.ndarray, "rule gate"] = np.full((len(RULES), gates), -1, dtype=np.int64)

    def see(self, record: Record) -> None:
        """Note the gates that a rule flags for the first time."""
        for row, rule in zip(self.first, RULES, strict=True):
            row[rule.flags(record) & (row < 0)] = record.step
