"""The certificate with its noise bound: flag a gate where the half-plane certifies it and SGD escapes with at most δ.

The bound is `dynamics.noise.escape_probability` of the linear gate. What it needs is read from a record:

    h      lr/(1 − momentum) with the schedule, at the record; K, the steps that are left
    σ_θ    noise of the gate's gradient in one step: the standard error of D̂ over the interval, times √(its steps)
    σ_ρ    noise of the weights' gradient along w: ⟨∇_w ℓ, w⟩ = ξ·∂ℓ/∂ξ, so that it is taken as σ_θ/ρ

Both noises come from the same samples and count as dependent. (Derived here.) Three things keep this from being a
theorem about the run: a standard deviation stands for a sub-Gaussian scale, momentum's noise counts as that of plain
steps of size h, and the push of noise on ‖w‖ outward is left out, since the second moment of the updates is not
recorded (the audit's *drift* shows where it matters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dynamics import LinearGate
from dynamics.noise import escape_probability
from training.evidence.measurements import bound, share_on
from training.evidence.pool import Flagged, best_threshold, flagged, summary
from training.evidence.runs import ShadowRun
from training.fates import first_step
from training.optimizer import cosine, effective_step
from training.rules import with_branch

__all__ = ["RISKS", "escape_bound", "escape_table"]

RISKS = (1.0, 0.5, 0.1, 0.01, 0.001)  # δ; 1 is the certificate without noise


def escape_bound(run: ShadowRun) -> Float[np.ndarray, "step gate"]:
    """Bound on the probability that noise carries each gate out of its region, from each record on.

    1 where the gate itself is not certified, or its noise was not measured. A unit's own: its branch is left aside.
    """
    steps, history = run.history.step.values, run.history
    rho, error = run.values("rho"), run.values("error")
    # What acts on a unit passes through its branch, and so does the noise.
    sigma = share_on(history) * error * np.sqrt(run.settings["tracker"]["every"])
    coupling, cost = bound(history), run.values("cost")
    known = np.isfinite(sigma) & np.isfinite(coupling) & (rho > 0)
    step = effective_step(run.settings["lr"], run.settings["momentum"])
    now = np.array([step * cosine(min(int(at), run.steps - 1), run.steps) for at in steps])
    left = np.maximum(1.0, run.steps - steps)
    found = np.ones_like(rho)
    at = np.nonzero(known)
    gate = LinearGate(decay=run.decay, coupling=coupling[at], cost=cost[at], rate=run.rate)
    found[at] = escape_probability(
        gate,
        rho[at],
        run.values("theta")[at],
        step=now[at[0]],
        steps=left[at[0]],
        sigma_theta=sigma[at],
        sigma_rho=sigma[at] / rho[at],
        independent=False,
    )
    return found


def escape_flags(run: ShadowRun, risks: Sequence[float] = RISKS) -> Int[np.ndarray, "risk gate"]:
    """Step at which each gate is first certified with an escape bound of at most δ, −1 for never."""
    probability, margin = escape_bound(run), run.values("margin")
    steps, holder, cost = run.history.step.values, run.history.holder.values, run.values("cost")
    late = (steps >= run.warmup)[:, None]
    flags = []
    for risk in risks:
        own = (margin < 0) if risk >= 1 else (probability <= risk)
        flags.append(first_step(steps, with_branch(own, holder, cost) & late))
    return np.stack(flags)


def escape_table(
    runs: Sequence[ShadowRun],
    plain: Mapping[str, Mapping[str, Sequence[Flagged]]],
    strata: Sequence[int] | None = None,
    risks: Sequence[float] = RISKS,
) -> list[dict[str, Any]]:
    """One row for each kind and δ, all runs together, as `training.evidence.pool.summary` has it.

    Args:
        runs: at least one.
        plain: what each plain threshold did, by kind and name, one entry a run.
        strata: as in `training.evidence.statistics.bootstrap`.
        risks: the δ, each in (0, 1].
    """
    flags = [escape_flags(run, risks) for run in runs]
    rows = []
    for kind in ("units", "layers"):
        for i, risk in enumerate(risks):
            parts = [flagged(run, flag[i], kind) for run, flag in zip(runs, flags, strict=True)]
            best = best_threshold(parts, plain[kind])
            rows.append({"kind": kind, "risk": risk, **summary(parts, strata), "best_threshold": best})
    return rows
