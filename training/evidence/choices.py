"""Every reading of the coupling, window and headroom, judged on the same runs by how early and how right it is.

The bound on η is recomputed from the stored intervals: the largest η̂ of the last `records` of them, times m, for each
reading of `training.certificates.couplings`, and given to the half-plane. What a shorter window gains in lead time it
loses in false flags: the table has both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.certificates.couplings import KINDS as READINGS
from training.certificates.couplings import bounds
from training.certificates.rules import first_flags, rule
from training.evidence.calibration import certificates_of, with_certificates
from training.evidence.pool import (
    false_discovery_rate,
    flagged,
    leaning_share,
    longest_lead,
    median_lead,
    recall,
)
from training.evidence.runs import KINDS, ShadowRun

__all__ = ["RECORDS", "choices"]

RECORDS = (1, 2, 3, 5, 10)  # intervals in the window
HEADROOMS = (1.0, 1.5, 2.0, 4.0)
Z = 1.0  # standard errors put on by the readings that put on any

_NEEDED = ("pull", "difference", "error", "gradient_square", "gradient_error", "rho", "rho_in")


def choices(runs: Sequence[ShadowRun]) -> list[dict[str, Any]]:
    """Return a row for each kind of gate, reading, window and m, all runs together.

    Each has counts and shares as in `training.evidence.pool.summary`, without intervals. Empty where a run was recorded
    before the columns existed.
    """
    if not all(name in run.history for run in runs for name in _NEEDED):
        return []
    rows = []
    for reading in READINGS:
        for records in RECORDS:
            once = [
                bounds({name: run.values(name) for name in _NEEDED}, reading, Z, records=records, factor=1.0)
                for run in runs
            ]
            for m in HEADROOMS:
                what = {"coupling": reading, "records": records, "headroom": m}
                flags = [_flags(run, *(m * part for part in pair)) for run, pair in zip(runs, once, strict=True)]
                rows += [{"kind": kind, **what, **_judged(runs, flags, kind)} for kind in KINDS]
    return rows


def _flags(run: ShadowRun, linear: np.ndarray, bilinear: np.ndarray) -> np.ndarray:
    history = with_certificates(run, certificates_of(run, linear, bilinear))
    return first_flags(history, run.warmup, [rule("half-plane")])[0]


def _judged(runs: Sequence[ShadowRun], flags: Sequence[np.ndarray], kind: str) -> dict[str, Any]:
    parts = [flagged(run.history, run.warmup, flag, kind) for run, flag in zip(runs, flags, strict=True)]
    counts = {name: sum(getattr(part, name) for part in parts) for name in ("flagged", "dead", "caught", "wrong")}
    shares = {"caught_share": recall(parts), "wrong_share": false_discovery_rate(parts)}
    leads = {"lead": median_lead(parts), "longest_lead": longest_lead(parts)}
    return counts | shares | {"leaning_share": leaning_share(parts)} | leads
