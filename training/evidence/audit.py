"""The table of a shadow run: how many gates each rule flagged, and how many of these flags were right.

Nothing is removed in a shadow run, so every rule can be judged by what the gates did afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool

from training.certificates.fates import first_step
from training.certificates.rules import RULES, Rule, flag_masks
from training.errors import InputError
from training.evidence.measurements import has_measurements
from training.evidence.pool import flagged, median_lead
from training.evidence.promises.limits import seen_broken, withdrawn
from training.evidence.runs import KINDS, of_kind
from training.runtime.text_tables import markdown_table, whole

__all__ = ["HEADINGS", "Row", "as_text", "audit", "cells"]


@dataclass(frozen=True)
class Row:
    """One line of the table: the numbers of gates of one kind, as `training.evidence.pool` counts them.

    Attributes:
        rule: name of the rule.
        gates: of the kind.
        dead: ended dead.
        flagged: by the rule.
        caught: flagged, and ended dead without coming back.
        wrong: flagged, and then came back from zero or ended alive.
        undecided: flagged and censored: between `DEAD` and `ALIVE` at the end without having come back.
        leaning: of the censored, those that stopped above ½, where a longer run may prove the flag wrong.
        lead: median lead time of the caught, (death − flag) in steps; None where nothing was caught.
        withdrawn: of a certificate, flagged and at some later record no longer certified; None for a threshold.
        broken: of a certificate, flagged and then measured beyond its bound on η or below its cost
            (`training.evidence.promises.limits`); None for a threshold.
    """

    rule: str
    gates: int
    dead: int
    flagged: int
    caught: int
    wrong: int
    undecided: int
    lead: float | None
    leaning: int = 0
    withdrawn: int | None = None
    broken: int | None = None


def audit(history: xr.Dataset, warmup: int) -> dict[str, list[Row]]:
    """Return the tables of a run, for its units and for its layers.

    Args:
        history: of a shadow run, from `training.certificates.history.open_history`.
        warmup: no rule flags before this step.

    Raises:
        InputError: if the history holds no record after the warm-up.
    """
    steps = history.step.values
    if not len(steps) or steps[-1] < warmup:
        raise InputError(f"the run has no record after its warm-up of {warmup} steps: nothing to audit")
    masks = list(zip(RULES, flag_masks(history, warmup), strict=True))
    return {
        kind: [_row(history, warmup, rule, mask, kind) for rule, mask in masks if kind in rule.kinds] for kind in KINDS
    }


def _row(history: xr.Dataset, warmup: int, rule: Rule, mask: Bool[np.ndarray, "step gate"], kind: str) -> Row:
    seen = flagged(history, warmup, first_step(history.step.values, mask), kind)
    names = ("gates", "dead", "flagged", "caught", "wrong", "undecided", "leaning")
    counts = {name: getattr(seen, name) for name in names} | _of_certificate(history, rule, mask, kind)
    return Row(rule.name, lead=median_lead([seen]), **counts)


def _of_certificate(history: xr.Dataset, rule: Rule, mask: Bool[np.ndarray, "step gate"], kind: str) -> dict[str, int]:
    """Return `withdrawn` and `broken` of a row; nothing for a threshold, which promises nothing."""
    if rule.system is None:
        return {}
    chosen = of_kind(history, kind)
    counts = {"withdrawn": int((chosen & (withdrawn(history.step.values, mask) >= 0)).sum())}
    if has_measurements(history):  # else nothing was recorded that could be held against a bound
        counts["broken"] = int((chosen & seen_broken(history, rule, mask)).sum())
    return counts


#: Headings of the table: in a text, and where a line has 80 characters.
HEADINGS = {
    "rule": "rule",
    "flagged": "flagged",
    "ended dead": "dead",
    "caught": "caught",
    "came back or ended alive": "wrong",
    "undecided (above ½)": "open",
    "median lead (steps)": "lead",
    "withdrawn": "withdrawn",
    "assumption broke": "broke",
}


def cells(row: Row) -> list[str]:
    """Return the cells of a row under `HEADINGS`."""
    last = map(whole, (row.lead, row.withdrawn, row.broken))
    counts = (row.flagged, row.dead, row.caught, row.wrong, f"{row.undecided} ({row.leaning})")
    return [row.rule, *map(str, counts), *last]


def as_text(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    below = ["---", *["---:"] * (len(HEADINGS) - 1)]
    return "\n".join(markdown_table(list(HEADINGS), list(map(cells, rows)), below))
