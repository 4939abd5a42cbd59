"""Whole numbers of units made from remaining ratios, such that they meet a target of multiply–accumulates.

First along one path: all ratios are multiplied by the same factor, from one unit in every group to all of them, so that
what the ratios say of the layers' proportions is kept; the architecture of the path that is nearest to the target is
taken. Between two neighbours on the path lies one unit. Where one unit is so large a part of a small network that the
path passes the target by, single units are then added or taken where that brings it nearest. Where this too ends
beside the target, all architectures are searched. For narrow tolerances there are exponentially many to look at, so
this last search has a limit.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from dynamics.models.complexity import Structure
from training.errors import InputError
from training.methods.amount import TOLERANCE, check_fraction, macs_without

__all__ = ["nearest_units", "whole_units"]

#: Steps of the search of all architectures, each of one or two milliseconds.
LIMIT = 2000


def whole_units(
    ratios: Float[np.ndarray, " group"], structure: Structure, share: float, tolerance: float = TOLERANCE
) -> Int[np.ndarray, " group"]:
    """Return how many units of each group stay, at least one, so that the network keeps a share of its operations.

    At least one unit leaves: the full network is no answer, however near the target is to it.

    Whether there is an answer does not depend on the ratios: a target that is met for some is met for all. Whether it
    is found may, where the search comes to its limit: then `nearest_units` for other ratios may miss the tolerance.

    Args:
        ratios: share of each group's units that should remain, > 0.
        structure: of the full network.
        share: target, of the full network's multiply–accumulates, in (0, 1).
        tolerance: |macs / (share · full macs) − 1| is at most this, in (0, 1): as for every target, relative to it.

    Raises:
        InputError: for a share or tolerance outside (0, 1), a network without gated units, or a share that no
            architecture meets, or none that is found in `LIMIT` steps: what is not gated stays, a group keeps a unit,
            and units are whole.

    Example:
        >>> from dynamics.models.complexity import Layer
        >>> two = [Layer("a", 3, "x", 1, 1), Layer("b", "x", "y", 1, 1), Layer("c", "y", 2, 1, 1)]
        >>> whole_units(np.array([0.9, 0.3]), Structure(two, {"x": 20, "y": 20}, []), 0.38)
        array([20,  6])
    """
    search = _searched(ratios, structure, share, tolerance)
    if search.best > search.enough:
        least = search.left(np.ones_like(search.sizes))
        how = "that whole units give" if search.steps < LIMIT else f"found in {LIMIT} steps of search"
        raise InputError(
            f"share = {share} of the multiply–accumulates must be met within {100 * tolerance:g}%; the nearest "
            f"{how} is {search.left(search.found):.4f}, one unit in every group {least:.4f}"
        )
    return search.found


def nearest_units(
    ratios: Float[np.ndarray, " group"], structure: Structure, share: float, tolerance: float = TOLERANCE
) -> Int[np.ndarray, " group"]:
    """Return the same, for the middle of a run: where nothing within the tolerance is found, the nearest that was.

    It takes a few seconds at most. Whether the tolerance is met is for the caller to see and to say.
    """
    return _searched(ratios, structure, share, tolerance).found


def _searched(ratios: np.ndarray, structure: Structure, share: float, tolerance: float) -> _Search:
    check_fraction("share", share)
    check_fraction("tolerance", tolerance)
    if not structure.units:
        raise InputError("network must have gated units, of which a share may remain; got none")
    search = _Search(np.asarray(ratios, dtype=float), structure, share, tolerance * share)
    search.along_the_path()
    search.unit_by_unit()
    if search.best > search.enough:
        search.everywhere()
    return search


class _Search:
    """The best architecture so far, `found`, and how far it is from the target, `best`: `enough` ends the search.

    Both distances are shares of the full network's multiply–accumulates. `steps` are those of the search of all.
    """

    def __init__(self, ratios: np.ndarray, structure: Structure, share: float, enough: float) -> None:
        self.structure, self.share, self.enough = structure, share, enough
        self.sizes = np.array(list(structure.units.values()))
        self.wanted = ratios * self.sizes
        self.found, self.best, self.steps = np.ones_like(self.sizes), np.inf, 0

    def left(self, counts: np.ndarray) -> float:
        """Share of the multiply–accumulates with so many units in each group."""
        return macs_without(self.sizes - counts, self.structure) / self.structure.full_macs

    def note(self, counts: np.ndarray) -> None:
        """Keep the better one, where any unit leaves."""
        off = abs(self.left(counts) - self.share)
        if off < self.best and (counts < self.sizes).any():
            self.found, self.best = counts, off

    def along_the_path(self) -> None:
        """Search by bisection: what is left grows along the path."""
        # A group with w units wanted gets its j-th one (j ≥ 2) at the factor where factor·w rounds to j.
        group = np.repeat(np.arange(len(self.sizes)), self.sizes - 1)
        number = np.concatenate([np.arange(2, size + 1) for size in self.sizes])
        order = group[np.argsort((number - 0.5) / self.wanted[group], kind="stable")]

        def at(length: int) -> np.ndarray:
            return 1 + np.bincount(order[:length], minlength=len(self.sizes))

        low, high = 0, len(order)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.left(at(middle)) <= self.share else (low, middle)
        for length in (low, high):
            self.note(at(length))

    def unit_by_unit(self) -> None:
        """Take from the best so far one unit more or less in one group, as long as it comes nearer."""
        for _ in range(int(self.sizes.sum())):
            start, before = self.found, self.best
            if before <= self.enough:
                return
            for counts in (start + step for step in (*-np.eye(len(start), dtype=int), *np.eye(len(start), dtype=int))):
                if (counts >= 1).all() and (counts <= self.sizes).all():
                    self.note(counts)
            if self.best == before:
                return

    def everywhere(self) -> None:
        """Branch and bound: the largest groups are fixed first, and what cannot come nearer is left out."""
        one = np.ones_like(self.sizes)
        without = [self.left(np.where(np.arange(len(one)) == i, one, self.sizes)) for i in range(len(one))]
        self._fix(np.argsort(without, kind="stable").tolist(), one, self.sizes)

    def _fix(self, groups: list[int], low: np.ndarray, high: np.ndarray) -> None:
        """Try all architectures between two, which differ in `groups` only."""
        if self.steps >= LIMIT:
            return
        self.steps += 1
        below, above = self.left(low) - self.share, self.share - self.left(high)
        if self.best <= self.enough or max(below, above) >= self.best:
            return
        if not groups:
            self.note(low)
            return
        group, *others = groups
        for count in sorted(range(1, int(self.sizes[group]) + 1), key=lambda c: abs(c - self.wanted[group])):
            chosen = np.arange(len(low)) == group
            self._fix(others, np.where(chosen, count, low), np.where(chosen, count, high))
