"""The verdict on every gate that a certificate flagged in a run.

A gate with two promises is judged by the one with the least excuse. A certificate whose bounding ODE does not end in
zero is a refutation, whatever the gate did. That a certificate was *withdrawn* later (its margin rose to 0 under newer
bounds) is counted, but is no excuse: the old bound promised what it promised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from training.certificates.fates import fates, first_return
from training.certificates.rules import Rule, flag_masks
from training.evidence.calibration import certificates_at, with_certificates
from training.evidence.promises.decide import Verdict, decide
from training.evidence.promises.limits import first_record, withdrawn
from training.evidence.promises.promise import Promises, promise, promises_of
from training.evidence.promises.violations import Violations, violations
from training.evidence.runs import ShadowRun

__all__ = ["Judged", "JudgedPromises", "judge"]

BORDERLINE = 1e-4  # margins closer to 0 than this are not told from 0 after storage


@dataclass(frozen=True)
class JudgedPromises:
    """Promises of one kind with what was seen of them, and the `Verdict` on each. [promise]"""

    made: Promises
    seen: Violations
    verdict: Int[np.ndarray, " promise"]


@dataclass(frozen=True)
class Judged:
    """One certificate in one run. Arrays are [gate].

    Attributes:
        run: a shadow run.
        rule: the certificate.
        flag: step at which it first flagged each gate, −1 for never.
        outcome: "wrong", "caught" or "undecided"; "" for a gate that was not flagged.
        verdict: `Verdict`, should the gate have come back or ended alive; −1 for a gate that was not flagged.
        refuted: the bounding ODE of its certificate does not end in zero.
        withdrawn: first step at which it was no longer flagged, −1 for never.
        broken: an assumption was seen to break, in every promise of the gate.
        coupling: the same of the coupling assumption.
        step: the gate moved beyond the ODE while coupling and cost held, in one step.
        drift: the same, little by little.
        promises: behind these, at most two a gate.
    """

    run: ShadowRun
    rule: Rule
    flag: Int[np.ndarray, " gate"]
    outcome: np.ndarray
    verdict: Int[np.ndarray, " gate"]
    refuted: Bool[np.ndarray, " gate"]
    withdrawn: Int[np.ndarray, " gate"]
    broken: Bool[np.ndarray, " gate"]
    coupling: Bool[np.ndarray, " gate"]
    step: Bool[np.ndarray, " gate"]
    drift: Bool[np.ndarray, " gate"]
    promises: list[JudgedPromises]


def judge(run: ShadowRun, rule: Rule) -> Judged:
    """Judge every gate that a certificate flagged in a run.

    Args:
        run: a shadow run.
        rule: a certificate.
    """
    steps, theta = run.history.step.values, run.history.theta.values
    mask = flag_masks(run.history, run.warmup, [rule])[0]
    flagged = first_record(mask)
    flag = np.where(flagged >= 0, steps[flagged], -1)
    fate, back = fates(steps, theta), first_return(steps, theta, flag)
    until = np.where(back >= 0, np.searchsorted(steps, back), len(steps) - 1)
    own = with_certificates(run, certificates_at(run, run.factor, own=True))
    promises = [_judge(run, made, until) for made in promises_of(run.history, rule, flagged, own)]

    def in_every_promise(of: Callable[[Violations], np.ndarray]) -> Bool[np.ndarray, " gate"]:
        found = flag >= 0
        for part in promises:
            found[part.made.gate] &= of(part.seen)
        return found

    verdict, refuted = np.full(len(flag), -1), np.zeros(len(flag), dtype=bool)
    for part in promises:
        gate = part.made.gate
        verdict[gate] = np.maximum(verdict[gate], part.verdict)
        refuted[gate] |= _clearly_certified(run, rule, part.made) & part.seen.envelope.escapes
    moved = in_every_promise(lambda seen: seen.motion.first >= 0)
    drift = moved & in_every_promise(lambda seen: ~seen.motion.in_one_step)
    return Judged(
        run=run,
        rule=rule,
        flag=flag,
        outcome=np.select([flag < 0, fate.wrong(flag), fate.caught(flag)], ["", "wrong", "caught"], "undecided"),
        verdict=verdict,
        refuted=refuted,
        withdrawn=withdrawn(steps, mask),
        broken=in_every_promise(lambda seen: seen.any),
        coupling=in_every_promise(lambda seen: seen.coupling.first >= 0),
        step=moved & ~drift,
        drift=drift,
        promises=promises,
    )


def _judge(run: ShadowRun, made: Promises, until: Int[np.ndarray, " gate"]) -> JudgedPromises:
    seen = violations(run, made, until[made.gate])
    verdict = decide(seen)
    for i in np.flatnonzero(made.inherited & (verdict >= Verdict.NOT_DUE)):
        verdict[i] = _of_unit(run, made[i : i + 1], int(until[made.gate[i]]))
    return JudgedPromises(made, seen, verdict)


def _of_unit(run: ShadowRun, one: Promises, last: int) -> int:
    """Return the verdict on a unit that was certified with its branch, whose promise was kept.

    Once the branch's θ is at zero nothing pulls at the unit (η = 0), and its cost drives it to zero: that is promised
    of the unit itself. Before, nothing is promised of it: not due.
    """
    zero = run.values("theta")[one.record[0] : last + 1, one.subject[0]] <= 0
    if not zero[-1]:
        return Verdict.NOT_DUE
    since = 0 if zero.all() else len(zero) - int(np.flip(~zero).argmax())  # the last spell at zero begins here
    unit = replace(promise(run.history, one.gate, one.gate, one.record + since, "linear"), bound=np.zeros(1))
    return int(decide(violations(run, unit, np.array([last])))[0])


def _clearly_certified(run: ShadowRun, rule: Rule, made: Promises) -> Bool[np.ndarray, " promise"]:
    """Return which promises had a margin at the flag that is negative beyond what storage rounds."""
    column = "margin_bilinear" if rule.system == "bilinear" else "margin"
    return run.values(column)[made.record, made.gate] < -BORDERLINE
