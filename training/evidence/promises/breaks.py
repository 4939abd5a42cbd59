"""Which assumption of a certificate broke, when and by how much; or none, which refutes the theory.

A certificate given at record k, with bound η and cost κ, assumes of every later interval j:

    coupling   D ≥ −ηρ and ⟨∇D, w⟩ ≥ −ηρ. *Certainly* broken where (−D̂_j − 2·SE)/ρ > η, *measured* above where
               only η̂_j > η, the strongest of the interval's pulls. (Of many intervals a few lie 2·SE from the truth by
               chance alone, and the strongest of several pulls is biased upward: the ratio η̂_j/η says how far.)
    cost       κ_j ≥ κ; κ is computed, not estimated.
    motion     the state moves as the bounding ODE allows. Under the two above it stays below the certificate's
               envelope (`training.evidence.promises.made`). Broken where it is above, by more than TOLERANCE, before
               coupling or cost broke. Called *step* where in one record it moved beyond the ODE by more than LEAP (a
               step too large for the ODE), else *drift*: little by little, as noise that pushes weights outward does.

That a certificate was *withdrawn* later (its margin rose to 0 under newer bounds) is reported, but is no excuse: the
old bound promised what it promised.

The assumptions are sufficient, not necessary: many break them and die all the same. How often is counted too, since an
excuse that would serve most gates that died is a weak one. Of a gate that ended alive or came back, what it did up to
its first return is judged. Motion counts first: it was seen while coupling and cost still held, and what broke after it
is no excuse for it. Then coupling and cost. Without any it is

    not due      the envelope itself is not yet at zero: the run was too short for the promise, or
    refutation.

A certificate whose own bounding ODE does not end in zero is a refutation too, whatever the gate did. What this audit
can refute is therefore the chain from measured constants to region: formula, rate, inheritance, clock. That states
obey the inequalities at all is what *motion* observes: its count stands beside the refutations, for gates of every
outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from dynamics.integrators.batched_flow import Fate
from training.certificates.fates import fates, first_return, first_step
from training.certificates.rules import Rule, flag_masks
from training.evidence.measurements import acting
from training.evidence.promises.assumptions import Promises, exceeded
from training.evidence.promises.made import flow_of, promises, state_of
from training.evidence.runs import ShadowRun

__all__ = ["LEAP", "TOLERANCE", "VERDICTS", "Ledger", "breaks", "ledger"]

TOLERANCE = 0.01  # above the envelope: in θ, and as a share of a norm
LEAP = 0.05  # beyond the ODE within one record, in the same units
BORDERLINE = 1e-4  # margins closer to 0 than this are not told from 0 after storage

#: From the surest excuse to none. A gate with several promises is judged by the one with the least excuse.
VERDICTS = ("coupling, certainly", "coupling, measured", "cost", "step", "drift", "not due", "refutation")


@dataclass(frozen=True)
class Ledger:
    """What happened to each promise. Steps are −1, and numbers NaN, where nothing broke. Arrays are [promise].

    Attributes:
        coupling: first step at which η̂ was above the bound.
        certain: first step at which it was above by more than two standard errors.
        ratio: largest later η̂ over the bound, broken or not (0 where nothing pulled; ∞ above a bound of 0).
        gain: largest later η̂ρ over κ: θ rises only where this exceeds 1.
        cost: first step at which κ was below its value.
        cost_ratio: smallest later κ over its value, broken or not.
        motion: first step above the envelope, if nothing broke before.
        excess: how far above it was then (in θ, or as a share of a norm, whichever is more).
        leap: largest move beyond the ODE within one record, up to that step.
        fate: of the envelope, a `dynamics.integrators.batched_flow.Fate` code.
        left: θ of the envelope at the end of the time looked at; NaN where it cannot be computed.
        escapes: whether the envelope does not end in zero, or there is no bound at all: what a certificate excludes.
    """

    coupling: Int[np.ndarray, " promise"]
    certain: Int[np.ndarray, " promise"]
    ratio: Float[np.ndarray, " promise"]
    gain: Float[np.ndarray, " promise"]
    cost: Int[np.ndarray, " promise"]
    cost_ratio: Float[np.ndarray, " promise"]
    motion: Int[np.ndarray, " promise"]
    excess: Float[np.ndarray, " promise"]
    leap: Float[np.ndarray, " promise"]
    fate: Int[np.ndarray, " promise"]
    left: Float[np.ndarray, " promise"]
    escapes: Bool[np.ndarray, " promise"]

    @property
    def broken(self) -> Bool[np.ndarray, " promise"]:
        """Whether any assumption was seen to break."""
        return (self.coupling >= 0) | (self.cost >= 0) | (self.motion >= 0)

    @property
    def stepped(self) -> Bool[np.ndarray, " promise"]:
        """Whether the motion broke in one record."""
        return (self.motion >= 0) & (self.leap > LEAP)

    def verdict(self) -> Int[np.ndarray, " promise"]:
        """Index in VERDICTS of each promise, should its gate have come back or ended alive."""
        tests = {
            "step": self.stepped,
            "drift": self.motion >= 0,
            "coupling, certainly": self.certain >= 0,
            "coupling, measured": self.coupling >= 0,
            "cost": self.cost >= 0,
            "not due": ~self.escapes & ~(self.left <= TOLERANCE),
        }
        return np.select(list(tests.values()), [VERDICTS.index(name) for name in tests], VERDICTS.index("refutation"))


def ledger(run: ShadowRun, made: Promises, until: Int[np.ndarray, " promise"]) -> Ledger:
    """Hold every promise against what was measured after its flag.

    Args:
        run: a shadow run.
        made: the promises.
        until: index of the last record to look at, for each promise.
    """
    steps = run.history.step.values
    seen = exceeded(run.history, made, until)
    first = first_step(steps, seen.above | seen.below)
    pull = acting(run.history, made.system).value[:, made.subject]
    norm = np.prod(state_of(run, made.system, np.arange(len(steps))[:, None], made.subject)[:-1], axis=0)
    cost = run.values("cost")[:, made.subject]
    motion, excess, leap, fate, left = _motion(run, made, until, first)
    return Ledger(
        coupling=first_step(steps, seen.above),
        certain=first_step(steps, seen.surely),
        ratio=_largest(_over(pull, made.bound), seen.later),
        gain=_largest(_over(pull * norm, made.cost), seen.later),
        cost=first_step(steps, seen.below),
        cost_ratio=-_largest(-_over(cost, made.cost), seen.later),
        motion=motion,
        excess=excess,
        leap=leap,
        fate=fate,
        left=left,
        escapes=np.isin(fate, (Fate.ALIVE, Fate.DIVERGED)) | np.isinf(made.bound),
    )


def _motion(
    run: ShadowRun, made: Promises, until: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(step, excess, leap, fate, left) of `Ledger`; `first` is the step at which coupling or cost broke."""
    count, steps = len(made.gate), run.history.step.values
    motion, fate = np.full(count, -1), np.zeros(count, dtype=np.int64)
    excess, leap, left = (np.full(count, np.nan) for _ in range(3))
    for record in np.unique(made.record):  # those flagged together share their times
        at = np.flatnonzero(made.record == record)
        start = state_of(run, made.system, int(record), made.subject[at])
        times = run.time[record:] - run.time[record]
        flow = flow_of(run, made.system, made.bound[at], made.cost[at], start, times)
        assert flow.path is not None
        fate[at] = flow.outcome
        left[at] = flow.path[-1][until[at] - record, np.arange(len(at))]
        above = _beyond(state_of(run, made.system, np.arange(record, len(steps))[:, None], made.subject[at]), flow.path)
        held = (first[at] < 0) | (steps[record:, None] < first[at])
        seen = (above > TOLERANCE) & held & (steps[record:, None] <= steps[until[at]])
        motion[at] = first_step(steps[record:], seen)
        for i in np.flatnonzero(seen.any(0)):
            j = int(seen[:, i].argmax())
            excess[at[i]] = above[j, i]
            leap[at[i]] = _leap(run, made, int(at[i]), int(record), int(record) + j)
    return motion, excess, leap, fate, left


