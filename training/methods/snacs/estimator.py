"""Conditional mutual information between filters, by hashing: the estimator of SNACS, in this project's reading.

    I(X; Y | Z) = H(X,Z) + H(Y,Z) − H(X,Y,Z) − H(Z)

of a child filter X with a parent filter Y, given the other parents Z. X and Y are replaced by the locality-sensitive
cells (`training.methods.snacs.cells`) of their residuals given Z, and Z by those of its predictions of X and of Y
(`training.methods.snacs.residuals` derives why these two are enough). With N_c the number of samples in cell c and n
samples, H = log n − Σ N_c log N_c / n: one pass over the samples fills the tables, so the time is linear in n.

Of few samples in many cells this is too large. So what it is by chance is taken off: its expectation over all ways to
pair the Xs with the Ys within each cell of Z (`training.methods.snacs.chance`), on which the entropies of (X,Z), (Y,Z)
and Z do not depend. For variables independent given the cells of Z the estimate is then zero on average, exactly.

After the abstract of arXiv 2006.12463 ("fast hash-based estimator of … conditional mutual information"), which says
neither how it hashes nor how it conditions on a whole layer; the dependence-graph estimators of Noshad, Zeng and Hero
(2019) are the model for the cells. Cells of a width make strong dependence smaller: the default ones have 0.20 instead
of 0.22 nats at a partial correlation of 0.6, and about 0.85 instead of 1.16 at 0.95.

`reference` regresses anew for every pair and compares all pairs of samples: what the hashed one is tested against.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from training.errors import InputError
from training.methods.snacs.cells import Hashing, intervals
from training.methods.snacs.chance import by_chance, times_log
from training.methods.snacs.residuals import Regression, Residuals, standardised

__all__ = ["conditional_information", "reference"]


def conditional_information(
    children: Float[np.ndarray, "sample child"],
    parents: Float[np.ndarray, "sample parent"],
    hashing: Hashing | None = None,
) -> Float[np.ndarray, "child parent"]:
    """Information in nats of every child with every parent, given the other parents.

    Linear in samples and in pairs. Estimates of zero scatter around it, so some are negative.

    Args:
        children: activations of a layer's filters.
        parents: of the filters that it reads, on the same samples; several samples for each of them, or the
            predictions fit the samples' noise and the estimates say little.
        hashing: settings.

    Raises:
        InputError: for different or fewer than two samples, no parents, or activations that are not finite.
    """
    hashing = hashing if hashing is not None else Hashing()
    children, parents = _checked(children, parents)
    regression = Regression(children, parents, hashing.ridge)
    n_log_n = times_log(len(children))
    found = np.zeros((children.shape[1], parents.shape[1]))
    for parent in range(parents.shape[1]):
        residuals = regression.without(parent)
        for table in range(hashing.tables):
            counts = _counts(residuals, hashing, table)
            seen = n_log_n[counts].sum((1, 2, 3))
            found[:, parent] += seen - by_chance(counts.sum(3), counts.sum(2))
    return found / (hashing.tables * len(children))


def _counts(residuals: Residuals, hashing: Hashing, table: int) -> Int[np.ndarray, "child z x y"]:
    """Samples in every cell of each child's table."""
    (x, y), (z_x, z_y) = _places(residuals, hashing, table)
    size, rest = hashing.buckets, hashing.rest_buckets
    children = x.shape[1]
    z = z_x % rest * rest + (z_y % rest)[:, None]
    keys = ((np.arange(children) * rest**2 + z) * size + x % size) * size + (y % size)[:, None]
    counts = np.bincount(keys.ravel(), minlength=children * (rest * size) ** 2)
    return counts.reshape(children, rest**2, size, size)


def _places(
    residuals: Residuals, hashing: Hashing, table: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Interval numbers of the children's residuals and the parent's, and of their predictions."""
    own = (residuals.children, residuals.parent)
    rest = (residuals.children_rest, residuals.parent_rest)
    x, y = (intervals(v, hashing.width, hashing.shift(table, i)) for i, v in enumerate(own))
    z_x, z_y = (intervals(v, hashing.rest_width, hashing.shift(table, i)) for i, v in enumerate(rest, 2))
    return (x, y), (z_x, z_y)


def reference(
    children: Float[np.ndarray, "sample child"],
    parents: Float[np.ndarray, "sample parent"],
    hashing: Hashing | None = None,
) -> Float[np.ndarray, "child parent"]:
    """Count by brute force, for every sample, how many others are in its cell. Quadratic in the samples.

    Σ N log N over cells is Σ log N over samples. The other parents' predictions are a regression of its own for every
    pair, and no cells are mistaken for one. It shares with the fast one what chance alone gives.
    """
    hashing = hashing if hashing is not None else Hashing()
    children, parents = _checked(children, parents)
    found = np.zeros((children.shape[1], parents.shape[1]))
    for child, parent in np.ndindex(*found.shape):
        both = np.stack([children[:, child], parents[:, parent]], 1)
        residuals = _regressed(both, np.delete(parents, parent, 1), hashing.ridge)
        for table in range(hashing.tables):
            (x, y), (z_x, z_y) = _places(residuals, hashing, table)
            in_x, in_y = _alike(x[:, 0]), _alike(y)
            in_z = _alike(z_x[:, 0]) & _alike(z_y)
            seen = np.log((in_x & in_y & in_z).sum(1)).sum()
            rows, columns = (_margins(in_z, own) for own in (x[:, 0], y))
            found[child, parent] += seen - by_chance(rows[None], columns[None])[0]
    return found / (hashing.tables * len(children))


def _regressed(both: Float[np.ndarray, "sample 2"], rest: Float[np.ndarray, "sample other"], ridge: float) -> Residuals:
    """Of a child and a parent, by least squares with the ridge as further samples."""
    n, others = rest.shape
    design = np.vstack([rest, np.sqrt(n * ridge) * np.eye(others)])
    padded = np.vstack([both, np.zeros((others, 2))])
    fitted = design @ np.linalg.lstsq(design, padded, rcond=None)[0]
    deviation = np.sqrt(np.square(padded - fitted).sum(0) / n + ridge)
    left = (both - fitted[:n]) / deviation
    return Residuals(left[:, 1], left[:, :1], fitted[:n, 1], fitted[:n, :1])


def _alike(places: Int[np.ndarray, " sample"]) -> Bool[np.ndarray, "sample sample"]:
    """Which pairs of samples are in the same interval."""
    return places[:, None] == places


def _margins(in_z: Bool[np.ndarray, "sample sample"], own: Int[np.ndarray, " sample"]) -> Int[np.ndarray, "z interval"]:
    """Samples in each interval, for each cell of the predictions, which is told by its first sample."""
    cells = in_z[np.unique(in_z.argmax(1))]
    return np.stack([(cells & (own == number)).sum(1) for number in np.unique(own)], 1)


def _checked(children: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(children) != len(parents) or len(children) < 2:
        raise InputError(f"children and parents must be on the same ≥ 2 samples; got {len(children)}, {len(parents)}")
    if not parents.shape[1]:
        raise InputError("parents must be one or more; got 0")
    for name, values in (("children", children), ("parents", parents)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} must be finite")
    return standardised(children.astype(np.float64)), standardised(parents.astype(np.float64))
