"""Locality-sensitive cells: near activations fall into the same cell, in time linear in their number.

A vector z is projected on a few random directions (p-stable hashing, Datar et al., 2004) and each projection cut into
intervals of a width measured in its standard deviations, with a random offset. Up to as many dimensions as there would
be projections are taken as they are. Projections are sums over the vector's components, so leaving a component out
costs a subtraction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from training.errors import InputError

__all__ = ["Cells", "Hashing", "cells_of_children", "cells_of_group", "cells_of_rest", "directions_of", "standardised"]

#: Multiply a cell's coordinates before they are summed into one number: odd, large, of no common pattern (splitmix64).
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], dtype=np.uint64)


@dataclass(frozen=True)
class Hashing:
    """Settings of the cells.

    Attributes:
        width: of the intervals of a single activation, in standard deviations, > 0.
        rest_width: of those of projections of the conditioning activations, > 0.
        projections: random directions for vectors of more dimensions than these, 1 to 4.
        buckets: table size for the cells of single activations or groups, ≥ 2.
        rest_buckets: table size for the cells of the conditioning activations, ≥ 2.
        tables: independent draws of directions and offsets, averaged, ≥ 1.
        seed: of the draws.

    Raises:
        InputError: for a setting out of range.
    """

    width: float = 1.0
    rest_width: float = 1.5
    projections: int = 2
    buckets: int = 8
    rest_buckets: int = 64
    tables: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "rest_width"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be > 0 and finite; got {getattr(self, name)}")
        for name, least in (("buckets", 2), ("rest_buckets", 2), ("tables", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be ≥ {least}; got {getattr(self, name)}")
        if not 1 <= self.projections <= len(_FACTORS):
            raise InputError(f"projections must be 1 to {len(_FACTORS)}; got {self.projections}")


@dataclass(frozen=True)
class Cells:
    """In which cell each sample is.

    Attributes:
        places: interval numbers along each direction, exact. [sample, direction]
        buckets: size of the table.
    """

    places: Int[np.ndarray, "sample direction"]
    buckets: int

    def hashed(self) -> Int[np.ndarray, " sample"]:
        """Bucket of each sample, 0 to buckets − 1; cells that share one are taken for the same cell."""
        if self.places.shape[1] == 1:  # neighbouring intervals never share one
            return self.places[:, 0] % self.buckets
        factors = _FACTORS[: self.places.shape[1]]
        mixed = (self.places.astype(np.uint64) * factors).sum(1, dtype=np.uint64)
        return ((mixed >> np.uint64(32)) % np.uint64(self.buckets)).astype(np.int64)


def standardised(values: Float[np.ndarray, "sample column"]) -> Float[np.ndarray, "sample column"]:
    """Mean 0 and deviation 1 in each column; a constant one becomes 0."""
    centred, deviation = values - values.mean(0), values.std(0)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)


def cells_of_children(
    children: Float[np.ndarray, "sample child"], hashing: Hashing, table: int
) -> Int[np.ndarray, "sample child"]:
    """Interval number of each child's activation, standardised."""
    offsets = _random(hashing, table, 0).random(children.shape[1])
    return np.floor(children / hashing.width + offsets).astype(np.int64)


def cells_of_group(group: Float[np.ndarray, "sample column"], hashing: Hashing, table: int, number: int) -> Cells:
    """Cells of one group of parents' activations, standardised."""
    random = _random(hashing, table, 1, number)
    if group.shape[1] > hashing.projections:
        group = standardised(group @ random.standard_normal((group.shape[1], hashing.projections)))
    return Cells(_places(group, hashing.width, random), hashing.buckets)


def cells_of_rest(
    parents: Float[np.ndarray, "sample parent"],
    left_out: Int[np.ndarray, " column"],
    projected: Float[np.ndarray, "sample direction"],
    directions: Float[np.ndarray, "parent direction"],
    hashing: Hashing,
    table: int,
    number: int,
) -> Cells:
    """Cells of all parents but some.

    Args:
        parents: activations, standardised.
        left_out: columns that do not count.
        projected: all parents on the directions.
        directions: of this table.
        hashing, table: settings, and which of the draws.
        number: of the group that is left out.
    """
    random = _random(hashing, table, 2, number)
    if parents.shape[1] - len(left_out) > hashing.projections:
        rest = standardised(projected - parents[:, left_out] @ directions[left_out])
    else:
        rest = np.delete(parents, left_out, axis=1)
    return Cells(_places(rest, hashing.rest_width, random), hashing.rest_buckets)


def directions_of(parents: int, hashing: Hashing, table: int) -> Float[np.ndarray, "parent direction"]:
    """Random directions for all parents together."""
    return _random(hashing, table, 3).standard_normal((parents, hashing.projections))


def _places(values: np.ndarray, width: float, random: np.random.Generator) -> np.ndarray:
    return np.floor(values / width + random.random(values.shape[1])).astype(np.int64)


def _random(hashing: Hashing, table: int, *what: int) -> np.random.Generator:
    return np.random.default_rng((hashing.seed, table, *what))
