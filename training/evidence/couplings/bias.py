"""The bias of first-order estimates of D against the unbiased one, by layer and age, and where it matters.

The first-order estimate has mean D + (θ − ½)f″ for a loss quadratic along the gate (`training.estimators.slopes`); the
difference in mean losses has mean D. Their difference, over all gates of a layer and all records of an age, is the
bias; its standard error comes from the spread between records. It matters where it is as large as what moves the gate:
D + κ (of a unit: share·D + κ, share how often its branch was on). There first-order can send a gate the wrong way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from training.errors import InputError
from training.evidence.couplings.growth import AGES
from training.evidence.measurements import ERRORS, share_on
from training.evidence.runs import ShadowRun

__all__ = ["bias", "places"]

NEEDED = ("first_order", "difference", "error", "loss_difference", "loss_error")


def places(run: ShadowRun) -> list[str]:
    """Return the name of each gate's layer: its unit group, or its branch."""
    return [str(name).split("[")[0] for name in run.history.gate.values]


def bias(runs: Sequence[ShadowRun], ages: Sequence[float] = AGES) -> list[dict[str, Any]]:
    """Return a row for each layer and age, all runs together; none where nothing was measured.

    Means are over the gates with 0 < θ < 1 in each record, then over records:

        theta, difference (unbiased, from losses), cost
        first_order, first_order_bias, first_order_error     of the first-order estimate against the unbiased one
        used, used_bias, used_error                          the same of the estimate that enters the pulls
        certain, wrong_way   gates and records in which the direction is certain, and the share of these in which
                             first-order has the other one

    An error is None where there is one record only.

    Args:
        runs: of networks with the same layers.
        ages: where they begin, as fractions of a run; the last ends with it.

    Raises:
        InputError: for a run whose history lacks the columns.
    """
    parts = [_columns(run) for run in runs]
    rows = []
    for place in dict.fromkeys(name for run in runs for name in places(run)):
        for begin, end in zip(ages, (*ages[1:], 1.0), strict=True):
            cells = []
            for run, columns in zip(runs, parts, strict=True):
                age = run.history.step.values / run.steps
                records = (age > begin) & (age <= end)
                gates = np.array(places(run)) == place
                cells.append({name: values[records][:, gates] for name, values in columns.items()})
            row = _row(cells)
            if row is not None:
                kind = "layers" if parts[0]["is_branch"][0][places(runs[0]).index(place)] else "units"
                rows.append({"place": place, "kind": kind, "from": begin, "to": end, **row})
    return rows


def _columns(run: ShadowRun) -> dict[str, np.ndarray]:
    """Return the columns of a run that the rows need. [step, gate]"""
    for name in NEEDED:
        if name not in run.history:
            raise InputError(f"{run.name} holds no column {name}: it was made by another version")
    columns = {name: run.values(name) for name in ("theta", "cost", *NEEDED)}
    columns["share"] = share_on(run.history)
    columns["is_branch"] = np.broadcast_to(run.history.is_branch.values, columns["theta"].shape)
    return columns


def _row(cells: Sequence[dict[str, np.ndarray]]) -> dict[str, Any] | None:
    """Return the row of one layer at one age, None where nothing was measured; a cell is a run's [record, gate]."""
    means: list[dict[str, float]] = []
    certain = wrong = count = 0
    for cell in cells:
        used = (cell["theta"] > 0) & (cell["theta"] < 1)
        used &= (
            np.isfinite(cell["loss_difference"]) & np.isfinite(cell["difference"]) & np.isfinite(cell["first_order"])
        )
        for i in np.flatnonzero(used.any(1)):
            means.append({name: float(values[i, used[i]].mean()) for name, values in cell.items()})
        count += int(used.sum())
        # D̂ of the pulls: for units the less noisy one, since one record's losses tell nothing of a single unit.
        pull, error = (cell["share"] * cell[name] for name in ("difference", "error"))
        sure = used & (np.abs(pull + cell["cost"]) > ERRORS * error)
        other = np.sign(cell["share"] * cell["first_order"] + cell["cost"]) != np.sign(pull + cell["cost"])
        certain, wrong = certain + int(sure.sum()), wrong + int((sure & other).sum())
    if not means:
        return None
    column = {name: np.array([mean[name] for mean in means]) for name in means[0]}
    found: dict[str, Any] = {"records": len(means), "gates_and_records": count}
    found |= {name: float(column[name].mean()) for name in ("theta", "cost", "first_order")}
    found |= {"difference": float(column["loss_difference"].mean()), "used": float(column["difference"].mean())}
    for name, of in (("first_order", "first_order"), ("used", "difference")):
        found |= dict(
            zip((f"{name}_bias", f"{name}_error"), _mean(column[of] - column["loss_difference"]), strict=True)
        )
    return found | {"certain": certain, "wrong_way": wrong / certain if certain else None}


def _mean(values: Float[np.ndarray, " record"]) -> tuple[float, float | None]:
    """Return the mean and its standard error, None for one value."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return float(values.mean()), error
