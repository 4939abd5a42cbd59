"""Groups keep a multiple of so many units, so that their widths suit the machine."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from training.gating.gates import Gates

__all__ = ["in_multiples"]


def in_multiples(going: Bool[np.ndarray, " gate"], gates: Gates, multiple: int) -> Bool[np.ndarray, " gate"]:
    """Return which gates go if every group keeps a multiple of `multiple` units, or all that it has.

    Those of the largest θ are spared. A group that loses all its units does so: its branch goes.

    Args:
        going: which gates are to go.
        gates: that are there.
        multiple: ≥ 1; 8 suits vector units.
    """
    if multiple == 1:
        return going
    spared = going.copy()
    theta = gates.theta.detach().cpu().numpy()
    start = 0
    for size in gates.sizes[: len(gates.groups)]:
        units = np.arange(start, start + size)
        start += size
        leaving = units[going[units]]
        left = size - len(leaving)
        wanted = min(size, -(-left // multiple) * multiple)
        if len(leaving) and left:
            spared[leaving[np.argsort(-theta[leaving], kind="stable")][: wanted - left]] = False
    return spared
