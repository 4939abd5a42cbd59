"""The growth of couplings: the largest η̂ still to come over the bound known now, which a headroom m must cover.

A certificate with headroom m holds as long as no later η̂ exceeds m times the largest of the last window. So the share
of gates whose ratio

    future max η̂ / max η̂ of the window up to now

exceeds m is the risk that an assumption breaks, for a gate pruned at that age of training with that headroom. It is
a distribution over gates as they are, certified or not; `training.evidence.calibration` counts what was flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from training.evidence.measurements import System, acting, bound
from training.evidence.runs import KINDS, ShadowRun

__all__ = ["AGES", "HEADROOMS", "QUANTILES", "future_max", "growth", "ratios"]

AGES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # ages begin here, as fractions of the run; the last ends with it
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
HEADROOMS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def future_max(values: Float[np.ndarray, "step gate"]) -> Float[np.ndarray, "step gate"]:
    """Return at each record the largest of all later values, at least 0; NaN at the last record, which has none.

    Values that were not measured (NaN) do not count.

    Example:
        >>> future_max(np.array([[1.0], [3.0], [-2.0]]))[:, 0].tolist()
        [3.0, 0.0, nan]
    """
    later = np.full_like(values, np.nan)
    if len(values) > 1:
        known = np.where(np.isnan(values[1:]), 0.0, values[1:])
        later[:-1] = np.maximum(0.0, np.flip(np.maximum.accumulate(np.flip(known, 0), 0), 0))
    return later


def ratios(run: ShadowRun, system: System = "linear") -> Float[np.ndarray, "step gate"]:
    """Return the largest η̂ still to come over the bound now, at safety factor 1, ≥ 0.

    ∞ where nothing pulled up to now and something will; 0 where nothing ever will. NaN where there is no bound
    (nothing was measured: the branch was hardly ever on), no norm, or no later record.
    """
    later = future_max(acting(run.history, system).value)
    now = bound(run.history, system) / run.factor
    known = np.isfinite(now) & np.isfinite(later)  # no bilinear bound: NaN
    ratio = np.where(later > 0, np.inf, 0.0)
    np.divide(later, now, out=ratio, where=known & (now > 0))
    return np.where(known, ratio, np.nan)


def growth(runs: Sequence[ShadowRun], system: System = "linear") -> list[dict[str, Any]]:
    """Return quantiles of the ratio, and the share of gates and records beyond each headroom, by kind and age.

    Every gate at every record after the warm-up counts once, all runs together.

    Args:
        runs: any number.
        system: whose coupling; the bilinear one is defined for units only.
    """
    rows = []
    for kind in KINDS if system == "linear" else ("units",):
        pooled = [_of_kind(run, system, kind) for run in runs]
        age = np.concatenate([part[0] for part in pooled])
        ratio = np.concatenate([part[1] for part in pooled])
        for begin, end in zip(AGES, (*AGES[1:], 1.0), strict=True):
            inside = ratio[(age >= begin) & (age < end)]
            rows.append({"kind": kind, "system": system, "from": begin, "to": end, **_summary(inside)})
    return rows


def _of_kind(run: ShadowRun, system: System, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (age, ratio) of every gate of the kind and record after the warm-up at which the ratio is defined."""
    steps = run.history.step.values
    ratio = ratios(run, system)
    used = np.isfinite(ratio) | np.isposinf(ratio)
    used &= run.of_kind(kind) & (steps >= run.warmup)[:, None]
    age = np.broadcast_to((steps / run.steps)[:, None], ratio.shape)
    return age[used], ratio[used]


def _summary(ratio: np.ndarray) -> dict[str, Any]:
    """Return count, quantiles and shares beyond each headroom as JSON.

    Quantiles are values that occurred (no mean of two, one of which may be ∞). ∞ becomes None, since JSON has none.
    """
    if not len(ratio):
        return {"count": 0, "quantiles": None, "beyond": None}
    found = np.quantile(ratio, QUANTILES, method="inverted_cdf")
    return {
        "count": len(ratio),
        "quantiles": {str(q): float(v) if np.isfinite(v) else None for q, v in zip(QUANTILES, found, strict=True)},
        "beyond": {f"{m:g}": float((ratio > m).mean()) for m in HEADROOMS},
    }
