"""The half-plane with its noise bound, judged: it flags where noise carries the gate out with probability at most δ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from training.certificates.fates import first_step
from training.certificates.noise_bound import escape_bound
from training.engine.optimizer import cosine, effective_step
from training.evidence.measurements import bound
from training.evidence.pool import Flagged, best_threshold, flagged, summary
from training.evidence.runs import KINDS, ShadowRun

__all__ = ["RISKS", "escape_at", "escape_flags", "escape_table"]

RISKS = (1.0, 0.5, 0.1, 0.01, 0.001)  # δ; 1 is the certificate without noise


def escape_at(run: ShadowRun) -> Float[np.ndarray, "step gate"]:
    """Return the escape bound of every gate at every record, in [0, 1].

    It is recomputed, since early histories have no column of it.
    """
    step = effective_step(run.settings["lr"], run.settings["momentum"])
    # The record at step s is made before the step with index s − 1.
    now = [step * cosine(int(at) - 1, run.steps) for at in run.history.step.values]
    return escape_bound(
        decay=run.decay,
        rate=run.rate,
        coupling=bound(run.history),
        **{name: run.values(name) for name in ("cost", "rho", "theta", "error")},
        every=run.settings["tracker"]["every"],
        step=np.array(now)[:, None],
        parent=run.history.parent.values,
    )


def escape_flags(run: ShadowRun, risks: Sequence[float] = RISKS) -> Int[np.ndarray, "risk gate"]:
    """Return the step at which each gate is first certified with an escape bound of at most δ, −1 for never."""
    escape, steps = escape_at(run), run.history.step.values
    certified = (run.values("margin") < 0) & (steps >= run.warmup)[:, None]
    return np.stack([first_step(steps, certified & (escape <= risk)) for risk in risks])


def escape_table(
    runs: Sequence[ShadowRun],
    plain: Mapping[str, Mapping[str, Sequence[Flagged]]],
    strata: Sequence[int] | None = None,
    risks: Sequence[float] = RISKS,
) -> list[dict[str, Any]]:
    """Return a row for each kind and δ, all runs together, as `training.evidence.pool.summary` has it.

    Args:
        runs: at least one.
        plain: what each plain threshold did, by kind and name, one entry a run.
        strata: as in `training.evidence.statistics.bootstrap`.
        risks: the δ, each in (0, 1].
    """
    flags = [escape_flags(run, risks) for run in runs]
    rows = []
    for kind in KINDS:
        for i, risk in enumerate(risks):
            parts = [flagged(run.history, run.warmup, flag[i], kind) for run, flag in zip(runs, flags, strict=True)]
            best = best_threshold(parts, plain[kind])
            rows.append({"kind": kind, "risk": risk, **summary(parts, strata), "best_threshold": best})
    return rows