def _leap(run: ShadowRun, made: Promises, one: int, begin: int, end: int) -> float:
    """Largest move beyond the ODE within one record, from record `begin` to `end`."""
    subject, limit, cost = made.subject[one : one + 1], made.bound[one : one + 1], made.cost[one : one + 1]
    largest = 0.0
    for j in range(begin, end):
        span = np.array([run.time[j + 1] - run.time[j]])
        flow = flow_of(run, made.system, limit, cost, state_of(run, made.system, j, subject), span)
        assert flow.path is not None
        here = tuple(part[None] for part in state_of(run, made.system, j + 1, subject))
        largest = max(largest, float(_beyond(here, flow.path)[0, 0]))
    return largest


def _beyond(state: tuple[np.ndarray, ...], allowed: tuple[np.ndarray, ...]) -> np.ndarray:
    """How far a state is above another: in θ, or as a share of a norm, whichever is more."""
    *norms, theta = state
    *most, most_theta = allowed
    # A norm that has decayed to nothing is no longer a measure of itself.
    shares = [(norm - limit) / np.maximum(limit, TOLERANCE) for norm, limit in zip(norms, most, strict=True)]
    return np.max(np.stack([theta - most_theta, *shares]), axis=0)


def _over(value: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Their quotient; ±∞ over 0, and 0 for 0/0 (no pull, no bound needed)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((value == 0) & (limit == 0), 0.0, value / limit)


def _largest(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Largest over the records in the mask, of those measured; NaN for none."""
    where = where & ~np.isnan(values)
    found = np.max(np.where(where, values, -np.inf), axis=0)
    return np.where(where.any(0), found, np.nan)


def breaks(run: ShadowRun, rule: Rule) -> dict[str, Any]:
    """The ledger of one certificate in one run.

    Args:
        run: a shadow run.
        rule: a certificate.

    Returns:
        A JSON value: for units and for layers, counts by outcome, counts of the wrong by verdict, and by outcome how
        many had their certificate withdrawn, any assumption broken, the coupling measured above its bound, or moved
        beyond the ODE (in one step, or by drift); and one entry with all figures for every gate that came back, ended
        alive or is a refutation.
    """
    steps = run.history.step.values
    mask = flag_masks(run.history, run.warmup, [rule])[0]
    flag = first_step(steps, mask)
    fate = fates(steps, run.history.theta.values)
    back = first_return(steps, run.history.theta.values, flag)
    until = np.where(back >= 0, np.searchsorted(steps, back), len(steps) - 1)
    verdict = np.full(len(flag), -1)
    seen = {name: np.ones(len(flag), dtype=bool) for name in ("broken", "coupling", "moved", "drift")}
    false = np.zeros(len(flag), dtype=bool)
    details: dict[int, list[dict[str, Any]]] = {}
    for made in promises(run, rule, flag):
        found = ledger(run, made, until[made.gate])
        found_verdict = _with_unit_part(run, made, found, until)
        np.maximum.at(verdict, made.gate, found_verdict)
        # With two promises, one that was kept is enough.
        np.logical_and.at(seen["broken"], made.gate, found.broken)
        np.logical_and.at(seen["coupling"], made.gate, found.coupling >= 0)
        np.logical_and.at(seen["moved"], made.gate, found.motion >= 0)
        np.logical_and.at(seen["drift"], made.gate, ~found.stepped)
        false[made.gate] |= _is_false(run, rule, made, found)
        for i, gate in enumerate(made.gate):
            details.setdefault(int(gate), []).append(_entry(run, made, found, found_verdict, i))
    wrong = fate.wrong(flag)
    withdrawn = first_step(steps, ~mask & (flag >= 0) & (steps[:, None] > flag))
    outcome = np.select([flag < 0, wrong, fate.caught(flag)], ["", "wrong", "caught"], "undecided")
    judged = {"verdict": verdict, "false": false, "withdrawn": withdrawn >= 0}
    judged |= {name: mask & (flag >= 0) for name, mask in seen.items()}
    judged |= {"step": judged["moved"] & ~seen["drift"], "drift": judged["moved"] & seen["drift"]}
    entries = [
        {
            "gate": str(run.history.gate.values[gate]),
            "kind": "layers" if run.history.is_branch.values[gate] else "units",
            "rule": rule.name,
            "flag": int(flag[gate]),
            "outcome": str(outcome[gate]),
            "end": float(run.history.theta.values[-1, gate]),
            "withdrawn": int(withdrawn[gate]),
            "verdict": "refutation" if false[gate] else VERDICTS[verdict[gate]],
            "promises": details[int(gate)],
        }
        for gate in np.flatnonzero(wrong | false)
    ]
    layer = run.history.is_branch.values
    return {
        "units": _counts(~layer, outcome, judged),
        "layers": _counts(layer, outcome, judged),
        "gates": entries,
    }


def _with_unit_part(run: ShadowRun, made: Promises, found: Ledger, until: np.ndarray) -> np.ndarray:
    """The verdicts; of a unit certified with its branch, no excuse of the branch's leaves its own part to be judged.

    The branch's promise is kept: once its θ is at zero nothing pulls at the unit (η = 0) and its price drives it to
    zero. Before, nothing is promised of the unit: not due.
    """
    verdict = found.verdict()
    theta = run.values("theta")
    for i in np.flatnonzero(made.inherited & (verdict >= VERDICTS.index("not due"))):
        gate, last = made.gate[i : i + 1], int(until[made.gate[i]])
        zero = theta[made.record[i] : last + 1, made.subject[i]] <= 0
        if not zero[-1]:
            verdict[i] = VERDICTS.index("not due")
            continue
        begin = made.record[i] + (len(zero) - int(np.flip(~zero).argmax()) if not zero.all() else 0)
        part = Promises(gate, gate, np.array([begin]), "linear", np.zeros(1), run.values("cost")[begin, gate])
        verdict[i] = ledger(run, part, np.array([last])).verdict()[0]
    return verdict


def _is_false(run: ShadowRun, rule: Rule, made: Promises, found: Ledger) -> np.ndarray:
    """Certificates whose bounding ODE ends alive, although their margin was clearly negative at the flag."""
    column = "margin_bilinear" if rule.system == "bilinear" else "margin"
    clear = run.values(column)[made.record, made.gate] < -BORDERLINE
    return clear & found.escapes


def _counts(kind: np.ndarray, outcome: np.ndarray, judged: dict[str, np.ndarray]) -> dict[str, Any]:
    wrong, refuted = outcome == "wrong", judged["false"].copy()
    verdicts = {
        name: int((kind & wrong & ~judged["false"] & (judged["verdict"] == i)).sum()) for i, name in enumerate(VERDICTS)
    }
    verdicts["refutation"] += int((kind & refuted).sum())
    of = {name: kind & (outcome == name) for name in ("caught", "wrong", "undecided")}
    return {
        "flagged": int((kind & (outcome != "")).sum()),
        **{name: int(mask.sum()) for name, mask in of.items()},
        **{
            what: {name: int((mask & judged[what]).sum()) for name, mask in of.items()}
            for what in ("withdrawn", "broken", "coupling", "step", "drift")
        },
        "verdicts": verdicts,
    }


def _entry(run: ShadowRun, made: Promises, found: Ledger, verdict: np.ndarray, i: int) -> dict[str, Any]:
    """One promise in figures; numbers that are not finite become None, since JSON has none."""
    values = {field.name: getattr(found, field.name)[i].item() for field in fields(Ledger)}
    return {
        "subject": str(run.history.gate.values[made.subject[i]]),
        "system": made.system,
        "bound": _finite(float(made.bound[i])),
        **{name: _finite(value) for name, value in values.items()},
        "fate": Fate(int(found.fate[i])).name,
        "verdict": VERDICTS[verdict[i]],
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
