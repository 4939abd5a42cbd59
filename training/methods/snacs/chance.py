"""The part of chance: the expectation of Σ N log N over a contingency table whose margins are given.

If rows and columns are independent, every assignment of the samples to cells that has the margins a and b is equally
probable, so the number N in a cell is hypergeometric: P(N = k) = C(a, k) C(m−a, b−k) / C(m, b) of m samples. It is the
expectation behind the adjusted mutual information of Vinh, Epps and Bailey (2010, "Information theoretic measures for
clusterings comparison"): an estimate less this is zero on average for independent variables, however few samples a cell
has. Counted for a cell by min(a, b) terms, so for a table of fixed size in time linear in the samples.
"""

from __future__ import annotations

import inspect
import math

import numpy as np
from jaxtyping import Float, Int
from numba import njit

__all__ = ["by_chance", "times_log"]


def times_log(n: int) -> Float[np.ndarray, " n"]:
    """Return N log N for N = 0 to n."""
    number = np.arange(n + 1, dtype=np.float64)
    return number * np.log(np.maximum(number, 1))


def by_chance(
    rows: Int[np.ndarray, "case table row"], columns: Int[np.ndarray, "case table column"]
) -> Float[np.ndarray, " case"]:
    """Return the expected Σ N log N over all cells of all of a case's tables, given their margins.

    Args:
        rows: samples in each row, ≥ 0.
        columns: samples in each column, ≥ 0; each table's as many in all as its rows'.

    Example:
        >>> expected = by_chance(np.array([[[1, 1]]]), np.array([[[2, 0]]]))  # ones only
        >>> float(expected[0])
        0.0
    """
    most = int(rows.sum(2).max(initial=0))
    factorials = np.array([math.lgamma(number + 1) for number in range(most + 1)])
    return np.asarray(_compiled(rows, columns, factorials, times_log(most)))


# Compiled code states no types.
def _expected(rows, columns, log_factorial, n_log_n):  # type: ignore[no-untyped-def]
    found = np.zeros(rows.shape[0])
    for case in range(rows.shape[0]):
        for table in range(rows.shape[1]):
            m = rows[case, table].sum()
            for a in rows[case, table]:
                for b in columns[case, table]:
                    if a == 0 or b == 0:
                        continue
                    of_all = log_factorial[a] + log_factorial[m - a] + log_factorial[b] + log_factorial[m - b]
                    of_all -= log_factorial[m]
                    for k in range(max(1, a + b - m), min(a, b) + 1):
                        these = log_factorial[k] + log_factorial[a - k] + log_factorial[b - k]
                        found[case] += math.exp(of_all - these - log_factorial[m - a - b + k]) * n_log_n[k]
    return found


# Unwrapped: under the tests' run-time check of shapes, a function is one that checks and then calls it. Not cached on
# disk: this takes less than a second, at the first use.
_compiled = njit(inspect.unwrap(_expected))
