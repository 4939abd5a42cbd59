"""The couplings measured in each interval, read from a history's columns.

No other module knows these columns.

The theorem asks for D ≥ −ηρ and ⟨∇D, w⟩ ≥ −ηρ of what *acts* on the gate: for a unit, samples with its branch off
included. The tracker measures given that the branch is on, so what acts is its measurement times the share of samples
with the branch on. That share is not stored; the mean of θ_branch at both ends of the interval stands for it.

Histories from before the column `pull` hold in `difference` the first-order D̂ over all samples: it acts as it is.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Float

__all__ = ["ERRORS", "Measured", "System", "acting", "bound", "has_measurements", "share_on"]

System: TypeAlias = Literal["linear", "bilinear"]

ERRORS = 2.0  # standard errors from which on a measurement counts as certain


class Measured(NamedTuple):
    """η̂ of the interval that each record closes, [step, gate]; NaN where nothing was measured or there is no norm.

    Attributes:
        value: the strongest pull that was measured along the weights, over the norm.
        lower: (−D̂ − 2·SE) over the norm: D̂ alone, since the slopes come without a standard error.
    """

    value: Float[np.ndarray, "step gate"]
    lower: Float[np.ndarray, "step gate"]


def has_measurements(history: xr.Dataset) -> bool:
    """Return whether a history holds the columns that `acting` needs."""
    return {"difference", "error", "coupling"} <= set(history.data_vars)


def acting(history: xr.Dataset, system: System = "linear") -> Measured:
    """Return η̂ of what acted on each gate in each interval. Zero weights feel no coupling: η̂ = 0 there.

    Args:
        history: of a run.
        system: whose norm the pull is divided by.
    """
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in history.data_vars.items()}
    norm = columns["rho"] * (columns["rho_in"] if system == "bilinear" else 1.0)
    pull, lower = -columns["difference"], -columns["difference"] - ERRORS * columns["error"]
    if "pull" in columns:
        share = share_on(history)
        # The tracker stores an infinite pull where it measured nothing; a branch that was never on passes nothing on.
        pull = np.where(np.isinf(columns["pull"]), np.nan, columns["pull"])
        # A D̂ of too few samples is in no pull, and its error, from the same few, is not to be trusted.
        lower = np.minimum(lower, pull)
        pull, lower = (np.where(share > 0, share * part, 0.0) for part in (pull, lower))
    return Measured(*(_over_norm(part, norm) for part in (pull, lower)))


def share_on(history: xr.Dataset) -> Float[np.ndarray, "step gate"]:
    """Return the share of each interval's samples with the gate's branch on, in [0, 1]; 1 for gates in no branch."""
    theta, parent = np.asarray(history.theta.values, dtype=np.float64), history.parent.values
    before = np.concatenate([theta[:1], theta[:-1]])
    return np.where(parent >= 0, (theta + before)[:, parent] / 2, 1.0)


def bound(history: xr.Dataset, system: System = "linear") -> Float[np.ndarray, "step gate"]:
    """Return the bound on η that the certificates of each record rest on, safety factor included."""
    name = "coupling" if system == "linear" else "coupling_bilinear"
    return np.asarray(history[name].values, dtype=np.float64)


def _over_norm(pull: np.ndarray, norm: np.ndarray) -> np.ndarray:
    return np.divide(pull, norm, out=np.where(np.isnan(norm), np.nan, 0.0), where=norm > 0)
