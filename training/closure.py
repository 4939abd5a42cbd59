"""What goes along when gates go: a network in which something is off has to hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.errors import InputError

if TYPE_CHECKING:
    from training.gates import Gates

__all__ = ["closed"]


def closed(gates: Gates, remove: Tensor | np.ndarray) -> Tensor:
    """What goes if `remove` goes: no branch is left without units, no unit without its branch, no layer empty.

    - A branch goes when all units of one of its groups go: behind it there is only a constant, the shift of its last
      normalisation, that masks alone would leave.
    - The units of a branch that goes go too.
    - Of a group in no branch one unit stays, that of the largest θ (the first of several): without it nothing would
      reach the output.

    Args:
        gates: of the network.
        remove: which gates are to go, bool. [gate]

    Returns:
        Which gates go, bool. [gate]

    Raises:
        InputError: for another length or dtype.
    """
    going = torch.as_tensor(remove, device=gates.theta.device).clone()
    if going.dtype != torch.bool or going.shape != gates.theta.shape:
        allowed = f"bool of shape [{len(gates.theta)}], one entry a gate"
        raise InputError(f"remove must be {allowed}; got {going.dtype} of shape {list(going.shape)}")
    theta = gates.theta.detach()
    start = 0
    for group, size in zip(gates.groups, gates.sizes, strict=False):
        units = slice(start, start + size)
        if bool(going[units].all()):
            if group.branch is None:
                going[start + int(theta[units].argmax())] = False
            else:
                going[gates.holder[start]] = True
        start += size
    inside = gates.holder >= 0
    going[inside] |= going[gates.holder[inside]]
    return going
