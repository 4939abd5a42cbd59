"""A judged certificate as JSON: counts of what was flagged, and the figures of every gate that was not held."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.integrators.fate import Fate
from training.evidence.promises.decide import VERDICTS, Verdict
from training.evidence.promises.judge import Judged, JudgedPromises

__all__ = ["as_json"]


def as_json(judged: Judged) -> dict[str, Any]:
    """Return the counts and the gates of one certificate in one run.

    Returns:
        `units` and `layers`: counts by outcome; by outcome also how many had their certificate withdrawn, any
        assumption broken, the coupling measured above its bound, or moved beyond the ODE (in one step, or by drift);
        and counts of the wrong by verdict. `gates`: an entry with all figures for every gate that came back, ended
        alive or is a refutation.
    """
    layer = judged.run.history.is_branch.values
    listed = (judged.outcome == "wrong") | judged.refuted
    return {
        "units": _counts(judged, ~layer),
        "layers": _counts(judged, layer),
        "gates": [_gate(judged, int(gate)) for gate in np.flatnonzero(listed)],
    }


def _counts(judged: Judged, kind: np.ndarray) -> dict[str, Any]:
    of = {name: kind & (judged.outcome == name) for name in ("caught", "wrong", "undecided")}
    verdicts = {
        name: int((of["wrong"] & ~judged.refuted & (judged.verdict == i)).sum()) for i, name in enumerate(VERDICTS)
    }
    verdicts[Verdict.REFUTATION.text] += int((kind & judged.refuted).sum())
    masks = {
        "withdrawn": judged.withdrawn >= 0,
        "broken": judged.broken,
        "coupling": judged.coupling,
        "step": judged.step,
        "drift": judged.drift,
    }
    return {
        "flagged": int((kind & (judged.flag >= 0)).sum()),
        **{name: int(mask.sum()) for name, mask in of.items()},
        **{what: {name: int((mask & each).sum()) for name, mask in of.items()} for what, each in masks.items()},
        "verdicts": verdicts,
    }


def _gate(judged: Judged, gate: int) -> dict[str, Any]:
    history = judged.run.history
    verdict = Verdict.REFUTATION if judged.refuted[gate] else judged.verdict[gate]
    return {
        "gate": str(history.gate.values[gate]),
        "kind": "layers" if history.is_branch.values[gate] else "units",
        "rule": judged.rule.name,
        "flag": int(judged.flag[gate]),
        "outcome": str(judged.outcome[gate]),
        "end": float(judged.run.history.theta.values[-1, gate]),
        "withdrawn": int(judged.withdrawn[gate]),
        "verdict": VERDICTS[verdict],
        "promises": [
            _promise(judged, part, int(i)) for part in judged.promises for i in np.flatnonzero(part.made.gate == gate)
        ],
    }


def _promise(judged: Judged, part: JudgedPromises, i: int) -> dict[str, Any]:
    """Return one promise in figures; numbers that are not finite become None, since JSON has none."""
    made, seen = part.made, part.seen
    figures = {
        "bound": made.bound,
        "coupling": seen.coupling.first,
        "certain": seen.coupling.certain,
        "ratio": seen.coupling.ratio,
        "gain": seen.coupling.gain,
        "cost": seen.cost.first,
        "cost_ratio": seen.cost.ratio,
        "motion": seen.motion.first,
        "excess": seen.motion.excess,
        "leap": seen.motion.leap,
        "fate": seen.envelope.fate,
        "left": seen.envelope.left,
        "escapes": seen.envelope.escapes,
    }
    values = {name: each[i].item() for name, each in figures.items()}
    return {
        "subject": str(judged.run.history.gate.values[made.subject[i]]),
        "system": made.system,
        **{name: value if np.isfinite(value) else None for name, value in values.items()},
        "fate": Fate(values["fate"]).name,
        "verdict": VERDICTS[part.verdict[i]],
    }
