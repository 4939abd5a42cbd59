"""The table of a comparison: for each method mean, standard deviation and number of seeds.

Shares and times are relative to the network that is not pruned, of the same seed: multiply–accumulates and parameters
of what is left, floating-point operations and wall time of the whole training. Accuracy is that of the last epoch.

`settings` are those of the network that is not pruned, `changed` of a row what its runs have otherwise; `seconds` is
the wall time of all runs together. `runs` says what made them, `written` what put the table together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from training.engine.config import run_identity, shared_settings
from training.evidence.statistics import mean_and_deviation
from training.experiments.compare.one_run import Run
from training.experiments.compare.plan import Plan
from training.experiments.compare.provenance import provenance
from training.experiments.compare.published import published
from training.runtime.environment import environment

__all__ = ["MEASURES", "over_seeds", "table"]

#: Name in a row → what it is.
MEASURES = {
    "accuracy": "test accuracy after the last epoch, in [0, 1]",
    "macs": "multiply–accumulates left, share of the full network's",
    "parameters": "parameters left, share of the full network's",
    "parameters_masked": "the same without those of masked kernels, which stay in the network; for systems that mask",
    "training_flops": "floating-point operations of training, share of those without pruning",
    "own_training_flops": "the same, without what was spent in the run that was taken over",
    "time": "wall time of training (evaluation left out), share of that without pruning",
    "processor_time": "the same of the processor, which work beside it on the machine hardly changes",
}


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard deviation and the values.

    Returns:
        mean: None without values.
        sd: of the sample, divisor n − 1; None for fewer than two values.
        values: as given.

    Example:
        >>> over_seeds([1.0, 3.0])
        {'mean': 2.0, 'sd': 1.4142135623730951, 'values': [1.0, 3.0]}
    """
    mean, deviation = mean_and_deviation(values)
    return {"mean": mean, "sd": deviation, "values": list(values)}


def table(plan: Plan) -> dict[str, Any]:
    """Return the table of all runs that are finished, as JSON holds it; a method without a finished run has no row.

    Nothing is left of a seed whose run without pruning is not finished: there is nothing to relate it to.
    """
    compare = plan.compare
    results = [[run.result() for run in runs] for runs in plan.runs]
    pairs = zip(chain(*plan.runs), chain(*results), strict=True)
    ended = [(run, result) for run, result in pairs if result is not None]
    plain = {result["seed"]: result for result in results[0] if result is not None}
    known = published(compare.network, compare.width, compare.data)
    rows = []
    common = _settings(plan.runs[0][0])
    for runs, each in zip(plan.runs, results, strict=True):
        finished = [result for result in each if result is not None and result["seed"] in plain]
        if finished:
            rows.append(_row(finished, plain))
            own = _settings(runs[0])
            rows[-1]["changed"] = {name: own[name] for name in own if own[name] != common[name]}
            rows[-1]["published"] = [p._asdict() for p in known if p.method == finished[0]["method"]]
    return {
        "kind": "comparison",
        "preset": compare.preset,
        "network": compare.network,
        "width": compare.width,
        "data": plan.provenance,
        "share": compare.share,
        "epochs": compare.epochs,
        "retrain": compare.retrain,
        "seeds": sorted(plain),
        "full": {name: full[name] for full in list(plain.values())[:1] for name in ("macs", "parameters", "flops")},
        "seconds": sum(_own_seconds(result) for _, result in ended),
        "measures": MEASURES,
        "settings": common,
        "rows": rows,
        "published": [p._asdict() for p in known if p.method is None],
        "runs": provenance([run for run, _ in ended]),
        "written": environment(),
    }


def _settings(run: Run) -> dict[str, Any]:
    return shared_settings(run_identity(run.config), "seed")


def _own_seconds(result: dict[str, Any]) -> float:
    """Wall time of what a run did itself."""
    before = result["taken_over"]
    return float(result["seconds"] - (before["seconds"] if before else 0))


def _row(finished: list[dict[str, Any]], plain: dict[int, dict[str, Any]]) -> dict[str, Any]:
    one = finished[0]
    pairs = [(result, plain[result["seed"]]) for result in finished]
    before = [result["taken_over"]["flops"] if result["taken_over"] else 0 for result in finished]
    return {
        **{name: one[name] for name in ("label", "method", "settings", "pretrained", "epochs", "retrain")},
        "taken_over": one["taken_over"] is not None,
        "seeds": [result["seed"] for result in finished],
        "accuracy": over_seeds([result["accuracy"] for result in finished]),
        "macs": over_seeds([result["macs"] / full["macs"] for result, full in pairs]),
        "parameters": over_seeds([result["parameters"] / full["parameters"] for result, full in pairs]),
        **_optional("parameters_masked", "parameters_masked", "parameters", pairs),
        "training_flops": over_seeds([result["flops"] / full["flops"] for result, full in pairs]),
        "own_training_flops": over_seeds(
            [(result["flops"] - spent) / full["flops"] for (result, full), spent in zip(pairs, before, strict=True)]
        ),
        "time": over_seeds([result["seconds"] / full["seconds"] for result, full in pairs]),
        **_optional("processor_time", "processor_seconds", "processor_seconds", pairs),
    }


def _optional(name: str, what: str, of: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """A measure that not every run has."""
    if any(what not in result or of not in full for result, full in pairs):
        return {}
    return {name: over_seeds([result[what] / full[of] for result, full in pairs])}
