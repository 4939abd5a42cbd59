"""A smaller network of equal FLOPs, from scratch: the question every pruning method must answer.

All layers get narrower together, the network's own way of being built with fewer channels; of the widths that can be
built the one whose multiply–accumulates come nearest to the target is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from training.data.source import Source
from training.engine.config import RunConfig
from training.engine.method import Method, NoPruning, RunContext
from training.errors import InputError
from training.gating.network_structure import structure_of
from training.methods.amount import check_fraction
from training.networks import build

__all__ = ["Smaller", "macs_at", "nearest"]


@dataclass(frozen=True)
class Smaller:
    """Settings of a smaller network.

    Attributes:
        share: of the network's multiply–accumulates that the smaller one has, in (0, 1).
        tolerance: how far it may be off, relative to the target, in (0, 1). All layers get narrower by whole units at
            once, so not every target can be met within the others' `amount.TOLERANCE`: ResNet-56 has 2.1% less than
            40% at width 10, and no width is nearer.

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "smaller"
    share: float = 0.5
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        check_fraction("share", self.share)
        check_fraction("tolerance", self.tolerance)

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings with another width.

        Raises:
            InputError: if no width is near enough to the target.
        """
        channels, size, _ = source.shape

        def count(width: int | None) -> int:
            return macs_at(config.network, width, channels=channels, classes=source.classes, size=size)

        full = count(config.width)
        width = nearest(self.share * full, count)
        found = count(width) / full
        if abs(found - self.share) > self.tolerance * self.share:
            raise InputError(
                f"share = {self.share} of the multiply–accumulates must be met within {100 * self.tolerance:g}%; the "
                f"nearest width of {config.network}, {width}, has {found:.4f}"
            )
        return replace(config, width=width)

    def build(self, context: RunContext) -> Method:
        """Return a method that does nothing."""
        return NoPruning(context)


def macs_at(network: str, width: int | None, *, channels: int, classes: int, size: int) -> int:
    """Return multiply–accumulates of a network at a width, by its polynomial; no memory is taken for its weights.

    Arguments are those of `training.networks.build`.
    """
    with torch.device("meta"):
        made = build(network, channels, classes, size=size, width=width)
    return structure_of(made, (channels, size, size)).full_macs


def nearest(target: float, count: Callable[[int], int]) -> int:
    """Return the width ≥ 1 whose count is nearest to the target; of two as near, the smaller.

    Args:
        target: > 0.
        count: grows with the width, without bound.

    Example:
        >>> [nearest(target, lambda width: width**2) for target in (0.5, 6.4, 6.6)]
        [1, 2, 3]
    """
    below, above = 1, 1
    while count(above) < target:
        below, above = above, 2 * above
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if count(middle) < target else (below, middle)
    return min((below, above), key=lambda width: abs(count(width) - target))
