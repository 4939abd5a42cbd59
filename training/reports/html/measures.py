"""The numbers by which runs are compared, each with its name and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.engine.config import shared_settings
from training.evidence.statistics import mean_and_deviation
from training.reports.html.runs import PageRun
from training.runtime.text_tables import DASH, plus_minus

__all__ = ["COSTS", "GATE_COUNTS", "MEASURES", "Measure", "compared", "same_but_seed"]


@dataclass(frozen=True)
class Measure:
    """One number of a run.

    Attributes:
        name: with its unit.
        of: the number; None where a run has none.
        digits: written behind the point.
    """

    name: str
    of: Callable[[PageRun], float | None]
    digits: int = 0

    def written(self, value: float | None) -> str:
        """Return the number as text, a dash for none."""
        return DASH if value is None else f"{value:,.{self.digits}f}"


def _gated(name: str, per: str | None = None, scale: float = 1.0) -> Callable[[PageRun], float | None]:
    """Return a reader of a number of the gated network, times a scale, or in percent of another."""

    def found(run: PageRun) -> float | None:
        gated = run.result["gated"]
        if name not in gated:  # earlier versions counted less
            return None
        return 100 * gated[name] / gated[per] if per else scale * gated[name]

    return found


def _ungated(name: str, scale: float = 1.0) -> Callable[[PageRun], float | None]:
    return lambda run: scale * run.result["ungated"][name] if "ungated" in run.result else None


GATE_COUNTS = (
    Measure("gates at first", lambda run: run.verdict.gates),
    Measure("certified", lambda run: run.verdict.certified),
    Measure("of these held", lambda run: run.verdict.held),
    Measure("came back or ended alive", lambda run: run.verdict.wrong),
    Measure("not settled at the end", lambda run: run.verdict.undecided),
)

COSTS = (
    Measure("test accuracy, last epoch (%)", lambda run: 100 * run.result["gated"]["accuracy"], 2),
    Measure("… of the ungated network, same budget (%)", _ungated("accuracy", 100), 2),
    Measure(
        "multiply–accumulates left in the network as trained (% of the full network's)",
        lambda run: None if run.macs_left is None else 100 * run.macs_left / run.result["gated"]["macs_full"],
        1,
    ),
    Measure("multiply–accumulates of an image that are left", _gated("macs")),
    Measure("… of the full network's (%)", _gated("macs", "macs_full"), 1),
    Measure("parameters that are left", _gated("parameters")),
    Measure("… of the full network's (%)", _gated("parameters", "parameters_full"), 1),
    Measure("units on at the end", _gated("units_on")),
    Measure("layers on at the end", _gated("layers_on")),
    Measure("training FLOPs spent (10⁹)", _gated("flops", scale=1e-9), 1),
    Measure("… of the full network's (%)", _gated("flops", "flops_full"), 1),
    Measure("wall time of training (s)", _gated("seconds")),
    Measure("… of the ungated network (s)", _ungated("seconds")),
    Measure("steps", _gated("steps")),
)

MEASURES = GATE_COUNTS + COSTS


def compared(runs: Sequence[PageRun], measures: Sequence[Measure] = MEASURES) -> list[list[str]]:
    """Return a row a measure, with a cell a run and, where runs differ by their seed only, mean ± standard deviation.

    Measures that no run has are left out.
    """
    rows = []
    for measure in measures:
        values = [measure.of(run) for run in runs]
        if all(value is None for value in values):
            continue
        row = [measure.name, *map(measure.written, values)]
        if same_but_seed(runs):
            known = [value for value in values if value is not None]
            mean, deviation = mean_and_deviation(known)
            if mean is None or len(known) < len(values):
                row.append(DASH)
            else:
                row.append(plus_minus(mean, deviation, measure.digits or 1, separator=","))
        rows.append(row)
    return rows


def same_but_seed(runs: Sequence[PageRun]) -> bool:
    """Return whether there are several runs with the same settings and different seeds."""
    settings = [shared_settings(run.result["settings"], "seed") for run in runs]
    seeds = {run.result["seed"] for run in runs}
    return len(runs) > 1 and len(seeds) == len(runs) and all(each == settings[0] for each in settings)
