"""Masks made from remaining ratios, differentiably; and what the ratios are expected to cost.

A group of n units with ratio r keeps r·n of them. Put in order of importance, place 0 first, the unit at place k gets

    m_k = clip(r·n − k, 0, 1)        so that   Σ_k m_k = r·n,

ones, then one unit that is partly on, then zeros. Because the complexity is a polynomial in the sums of groups, its
value at the masks is its value at the ratios: nothing is lost between the two. (Both are this project's reading of
"a dynamic masking process" in the abstract of arXiv 2010.12021, whose formulas are not at hand.)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dynamics.models.complexity import Structure

__all__ = ["channel_mask", "places", "share_at"]

_ROUNDING = 1e-9  # r·n is taken for the whole number that it is within rounding


def channel_mask(
    ratios: Float[Tensor, " group"], place: Int[Tensor, " unit"], sizes: Int[Tensor, " group"]
) -> Float[Tensor, " unit"]:
    """Return the masks m of all units, group after group.

    The slope ∂m/∂r is n at the one unit that is partly on. At a whole number of units it is that of the next unit (to
    the right), at r = 1 that of the last.

    Args:
        ratios: share of each group's units that remains, in [1/n, 1].
        place: of each unit in its group, 0 for the most important, n − 1 for the least.
        sizes: n, units of each group.

    Example:
        >>> ratios = torch.tensor([0.5, 0.625], dtype=torch.double, requires_grad=True)
        >>> mask = channel_mask(ratios, torch.tensor([1, 0, 0, 3, 1, 2]), torch.tensor([2, 4]))
        >>> mask.tolist()
        [0.0, 1.0, 1.0, 0.0, 1.0, 0.5]
        >>> mask[5].backward()
        >>> ratios.grad.tolist()
        [0.0, 4.0]
    """
    left = (ratios * sizes).repeat_interleave(sizes)
    border = torch.minimum((left.detach() + _ROUNDING).floor().to(place.dtype), sizes.repeat_interleave(sizes) - 1)
    return torch.where(place == border, left - border, (place < border).to(left.dtype))


def places(scores: Float[np.ndarray, " unit"], sizes: list[int]) -> Int[np.ndarray, " unit"]:
    """Return the place of every unit in its group: 0 for the highest score; of equal ones the later unit comes first.

    So the units at the last places are those that `training.methods.criteria.lowest` takes.

    Args:
        scores: of all units, group after group.
        sizes: units of each group.

    Example:
        >>> places(np.array([1.0, 3.0, 2.0, 5.0, 5.0]), [3, 2]).tolist()
        [2, 0, 1, 1, 0]
    """
    parts = np.split(scores, np.cumsum(sizes)[:-1])
    return np.concatenate([len(part) - 1 - np.argsort(np.argsort(part, kind="stable")) for part in parts])


def share_at(ratios: Float[Tensor, " group"], structure: Structure) -> Float[Tensor, ""]:
    """Return the share of the full network's multiply–accumulates at the ratios, all branches on: `Structure.macs`.

    Differentiable in the ratios.

    Args:
        ratios: of the unit groups in the structure's order, in [0, 1].
        structure: of the full network.
    """
    sizes = torch.tensor(list(structure.units.values()), device=ratios.device)
    on = ratios.new_ones(len(structure.branches))
    return structure.macs(torch.cat([ratios.repeat_interleave(sizes), on])) / structure.full_macs
