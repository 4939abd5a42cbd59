"""Critical filters contribute most to the succeeding layer; they are protected from pruning.

Sensitivity of a filter is the mean normalised weight (`training.methods.snacs.scores`) of its kernels in the layers
that read it. The abstract of arXiv 2006.12463: it "measures the strength of their contributions to the succeeding layer
and highlights critical filters that need to be completely protected from pruning". So the highest are protected here
(the released code's sort order protects the lowest), and a protected filter keeps all its kernels, as a parent and as a
child. How many filters are critical is not stated: here a share of every layer's.

A channel of a residual stream is a sum over blocks and is read in many places. In each layer that reads it, it counts
as a filter whose succeeding layer is that one: its kernels there are protected, those of layers that write it are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from training.gating.sites import UnitGroup
from training.methods.snacs.layers import Pair

__all__ = ["critical", "critical_count", "critical_units", "protected_kernels"]


def critical_count(filters: int, share: float) -> int:
    """Return how many of some filters are critical; `share` as in `critical`."""
    return max(1, int(share * filters)) if share else 0


def critical(sensitivity: Float[np.ndarray, " filter"], share: float) -> Bool[np.ndarray, " filter"]:
    """Return the filters of highest sensitivity.

    Args:
        sensitivity: of each filter.
        share: that is protected, rounded down but at least one filter; 0: none.

    Example:
        >>> critical(np.array([0.1, 0.5, 0.3, 0.2]), 0.5)
        array([False,  True,  True, False])
    """
    chosen = np.zeros(len(sensitivity), bool)
    chosen[np.argsort(-sensitivity, kind="stable")[: critical_count(len(sensitivity), share)]] = True
    return chosen


def critical_units(
    group: UnitGroup, layers: Sequence[Pair], weights: Sequence[Float[np.ndarray, "_ _"]], share: float
) -> Bool[np.ndarray, " unit"]:
    """Return the critical ones of a group of gated units, by all kernels that read them.

    Args:
        group: one that some of the layers read.
        layers: all layers.
        weights: normalised, of each layer.
        share: as in `critical`.
    """
    reading = [w for pair, w in zip(layers, weights, strict=True) if pair.source is group]
    return critical(np.concatenate(reading).mean(0), share)


def protected_kernels(
    pair: Pair,
    weight: Float[np.ndarray, "child parent"],
    units: dict[str, Bool[np.ndarray, " _"]],
    share: float,
) -> Bool[np.ndarray, "child parent"]:
    """Return the kernels of a layer that must stay: all of critical parents and of critical children.

    Args:
        pair: the layer.
        weight: normalised.
        units: which units of each group are critical, by the group's name.
        share: as in `critical`, for parents that are no gated units.
    """
    parents = units[pair.source.name] if pair.source is not None else critical(weight.mean(0), share)
    children = units[pair.target.name] if pair.target is not None else np.zeros(pair.children, bool)
    return children[:, None] | parents[None, :]
