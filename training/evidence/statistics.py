"""Means with their spread, exact intervals for shares, and bootstrap intervals over whole runs.

The bootstrap serves what the gates of one run have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from scipy.special import betaincinv

from training.errors import InputError

__all__ = ["LEVEL", "RESAMPLES", "bootstrap", "clopper_pearson", "mean_and_deviation"]

LEVEL = 0.95  # of all intervals
RESAMPLES = 2000  # draws of the bootstrap

Part = TypeVar("Part")


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean of the values, None for no value, and their sample standard deviation, None for fewer than two.

    Example:
        >>> mean_and_deviation([1.0, 3.0]), mean_and_deviation([2.0])
        ((2.0, 1.4142135623730951), (2.0, None))
    """
    mean = float(np.mean(values)) if len(values) else None
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else None


def clopper_pearson(count: int, total: int, level: float = LEVEL) -> tuple[float, float] | None:
    """Return the exact interval of a binomial share, which covers the true share with probability at least `level`.

    The limits are the shares for which `count` or more, and `count` or fewer, successes have probability
    (1 − level)/2 (Clopper and Pearson, Biometrika 26, 1934), found as quantiles of the beta distribution. Trials are
    taken as independent; gates of one run are not quite, see `bootstrap` for the other reading.

    Args:
        count: successes, 0 to `total`.
        total: trials, ≥ 0.
        level: in (0, 1).

    Returns:
        (low, high); None without trials.

    Raises:
        InputError: for a value outside these ranges.

    Example:
        >>> [round(limit, 4) for limit in clopper_pearson(0, 300)]
        [0.0, 0.0122]
    """
    if not 0 <= count <= total:
        raise InputError(f"count must be in [0, total = {total}]; got {count}")
    if not 0 < level < 1:
        raise InputError(f"level must be in (0, 1); got {level}")
    if total == 0:
        return None
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, total - count + 1, tail))
    high = 1.0 if count == total else float(betaincinv(count + 1, total - count, 1 - tail))
    return low, high


def bootstrap(
    parts: Sequence[Part],
    statistic: Callable[[Sequence[Part]], float | None],
    *,
    strata: Sequence[int] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the percentile interval of a statistic, whole runs being drawn with replacement.

    Gates of one run share its weights, data order and schedule: more gates are not more evidence of the same kind as
    more seeds, so that a run is drawn with all its gates or not at all.

    Args:
        parts: one entry a run.
        statistic: of a list of runs, in any order; None where it is not defined for them, such draws are left out.
        strata: which group of settings each run belongs to; every draw has as many runs of each group as there are, so
            that differences between settings, which were chosen, do not count as chance. One group by default, and
            where any group has a single run: drawn within its group it would count as free of chance, so that all runs
            are drawn together, which is too wide rather than too narrow.
        level: in (0, 1).
        resamples: ≥ 1.
        seed: of the draws, so that a report can be made again.

    Returns:
        (low, high); None where no group has two runs, which says nothing about the spread between runs, or where the
        statistic is not defined for a single draw. Of n runs a group, the draws spread less than runs do, by √(1 − 1/n)
        (0.7 for two, 0.8 for three), and so the interval is too narrow for few seeds.

    Raises:
        InputError: for a value outside these ranges.
    """
    if not 0 < level < 1:
        raise InputError(f"level must be in (0, 1); got {level}")
    if resamples < 1:
        raise InputError(f"resamples must be ≥ 1; got {resamples}")
    if strata is not None and len(strata) != len(parts):
        raise InputError(f"strata must name a group for each of the {len(parts)} runs; got {len(strata)}")
    groups = np.zeros(len(parts), dtype=int) if strata is None else np.asarray(strata)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    if max(map(len, members), default=0) < 2:
        return None
    if min(map(len, members)) < 2:
        members = [np.arange(len(parts))]
    draw = np.random.default_rng(seed)
    draws = np.concatenate([each[draw.integers(len(each), size=(resamples, len(each)))] for each in members], axis=1)
    # Few runs have few different draws (10 of three): each is looked at once.
    different, times = np.unique(np.sort(draws, axis=1), axis=0, return_counts=True)
    values = [statistic([parts[i] for i in drawn]) for drawn in different]
    found = np.repeat([np.nan if value is None else value for value in values], times)
    found = found[~np.isnan(found)]
    if not len(found):
        return None
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
