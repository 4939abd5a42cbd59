"""What was measured of the couplings in each interval: the one place that knows the history's columns for it.

The theorem asks for D(t) ≥ −η ρ(t), D being what acts on the gate: for a unit, samples with its branch off included.
So the coupling that can break a certificate is

    η̂ = −D̄ / ρ        (over ρ_in ρ for the bilinear gate),

signed, with the standard error of D̄ over the same norm. The tracker's bound is larger than the maximum of these where
the branch is not always on: it is made for a branch that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Float

from training.errors import InputError

__all__ = ["SOURCES", "Columns", "Measured", "System", "acting", "bound", "sources"]

System: TypeAlias = Literal["linear", "bilinear"]


class Columns(NamedTuple):
    """Where an estimator of D stands in a history.

    Attributes:
        value: name of the column with D̄ of each interval.
        error: name of the column with its standard error.
    """

    value: str
    error: str


#: The estimators a history may hold, by name. One line makes another one known to every analysis.
SOURCES: Mapping[str, Columns] = {"first order": Columns("difference", "error")}


class Measured(NamedTuple):
    """η̂ of each interval and its standard error, [step, gate]; NaN where there is no such norm."""

    value: Float[np.ndarray, "step gate"]
    error: Float[np.ndarray, "step gate"]


def sources(history: xr.Dataset) -> list[str]:
    """Names of the estimators that the history holds."""
    return [name for name, columns in SOURCES.items() if set(columns) <= set(history.data_vars)]


def acting(history: xr.Dataset, system: System = "linear", source: str = "first order") -> Measured:
    """η̂ of the interval that each record closes.

    Zero weights feel no coupling: η̂ = 0 there.

    Args:
        history: of a run.
        system: whose norm D̄ is divided by.
        source: an estimator, one of `sources(history)`.

    Raises:
        InputError: for an estimator that the history does not hold.
    """
    held = sources(history)
    if source not in held:
        raise InputError(f"source must be one of {', '.join(held)}; got {source!r}")
    norm = np.asarray(history.rho.values, dtype=np.float64)
    if system == "bilinear":
        norm = norm * history.rho_in.values
    value, error = (np.asarray(history[name].values, dtype=np.float64) for name in SOURCES[source])
    nothing = np.where(np.isnan(norm), np.nan, 0.0)
    return Measured(
        np.divide(-value, norm, out=nothing.copy(), where=norm > 0),
        np.divide(error, norm, out=nothing, where=norm > 0),
    )


def bound(history: xr.Dataset, system: System = "linear") -> Float[np.ndarray, "step gate"]:
    """The bound on η that the certificates of each record rest on, safety factor included."""
    name = "coupling" if system == "linear" else "coupling_bilinear"
    return np.asarray(history[name].values, dtype=np.float64)
