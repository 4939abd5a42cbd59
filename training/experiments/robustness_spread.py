"""The spread of final sizes and accuracies over seeds and starting widths, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.certificates.fates import ALIVE, DEAD
from training.evidence.statistics import LEVEL, bootstrap, mean_and_deviation
from training.runtime.text_tables import DASH, markdown_table, plus_minus

__all__ = ["QUANTITIES", "as_markdown", "by_method", "exponent", "powers", "sizes"]

#: What is measured at the end of a run.
QUANTITIES = ("units", "macs", "parameters", "accuracy")


def exponent(rows: Sequence[Mapping[str, Any]], quantity: str) -> float | None:
    """Return p in quantity ∝ (units at the start)^p, by least squares of the logarithms: 0: no influence.

    Args:
        rows: of runs.
        quantity: what of them, > 0.

    Returns:
        p; None where all runs started alike.

    Example:
        >>> rows = [{"units_start": n, "units": n // 4} for n in (100, 200, 400)]
        >>> round(exponent(rows, "units"), 6)
        1.0
    """
    start = np.log([row["units_start"] for row in rows])
    if np.ptp(start) == 0:
        return None
    return float(np.polyfit(start, np.log([row[quantity] for row in rows]), 1)[0])


def by_method(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return for each method mean and standard deviation over seeds at each width, and the exponents over widths.

    Args:
        rows: of runs, at least one; see `training.experiments.robustness.one_run`.

    Returns:
        For each method, in the order of the rows: `widths`, an entry a starting width with the number of runs n and,
        for each of `QUANTITIES`, (mean, standard deviation; None for one run); and `exponents`, for each quantity
        (p, low, high), the limits by bootstrap over seeds.
    """
    found = []
    for system in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == system]
        by_seed = [[row for row in own if row["seed"] == seed] for seed in dict.fromkeys(row["seed"] for row in own)]
        found.append(
            {
                "system": system,
                "widths": [_width(own, scale) for scale in sorted({row["scale"] for row in own})],
                "exponents": {quantity: _exponent(by_seed, quantity) for quantity in QUANTITIES},
            }
        )
    return found


def _width(rows: Sequence[Mapping[str, Any]], scale: float) -> dict[str, Any]:
    at = [row for row in rows if row["scale"] == scale]
    return {
        "scale": scale,
        "n": len(at),
        "units_start": at[0]["units_start"],
        "undecided": sum(row["undecided"] for row in at),
        **{quantity: mean_and_deviation([row[quantity] for row in at]) for quantity in QUANTITIES},
    }


def _exponent(by_seed: Sequence[Sequence[Mapping[str, Any]]], quantity: str) -> tuple[float | None, ...]:
    def of(parts: Sequence[Sequence[Mapping[str, Any]]]) -> float | None:
        return exponent([row for part in parts for row in part], quantity)

    limits = bootstrap(by_seed, of)
    return (of(by_seed), *(limits or (None, None)))


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the table of a result of `training.experiments.robustness.measure`."""
    settings = result["settings"]
    run = settings["run"]
    lines = [
        f"Robustness: {run['network']} on {result['data']}, {run['epochs']} epochs, last epoch, mean ± standard "
        f"deviation over seeds. Price of a unit {settings['cost']:g} nats (ln γ = {result['log_gamma']:.1f}), ratio "
        f"{settings['ratio']:g}. Sizes are those of the deterministic network; undecided gates: "
        f"{DEAD:g} < θ < {ALIVE:g}.",
        "",
    ]
    head, *rows = sizes(result)
    lines += markdown_table(head, rows)
    lines += [
        "",
        f"Size at the end ∝ (units at the start)^p; p with {100 * LEVEL:g}% limits, seeds drawn anew. 0: the start "
        "does not matter; 1 for units: proportional to it.",
        "",
    ]
    head, *rows = powers(result)
    lines += markdown_table(head, rows)
    return "\n".join(lines) + "\n"


def sizes(result: Mapping[str, Any]) -> list[list[str]]:
    """Return headings, then a row a method and starting width: mean ± standard deviation of what it ends with."""
    rows = [["system", "start ×width (units)", "runs", "units", "MACs", "parameters", "accuracy, %", "undecided gates"]]
    for each in result["spread"]:
        for at in each["widths"]:
            left = (_pair(at[name], 1, 0 if name != "units" else 1) for name in QUANTITIES[:3])
            start, accuracy = f"×{at['scale']:g} ({at['units_start']})", _pair(at["accuracy"], 100, 2)
            rows.append([each["system"], start, str(at["n"]), *left, accuracy, str(at["undecided"])])
    return rows


def powers(result: Mapping[str, Any]) -> list[list[str]]:
    """Return headings, then a row a method: the exponents over the starting units, with limits."""
    rows = [["system", "p of units", "p of MACs", "p of parameters"]]
    for each in result["spread"]:
        rows.append([each["system"], *(_power(each["exponents"][quantity]) for quantity in QUANTITIES[:3])])
    return rows


def _pair(value: Sequence[float | None], factor: float, digits: int) -> str:
    mean, deviation = value
    assert mean is not None
    return plus_minus(mean, deviation, digits, factor, separator=",")


def _power(value: Sequence[float | None]) -> str:
    power, low, high = value
    if power is None:
        return DASH
    return f"{power:.2f}" if low is None else f"{power:.2f} [{low:.2f}, {high:.2f}]"
