"""The gate paths of a run as a small JSON file, from which the figure of the (ρ, θ) plane is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from training.certificates.fates import fates
from training.certificates.rules import first_flags, rule

__all__ = ["gate_paths"]


def gate_paths(history: xr.Dataset, warmup: int, most: int = 160) -> dict[str, Any]:
    """Return the paths of all gates, and what became of each, as JSON.

    These are `steps` of the records; `theta` and `rho`, [step, gate] with four decimals; `certified`, the step at which
    the half-plane first certified each gate; `ended`, its fate (`training.certificates.fates`: dead, alive or
    undecided); and `died`, since which step it was dead.

    Args:
        history: of a run.
        warmup: as for the audit.
        most: records kept, ≥ 2; a longer history is thinned evenly, first and last kept.
    """
    rows = np.unique(np.linspace(0, history.sizes["step"] - 1, most).round().astype(int))
    ended = fates(history.step.values, history.theta.values)
    return {
        "gates": [str(name) for name in history.gate.values],
        "is_layer": history.is_branch.values.tolist(),
        "certified": first_flags(history, warmup, [rule("half-plane")])[0].tolist(),
        "ended": ended.names.tolist(),
        "died": ended.death.tolist(),
        "steps": history.step.values[rows].tolist(),
        "theta": _short(history.theta.values[rows]),
        "rho": _short(history.rho.values[rows]),
    }


def _short(values: np.ndarray) -> list[list[float | None]]:
    """Return the values with four decimals, None for NaN: gates that have left have no weights, and JSON no NaN."""
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]
