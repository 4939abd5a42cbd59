"""Conditional mutual information between filters, by hashing: the estimator of SNACS, in this project's reading.

    I(X; Y | Z) = H(X,Z) + H(Y,Z) − H(X,Y,Z) − H(Z)

of a child filter X with a group of parent filters Y, given the other parents Z, where activations are replaced by the
locality-sensitive cells (`training.methods.snacs_cells`) they fall into. With N_c the number of samples in cell c and n
samples, H = log n − Σ N_c log N_c / n: one pass over the samples fills the tables, so the time is linear in n.

After the abstract of arXiv 2006.12463 ("fast hash-based estimator of … conditional mutual information"), which does not
say how it hashes; the dependence-graph estimators of Noshad, Zeng and Hero (2019) are the model. The mean of Miller and
Madow's correction, (K_xz + K_yz − K_xyz − K_z)/2n with K the occupied cells, takes off most of the bias of small cells.

`reference` compares all pairs of samples instead, with the exact cells: it is what the hashed one is tested against.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from training.errors import InputError
from training.methods.snacs_cells import (
    Cells,
    Hashing,
    cells_of_children,
    cells_of_group,
    cells_of_rest,
    directions_of,
    standardised,
)

__all__ = ["conditional_information", "reference"]

#: Buckets a sample from which on a table is not filled but its keys sorted.
_SPARSE = 16


def conditional_information(
    children: Float[np.ndarray, "sample child"],
    parents: Float[np.ndarray, "sample parent"],
    groups: Int[np.ndarray, " parent"],
    hashing: Hashing | None = None,
) -> Float[np.ndarray, "child group"]:
    """Information in nats of every child with every group of parents, given the other parents.

    Linear in samples, children and groups. Estimates of zero scatter around it, so some are negative.

    Args:
        children: activations of a layer's filters.
        parents: of the filters that it reads, on the same samples.
        groups: group of each parent, 0 to G − 1, none empty.
        hashing: settings of the cells.

    Raises:
        InputError: for arrays that do not fit, fewer than two samples, or activations that are not finite.
    """
    hashing = hashing if hashing is not None else Hashing()
    children, parents = _checked(children, parents, groups)
    n, count = children.shape
    log = _log_table(n)
    total = np.zeros((count, int(groups.max()) + 1))
    for table in range(hashing.tables):
        x = cells_of_children(children, hashing, table) % hashing.buckets
        for group, y, z in _tables(parents, groups, hashing, table):
            rest = z.hashed()
            both = rest * y.buckets + y.hashed()
            s_z, k_z = _tally(rest[:, None], z.buckets, log)
            s_yz, k_yz = _tally(both[:, None], z.buckets * y.buckets, log)
            s_xz, k_xz = _tally(rest[:, None] * hashing.buckets + x, z.buckets * hashing.buckets, log)
            s_xyz, k_xyz = _tally(both[:, None] * hashing.buckets + x, z.buckets * y.buckets * hashing.buckets, log)
            total[:, group] += (s_xyz + s_z - s_xz - s_yz) / n + (k_xz + k_yz - k_xyz - k_z) / (2 * n)
    return total / hashing.tables


def reference(
    children: Float[np.ndarray, "sample child"],
    parents: Float[np.ndarray, "sample parent"],
    groups: Int[np.ndarray, " parent"],
    hashing: Hashing | None = None,
) -> Float[np.ndarray, "child group"]:
    """The same by brute force: for every sample, how many others are in its cell. Quadratic in the samples.

    I = mean over samples of log( N_xyz N_z / (N_xz N_yz) ), plus the same correction: a cell of N samples is counted
    once as N times 1/N. No tables, so no two cells are mistaken for one.
    """
    hashing = hashing if hashing is not None else Hashing()
    children, parents = _checked(children, parents, groups)
    n = len(children)
    total = np.zeros((children.shape[1], int(groups.max()) + 1))
    for table in range(hashing.tables):
        x = cells_of_children(children, hashing, table)
        alike = [_alike(x[:, [child]]) for child in range(x.shape[1])]
        for group, y, z in _tables(parents, groups, hashing, table):
            in_z = _alike(z.places)
            in_yz = in_z & _alike(y.places)
            n_z, n_yz = in_z.sum(1), in_yz.sum(1)
            for child, in_x in enumerate(alike):
                n_xz, n_xyz = (in_x & in_z).sum(1), (in_x & in_yz).sum(1)
                cells = (1 / n_xz + 1 / n_yz - 1 / n_xyz - 1 / n_z).sum()
                total[child, group] += np.log(n_xyz * n_z / (n_xz * n_yz)).mean() + cells / (2 * n)
    return total / hashing.tables


def _tables(
    parents: Float[np.ndarray, "sample parent"], groups: Int[np.ndarray, " parent"], hashing: Hashing, table: int
) -> Iterator[tuple[int, Cells, Cells]]:
    """For each group: its number, its cells, and the cells of the other parents."""
    directions = directions_of(parents.shape[1], hashing, table)
    projected = parents @ directions
    for group in range(int(groups.max()) + 1):
        own = np.flatnonzero(groups == group)
        y = cells_of_group(parents[:, own], hashing, table, group)
        yield group, y, cells_of_rest(parents, own, projected, directions, hashing, table, group)


def _tally(
    keys: Int[np.ndarray, "sample column"], size: int, log: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " column"], Int[np.ndarray, " column"]]:
    """Σ N log N and the number of occupied cells, for each column of keys below `size`."""
    columns = keys.shape[1]
    keys = keys + size * np.arange(columns)  # one table for all columns, a column after the other
    if size > _SPARSE * len(keys):  # a table so empty that memory would go into zeros: sort instead
        filled, numbers = np.unique(keys, return_counts=True)
        column = filled // size
        return np.bincount(column, log[numbers], minlength=columns), np.bincount(column, minlength=columns)
    counts = np.bincount(keys.ravel(), minlength=size * columns).reshape(columns, size)
    return log[counts].sum(1), (counts > 0).sum(1)


def _log_table(n: int) -> Float[np.ndarray, " n"]:
    """N log N for N = 0 to n."""
    number = np.arange(n + 1, dtype=np.float64)
    return number * np.log(np.maximum(number, 1))


def _alike(places: Int[np.ndarray, "sample direction"]) -> Bool[np.ndarray, "sample sample"]:
    """Which pairs of samples are in the same cell."""
    first, *others = places.T if places.shape[1] else [np.zeros(len(places))]
    alike = first[:, None] == first
    for direction in others:
        alike &= direction[:, None] == direction
    return alike


def _checked(children: np.ndarray, parents: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(children) != len(parents) or len(children) < 2:
        raise InputError(f"children and parents must be on the same ≥ 2 samples; got {len(children)}, {len(parents)}")
    if groups.shape != (parents.shape[1],) or set(groups.tolist()) != set(range(int(groups.max(initial=-1)) + 1)):
        raise InputError("groups must give each parent a group, 0 to G − 1, none of them empty")
    for name, values in (("children", children), ("parents", parents)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} must be finite")
    return standardised(children.astype(np.float64)), standardised(parents.astype(np.float64))
