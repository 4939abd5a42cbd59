"""The shadow run's table: what each rule flagged, and what became of it.

Nothing is removed in a shadow run, so every rule can be judged by what the gates did afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from training.fates import fates
from training.rules import RULES, first_flags

__all__ = ["Row", "as_text", "audit", "judge"]


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
        lead: median over the caught of (death − flag) in steps; None where nothing was caught.
    """

    rule: str
    gates: int
    dead: int
    flagged: int
    caught: int
    wrong: int
    undecided: int
    lead: float | None


def audit(history: xr.Dataset, warmup: int) -> dict[str, list[Row]]:
    """The tables of a run, for its units and for its layers.

    Args:
        history: of a shadow run, from `training.history.open_history`.
        warmup: no rule flags before this step.

    Raises:
        ValueError: if the history holds no record after the warm-up.
    """
    steps, theta, is_layer = history.step.values, history.theta.values, history.is_layer.values
    if not len(steps) or steps[-1] < warmup:
        raise ValueError(f"the run has no record after its warm-up of {warmup} steps: nothing to audit")
    first = first_flags(history, warmup)
    return {
        "units": judge(steps, theta, first, ~is_layer),
        "layers": judge(steps, theta, first, is_layer, layers=True),
    }


def judge(
    steps: Int[np.ndarray, " time"],
    theta: Float[np.ndarray, "time gate"],
    first_flag: Int[np.ndarray, "rule gate"],
    chosen: Bool[np.ndarray, " gate"],
    *,
    layers: bool = False,
) -> list[Row]:
    """One row a rule, over the gates in `chosen`.

    Args:
        steps: of the records.
        theta: probabilities at the records.
        first_flag: step at which each rule first flagged each gate, −1 for never.
        chosen: the gates to count.
        layers: leave out the rules that speak about units only.
    """
    fate = fates(steps, theta)
    rows = []
    for rule, flag in zip(RULES, first_flag, strict=True):
        if layers and rule.units_only:
            continue
        flagged = chosen & (flag >= 0)
        wrong, caught = chosen & fate.wrong(flag), chosen & fate.caught(flag)
        leads = (fate.death - flag)[caught]
        rows.append(
            Row(
                rule=rule.name,
                gates=int(chosen.sum()),
                dead=int((chosen & fate.dead).sum()),
                flagged=int(flagged.sum()),
                caught=int(caught.sum()),
                wrong=int(wrong.sum()),
                undecided=int((flagged & ~wrong & ~caught).sum()),
                lead=float(np.median(leads)) if len(leads) else None,
            )
        )
    return rows


def as_text(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| rule | flagged | ended dead | caught | came back or ended alive | undecided | median lead (steps) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lead = "–" if row.lead is None else f"{row.lead:.0f}"
        lines.append(
            f"| {row.rule} | {row.flagged} | {row.dead} | {row.caught} | {row.wrong} | {row.undecided} | {lead} |"
        )
    return "\n".join(lines)
