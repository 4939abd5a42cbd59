"""Several shadow runs pooled into one JSON value, which holds everything that the tables say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from training.certificates.fates import settled
from training.certificates.rules import CERTIFICATES, POOLED_THRESHOLDS, Rule, first_flags, threshold
from training.engine.config import shared_settings
from training.errors import InputError
from training.evidence.calibration import calibration
from training.evidence.choices import choices
from training.evidence.couplings.growth import growth
from training.evidence.noise_table import escape_table
from training.evidence.pool import Flagged, best_threshold, flagged, summary
from training.evidence.promises.as_json import as_json
from training.evidence.promises.judge import judge
from training.evidence.runs import KINDS, ShadowRun

__all__ = ["evidence", "grouped"]


def _settings(run: ShadowRun) -> dict[str, Any]:
    """Return the settings that the runs of a group share.

    They may differ in the seed, which is the replication, and in what prune mode would remove: they are shadow runs.
    """
    return shared_settings(run.settings, "seed", "prune")


def grouped(runs: Sequence[ShadowRun]) -> list[tuple[dict[str, Any], list[ShadowRun]]]:
    """Return the runs by their settings, each group with its settings.

    Raises:
        InputError: if a seed appears twice in a group, which would count one run as two.
    """
    groups: list[tuple[dict[str, Any], list[ShadowRun]]] = []
    for run in runs:
        what = _settings(run)
        for settings, members in groups:
            if settings == what:
                same = next((member for member in members if member.seed == run.seed), None)
                if same is not None:
                    raise InputError(f"{run.name} and {same.name} are the same settings and seed {run.seed}: name one")
                members.append(run)
                break
        else:
            groups.append((what, [run]))
    return groups


def evidence(runs: Sequence[ShadowRun], on_part: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Judge runs, all together and by settings.

    Args:
        runs: at least one.
        on_part: called after each part of the work, `2 + len(grouped(runs))` times at most.

    Returns:
        A JSON value: `runs`, one entry each; `all`, the pooled tables; `groups`, the same by settings, where there is
        more than one; `gates`, every gate that came back, ended alive or is a refutation; `refutations`, their number.

    Raises:
        InputError: for no run, or one that is there twice.
    """
    if not runs:
        raise InputError("runs must name at least one run folder; got none")
    groups = grouped(runs)
    strata = [next(i for i, (_, members) in enumerate(groups) if any(run is each for each in members)) for run in runs]
    judged = {id(run): [as_json(judge(run, rule)) for rule in CERTIFICATES] for run in runs}
    on_part()
    gates = [{"run": run.name, **entry} for run in runs for found in judged[id(run)] for entry in found["gates"]]
    result: dict[str, Any] = {
        "runs": [_run(run) for run in runs],
        "refutations": sum(entry["verdict"] == "refutation" for entry in gates),
        "all": _tables(runs, judged, strata) | {"choices": choices(runs)},
        "groups": [],
        "gates": gates,
    }
    on_part()
    for settings, members in groups if len(groups) > 1 else []:
        part = {"settings": settings, "seeds": [run.seed for run in members], **_tables(members, judged)}
        result["groups"].append(part)
        on_part()
    return result


def _run(run: ShadowRun) -> dict[str, Any]:
    theta = run.history.theta.values[-1]
    return {
        "name": run.name,
        "seed": run.seed,
        "steps": run.steps,
        "gates": len(theta),
        "settled": float(np.mean(settled(theta))),
        "settings": _settings(run),
        "made": run.made,
    }


def _tables(
    runs: Sequence[ShadowRun], judged: dict[int, list[dict[str, Any]]], strata: Sequence[int] | None = None
) -> dict[str, Any]:
    parts = _parts(runs)
    plain = {kind: {rule.name: part for rule, part in of.items() if rule.system is None} for kind, of in parts.items()}
    rules = []
    for kind, of in parts.items():
        for rule, part in of.items():
            rival = best_threshold(part, plain[kind]) if rule.system is not None else None
            rules.append({"kind": kind, "rule": rule.name, **summary(part, strata), "best_threshold": rival})
    return {
        "rules": rules,
        "escape": escape_table(runs, plain, strata),
        "breaks": _breaks([judged[id(run)] for run in runs]),
        "calibration": calibration(runs, strata=strata),
        "growth": growth(runs) + growth(runs, "bilinear"),
    }


def _parts(runs: Sequence[ShadowRun]) -> dict[str, dict[Rule, list[Flagged]]]:
    """Return the outcome of each rule in each run, by kind: certificates first, then the plain thresholds."""
    rules = (*CERTIFICATES, *map(threshold, POOLED_THRESHOLDS))
    flags = [first_flags(run.history, run.warmup, rules) for run in runs]
    return {
        kind: {
            rule: [flagged(run.history, run.warmup, flag[i], kind) for run, flag in zip(runs, flags, strict=True)]
            for i, rule in enumerate(rules)
            if kind in rule.kinds
        }
        for kind in KINDS
    }


def _breaks(judged: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the counts of all runs added up, by kind and certificate."""
    return [
        {"kind": kind, "rule": rule.name, **_sum([run[i][kind] for run in judged])}
        for i, rule in enumerate(CERTIFICATES)
        for kind in rule.kinds
    ]


def _sum(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of nested counts."""
    return {
        name: _sum([part[name] for part in parts]) if isinstance(value, dict) else sum(part[name] for part in parts)
        for name, value in parts[0].items()
    }
