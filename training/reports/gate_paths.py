"""A run's gate paths as a small JSON file: what the figure of the (ρ, θ) plane is drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from training.certificates.fates import fates
from training.certificates.rules import RULES, first_flags

__all__ = ["gate_paths"]


def gate_paths(history: xr.Dataset, warmup: int, most: int = 160) -> dict[str, Any]:
    """Steps, θ [step, gate] and ρ [step, gate] with four decimals, when the half-plane certified each gate, how it
    ended (`training.certificates.fates`: dead, alive or undecided), and since which step it was dead.

    Args:
        history: of a run.
        warmup: as for the audit.
        most: records kept; a longer history is thinned evenly, first and last kept.
    """
    rows = np.unique(np.linspace(0, history.sizes["step"] - 1, most).round().astype(int))
    ended = fates(history.step.values, history.theta.values)
    half_plane = [rule.name for rule in RULES].index("half-plane")
    return {
        "gates": [str(name) for name in history.gate.values],
        "is_layer": history.is_branch.values.tolist(),
        "certified": first_flags(history, warmup)[half_plane].tolist(),
        "ended": np.select([ended.dead, ended.alive], ["dead", "alive"], "undecided").tolist(),
        "died": ended.death.tolist(),
        "steps": history.step.values[rows].tolist(),
        "theta": _short(history.theta.values[rows]),
        "rho": _short(history.rho.values[rows]),
    }


def _short(values: np.ndarray) -> list[list[float | None]]:
    """None for NaN, which JSON does not know: gates that have left have no weights."""
    return [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in values]
