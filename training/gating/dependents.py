"""Dependents of removed gates go too, so that every unit left is read and every branch left has units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from training.errors import InputError

__all__ = ["with_dependents"]


def with_dependents(
    remove: Tensor | np.ndarray,
    theta: Float[Tensor, " gate"],
    parent: Int[Tensor, " gate"],
    sizes: Sequence[int],
    in_branch: Sequence[bool],
) -> Bool[Tensor, " gate"]:
    """Return which gates go if `remove` goes: no branch is left without units, no unit without its branch.

    - A branch goes when all units of one of its groups go: behind it there is only a constant, the shift of its last
      normalisation, that masks alone would leave.
    - The units of a branch that goes go too.
    - Of a group in no branch one unit stays, that of the largest θ (the first of several): without it nothing would
      reach the output.

    Args:
        remove: which gates are to go, bool. [gate]
        theta: probabilities, the groups' units first. [gate]
        parent: index of the gate of the branch in which each gate lies, −1 for none. [gate]
        sizes: units of each group. [group]
        in_branch: whether each group lies in a branch. [group]

    Raises:
        InputError: if `remove` has another length or dtype.
    """
    going = torch.as_tensor(remove, device=theta.device).clone()
    if going.dtype != torch.bool or going.shape != theta.shape:
        allowed = f"bool of shape [{len(theta)}], one entry a gate"
        raise InputError(f"remove must be {allowed}; got {going.dtype} of shape {list(going.shape)}")
    start = 0
    for size, inside in zip(sizes, in_branch, strict=True):
        units = slice(start, start + size)
        if bool(going[units].all()):
            if inside:
                going[parent[start]] = True
            else:
                going[start + int(theta[units].argmax())] = False
        start += size
    lies_in = parent >= 0
    going[lies_in] |= going[parent[lies_in]]
    return going
