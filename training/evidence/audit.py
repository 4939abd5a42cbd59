"""The shadow run's table: what each rule flagged, and what became of it.

Nothing is removed in a shadow run, so every rule can be judged by what the gates did afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool

from training.certificates.fates import fates, first_step
from training.certificates.rules import RULES, Rule, flag_masks
from training.evidence.measurements import has_measurements
from training.evidence.promises.assumptions import seen_broken, withdrawn

__all__ = ["HEADINGS", "Row", "as_text", "audit", "cells", "judge"]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        rule: the rule's name.
        gates: how many gates it could speak about.
        dead: how many of these ended dead.
        flagged: how many it flagged.
        caught: flagged, and ended dead without coming back.
        wrong: flagged, and then came back from zero or ended alive.
        undecided: flagged, and ended in between (0.02 < θ < 0.98) without coming back: neither right nor wrong.
        leaning: how many of the undecided stopped above ½, where a longer run may prove the flag wrong.
        lead: median over the caught of (death − flag) in steps; None where nothing was caught.
        withdrawn: of a certificate, flagged and at some later record no longer certified; None for a threshold.
        broken: of a certificate, flagged and then measured beyond its bound on η or below its cost
            (`training.evidence.promises.assumptions`); None for a threshold.
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
    """The tables of a run, for its units and for its layers.

    Args:
        history: of a shadow run, from `training.certificates.history.open_history`.
        warmup: no rule flags before this step.

    Raises:
        ValueError: if the history holds no record after the warm-up.
    """
    steps, is_branch = history.step.values, history.is_branch.values
    if not len(steps) or steps[-1] < warmup:
        raise ValueError(f"the run has no record after its warm-up of {warmup} steps: nothing to audit")
    masks = flag_masks(history, warmup)
    return {"units": judge(history, masks, ~is_branch), "layers": judge(history, masks, is_branch, layers=True)}


def judge(
    history: xr.Dataset,
    masks: Sequence[Bool[np.ndarray, "step gate"]],
    chosen: Bool[np.ndarray, " gate"],
    *,
    layers: bool = False,
) -> list[Row]:
    """One row a rule, over the gates in `chosen`.

    Args:
        history: of a shadow run.
        masks: at which records each rule flags which gates, from `training.certificates.rules.flag_masks`.
        chosen: the gates to count.
        layers: leave out the rules that speak about units only.
    """
    steps = history.step.values
    fate = fates(steps, history.theta.values)
    rows = []
    for rule, mask in zip(RULES, masks, strict=True):
        if layers and rule.units_only:
            continue
        flag = first_step(steps, mask)
        wrong, caught, undecided = (chosen & judged(flag) for judged in (fate.wrong, fate.caught, fate.undecided))
        leads = (fate.death - flag)[caught]
        rows.append(
            Row(
                rule=rule.name,
                gates=int(chosen.sum()),
                dead=int((chosen & fate.dead).sum()),
                flagged=int((chosen & (flag >= 0)).sum()),
                caught=int(caught.sum()),
                wrong=int(wrong.sum()),
                undecided=int(undecided.sum()),
                leaning=int((undecided & fate.high).sum()),
                lead=float(np.median(leads)) if len(leads) else None,
                **_of_certificate(history, rule, mask, chosen),
            )
        )
    return rows


def _of_certificate(
    history: xr.Dataset, rule: Rule, mask: Bool[np.ndarray, "step gate"], chosen: Bool[np.ndarray, " gate"]
) -> dict[str, int]:
    """`withdrawn` and `broken` of a row; nothing for a threshold, which promises nothing."""
    if rule.system is None:
        return {}
    counts = {"withdrawn": int((chosen & withdrawn(mask)).sum())}
    if has_measurements(history):  # else nothing was recorded that could be held against a bound
        counts["broken"] = int((chosen & seen_broken(history, rule, mask)).sum())
    return counts


#: Columns of the table: in a text, and where there are 80 characters a line.
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
    """What stands under `HEADINGS`."""
    last = ("–" if value is None else f"{value:.0f}" for value in (row.lead, row.withdrawn, row.broken))
    counts = (row.flagged, row.dead, row.caught, row.wrong, f"{row.undecided} ({row.leaning})")
    return [row.rule, *map(str, counts), *last]


def as_text(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)], *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
