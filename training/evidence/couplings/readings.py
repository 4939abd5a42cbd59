"""The readings of a coupling against one another, and the share of dead gates that would have come back.

`readings` divides each reading of η (`training.certificates.couplings`) by the one along the present weights, interval
by interval. `returns` uses the probes: a gate at θ = 0 comes back, in the ODE, exactly if D < −κ (of a unit: if
share·D < −κ, where share is how often its branch is on). One interval's probes are few, so those of a gate's last
intervals at θ = 0 are put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from training.certificates.couplings import Kind, couplings
from training.errors import InputError
from training.evidence.couplings.growth import AGES
from training.evidence.measurements import ERRORS, share_on
from training.evidence.runs import KINDS, ShadowRun

__all__ = ["READINGS", "pooled_probes", "readings", "returns"]

#: Name, reading and standard errors put on: with z = 0 an estimate, with z > 0 a confidence bound.
READINGS: tuple[tuple[str, Kind, float], ...] = (
    ("confident, z=2", "confident", 2.0),
    ("gradient, z=0", "gradient", 0.0),
    ("gradient, z=2", "gradient", 2.0),
    ("robust, z=0", "robust", 0.0),
    ("robust, z=2", "robust", 2.0),
)
QUANTILES = (0.1, 0.5, 0.9)


def readings(runs: Sequence[ShadowRun], ages: Sequence[float] = AGES) -> list[dict[str, Any]]:
    """Return quantiles of reading/along for the linear gate, by kind and age.

    They are over the gates and records with θ > 0 at which ξ=1 was sampled.

    `negative` is the share in which the squared norm, noise taken off, is below zero: half, if there is nothing but
    noise; more, if successive gradients undo one another.
    """
    rows = []
    for kind in KINDS:
        parts = [_ratios(run, kind) for run in runs]
        pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for begin, end in zip(ages, (*ages[1:], 1.0), strict=True):
            inside = (pooled["age"] > begin) & (pooled["age"] <= end)
            if not inside.any():
                continue
            row: dict[str, Any] = {"kind": kind, "from": begin, "to": end, "count": int(inside.sum())}
            row["negative"] = float((pooled["square"][inside] < 0).mean())
            for name, *_ in READINGS:
                found = np.quantile(pooled[name][inside], QUANTILES, method="inverted_cdf")
                row[name] = dict(zip(map(str, QUANTILES), found.tolist(), strict=True))
            rows.append(row)
    return rows


def _ratios(run: ShadowRun, kind: str) -> dict[str, np.ndarray]:
    """Return age, squared norm and the ratios of a run's gates and records. [sample] each"""
    names = ("pull", "difference", "error", "gradient_square", "gradient_error", "rho", "rho_in")
    for name in (*names, "probe"):
        if name not in run.history:
            raise InputError(f"{run.name} holds no column {name}: it was made by another version")
    columns = {name: run.values(name) for name in names}
    along = couplings(columns, "along")[0]
    used = np.isfinite(along) & (along > 0) & (run.values("theta") > 0) & np.isfinite(columns["gradient_square"])
    used &= np.isfinite(columns["gradient_error"]) & run.of_kind(kind)
    found = {name: (couplings(columns, reading, z)[0][used] / along[used]) for name, reading, z in READINGS}
    age = np.broadcast_to((run.history.step.values / run.steps)[:, None], used.shape)
    return found | {"age": age[used], "square": columns["gradient_square"][used]}


def pooled_probes(
    run: ShadowRun, records: int
) -> tuple[Float[np.ndarray, "step gate"], Float[np.ndarray, "step gate"]]:
    """Return D̂ of gates at θ = 0, from the probes of the last records of their spell at zero, and its standard error.

    Records count by their samples. An error needs two samples in a record; records without one are left out.

    Args:
        run: a shadow run.
        records: put together at most, ≥ 1.
    """
    dead = run.values("theta") == 0
    count, value, error = (run.values(name) for name in ("probe_count", "probe", "probe_error"))
    weight = np.where(dead & np.isfinite(error) & np.isfinite(value), count, 0.0)
    total, spread = weight * np.nan_to_num(value), np.square(weight * np.nan_to_num(error))
    sums = np.zeros((3, *dead.shape))
    for i in range(len(dead)):
        here = np.ones(dead.shape[1], dtype=bool)
        for j in range(i, max(-1, i - records), -1):
            here = here & dead[j]
            sums[:, i] += np.where(here, [weight[j], total[j], spread[j]], 0.0)
    known = sums[0] > 0
    empty = np.full(dead.shape, np.nan)
    mean = np.divide(sums[1], sums[0], out=empty.copy(), where=known)
    return mean, np.divide(np.sqrt(sums[2]), sums[0], out=empty, where=known)


def returns(runs: Sequence[ShadowRun], records: int = 10, ages: Sequence[float] = AGES) -> list[dict[str, Any]]:
    """Return how many dead gates would come back, by kind and age, over gates and records at θ = 0.

    Each row has `count`; of these `probed`; of these `returning` (D̂ + 2·SE below −κ), `staying` (D̂ − 2·SE above −κ),
    the rest open; and the medians of (share·D̂)/κ and of its standard error over κ, None where nothing was probed.

    Args:
        runs: shadow runs with probes.
        records: put together for one D̂.
        ages: where they begin, as fractions of a run; the last ends with it.
    """
    rows = []
    for kind in KINDS:
        parts = [_threats(run, kind, records) for run in runs]
        age, value, error = (np.concatenate(same) for same in zip(*parts, strict=True))
        for begin, end in zip(ages, (*ages[1:], 1.0), strict=True):
            inside = (age > begin) & (age <= end)
            if not inside.any():
                continue
            probed = inside & np.isfinite(value)
            row: dict[str, Any] = {"kind": kind, "from": begin, "to": end}
            row |= {"count": int(inside.sum()), "probed": int(probed.sum())}
            row["returning"] = int((value + ERRORS * error < -1)[probed].sum())
            row["staying"] = int((value - ERRORS * error > -1)[probed].sum())
            row["median"] = float(np.median(value[probed])) if probed.any() else None
            row["median_error"] = float(np.median(error[probed])) if probed.any() else None
            rows.append(row)
    return rows


def _threats(run: ShadowRun, kind: str, records: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (age, share·D̂/κ, its error) of every gate of the kind and record at θ = 0 and κ > 0."""
    value, error = pooled_probes(run, records)
    cost = run.values("cost")
    used = (run.values("theta") == 0) & (cost > 0) & run.of_kind(kind)
    scale = share_on(run.history)[used] / cost[used]
    age = np.broadcast_to((run.history.step.values / run.steps)[:, None], used.shape)
    return age[used], value[used] * scale, error[used] * scale
