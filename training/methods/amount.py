"""Amounts: how many units of each group a ratio or a FLOPs target removes, and in what steps.

A ratio takes the same share of every group, rounded to the nearest whole unit. (The abstracts of the methods that name
a ratio do not say how it is spread over layers; this is the project's reading.)
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Int

from dynamics.models.complexity import Structure
from training.errors import InputError

__all__ = [
    "TOLERANCE",
    "check_fraction",
    "macs_without",
    "missed",
    "off_target",
    "ratio_for_macs",
    "removed_at",
    "removed_by",
]

#: How far from a target of multiply–accumulates a network may end, relative to the target: for every method.
TOLERANCE = 0.02


def check_fraction(name: str, value: float) -> None:
    """Refuse what is not strictly between 0 and 1.

    Raises:
        InputError: naming the setting and its value.
    """
    if not 0 < value < 1:
        raise InputError(f"{name} must be in (0, 1); got {value}")


def removed_at(ratio: float, structure: Structure) -> Int[np.ndarray, " group"]:
    """Return how many units of each group go at a ratio: the nearest whole number, half a unit upwards.

    Args:
        ratio: share of the units, in (0, 1).
        structure: of the full network.

    Raises:
        InputError: for a ratio outside (0, 1), a network without gated units, or one that would empty a group or leave
            every group as it is.

    Example:
        >>> from dynamics.models.complexity import Layer
        >>> two = [Layer("a", 3, "x", 1, 1), Layer("b", "x", "y", 1, 1), Layer("c", "y", 2, 1, 1)]
        >>> removed_at(0.8, Structure(two, {"x": 10, "y": 4}, []))
        array([8, 3])
    """
    check_fraction("ratio", ratio)
    if not structure.units:
        raise InputError("network must have gated units for a ratio of them to be removed; got none")
    # Exact arithmetic: 0.7 of 10 is 7 whatever the rounding of floats.
    share = Fraction(ratio).limit_denominator(10**9)
    removed = np.array([int(share * count + Fraction(1, 2)) for count in structure.units.values()])
    for (group, count), gone in zip(structure.units.items(), removed, strict=True):
        if gone >= count:
            raise InputError(f"ratio must leave each group a unit; {ratio} takes all {count} of group {group!r}")
    if not removed.any():
        most = max(structure.units.values())
        raise InputError(f"ratio must remove at least one unit; {ratio} takes none of a group of {most}")
    return removed


def removed_by(event: int, events: int, removed: Sequence[int] | np.ndarray) -> Int[np.ndarray, " group"]:
    """Return how many units of each group are gone after some of the removals: in equal steps, all after the last.

    Args:
        event: removals done, 0 to `events`.
        events: removals in all, ≥ 1.
        removed: gone after the last. [group]

    Example:
        >>> [removed_by(k, 4, [8, 3]).tolist() for k in range(5)]
        [[0, 0], [2, 0], [4, 1], [6, 2], [8, 3]]
    """
    return np.asarray(removed) * event // events


def macs_without(removed: Sequence[int] | np.ndarray, structure: Structure) -> int:
    """Return multiply–accumulates once so many units of each group are gone, by the structure's polynomial."""
    theta = np.ones(structure.gates)
    for where, gone in zip(structure.unit_slices.values(), removed, strict=True):
        theta[where.start : where.start + int(gone)] = 0
    return int(structure.macs(theta))


def off_target(share: float, structure: Structure) -> float:
    """Return how far a network is from its target of multiply–accumulates, relative to it; above 0: it has more.

    Args:
        share: of the full network's, > 0.
        structure: of the network as it is, which knows the full one's.
    """
    return structure.total_macs / (share * structure.full_macs) - 1


def missed(share: float, structure: Structure, tolerance: float) -> str:
    """Return what a run says of its target: nothing if it is met within the tolerance.

    Example:
        >>> from dynamics.models.complexity import Layer
        >>> missed(0.5, Structure([Layer("a", 3, 4, 1, 1)], {}, [], full_macs=20), 0.02)
        ', 20% more than the target of 0.5, which was to be met within 2%'
        >>> missed(0.6, Structure([Layer("a", 3, 4, 1, 1)], {}, [], full_macs=20), 0.02)
        ''
    """
    off = off_target(share, structure)
    if abs(off) <= tolerance:
        return ""
    side = "more" if off > 0 else "less"
    return (
        f", {100 * abs(off):.3g}% {side} than the target of {share:g}, which was to be met within {100 * tolerance:g}%"
    )


def ratio_for_macs(share: float, structure: Structure, tolerance: float = TOLERANCE) -> float:
    """Return the ratio at which the network keeps a share of its multiply–accumulates, as nearly as whole units allow.

    Args:
        share: of the full network's, in (0, 1).
        structure: of the full network.
        tolerance: how far the result may be off, relative to the target, in (0, 1).

    Raises:
        InputError: for a share or tolerance outside (0, 1), or a share that no ratio meets within the tolerance: what
            is not gated stays, a group keeps a unit, and units are whole.
    """
    check_fraction("share", share)
    check_fraction("tolerance", tolerance)
    counts = set(structure.units.values())
    # At these ratios a group of n loses its k-th unit: (k − ½)/n. Between two of them nothing changes.
    breaks = sorted({Fraction(2 * k - 1, 2 * count) for count in counts for k in range(1, count)})
    highest = min((Fraction(2 * count - 1, 2 * count) for count in counts), default=Fraction(0))
    ratios = [float(ratio) for ratio in breaks if 0 < ratio < highest]
    reached = [(macs_without(removed_at(ratio, structure), structure) / structure.full_macs, ratio) for ratio in ratios]
    best = min(reached, key=lambda found: abs(found[0] - share), default=(1.0, 0.0))
    if abs(best[0] - share) > tolerance * share:
        lowest = min((at for at, _ in reached), default=1.0)
        raise InputError(
            f"share = {share} of the multiply–accumulates must be met within {100 * tolerance:g}%; the nearest that a "
            f"ratio of units gives is {best[0]:.4f}, the smallest {lowest:.4f}"
        )
    return best[1]
