"""Locality-sensitive cells: near values fall into the same cell of a small table, in time linear in their number.

A line is cut into intervals of one width; the number of a value's interval, modulo the table's size, is its cell, so
only values far apart are ever taken for one another. What it hashes are residuals and predictions
(`training.methods.snacs.residuals`), of deviation about 1. Several tables, whose cuts are shifted by equal parts of a
width, are averaged. None of them cuts near zero: what is constant but for rounding stays in one cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from training.errors import InputError

__all__ = ["Hashing", "intervals"]


@dataclass(frozen=True)
class Hashing:
    """Settings of the estimator.

    Attributes:
        width: of a residual's intervals, in its standard deviations, > 0.
        rest_width: of a prediction's intervals, in standard deviations of what is predicted, > 0.
        buckets: cells in a table of residuals, ≥ 2.
        rest_buckets: cells in a table of predictions, ≥ 2.
        tables: shifts that are averaged, ≥ 1.
        ridge: variance, in squared deviations of an activation, that counts as noise; > 0.

    Raises:
        InputError: for a setting out of range.
    """

    width: float = 0.75
    rest_width: float = 1.5
    buckets: int = 12
    rest_buckets: int = 4
    tables: int = 4
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("width", "rest_width", "ridge"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be > 0 and finite; got {getattr(self, name)}")
        for name, least in (("buckets", 2), ("rest_buckets", 2), ("tables", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be ≥ {least}; got {getattr(self, name)}")

    def shift(self, table: int, what: int) -> float:
        """Return the shift of the cuts, in widths, strictly between 0 and 1; each thing that is cut has another."""
        return ((table + what) % self.tables + 0.5) / self.tables


def intervals(values: Float[np.ndarray, "*shape"], width: float, shift: float) -> Int[np.ndarray, "*shape"]:
    """Return the number of each value's interval.

    Example:
        >>> intervals(np.array([-0.6, -0.4, 0.0, 0.4, 0.6, 1.6]), 1.0, 0.5).tolist()
        [-1, 0, 0, 0, 1, 2]
    """
    return np.floor(values / width + shift).astype(np.int64)
