"""Certified gates: each gate by its own margin, and a unit also with the branch that it lies in.

The one place where the regions of `dynamics` are applied to a network's gates: the tracker calls it on the state of
this moment, the analyses of stored histories on many moments at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dynamics import BilinearGate, LinearGate

__all__ = ["Certificates", "certify", "inherits", "own_certificates", "with_branch"]


class Certificates(NamedTuple):
    """Margins and box of every gate, [..., gate]; negative margin = certified.

    Attributes:
        margin: of the linear gate.
        margin_bilinear: of the bilinear gate; NaN for branches.
        in_box: inside the linear gate's invariant box.
    """

    margin: Float[np.ndarray, "*time gate"]
    margin_bilinear: Float[np.ndarray, "*time gate"]
    in_box: Bool[np.ndarray, "*time gate"]


def inherits(parent: Int[np.ndarray, " gate"], cost: Float[np.ndarray, "*time gate"]) -> Bool[np.ndarray, "*time gate"]:
    """Return which gates go with the gate of their branch.

    Where the branch is certified, its units' D vanishes with θ_branch (D_unit = θ_branch · D_unit given that the
    branch is on), and their price drives them to zero. Without a price (κ = 0) nothing does.
    """
    return (parent >= 0) & (cost > 0)


def with_branch(
    mask: Bool[np.ndarray, "*time gate"],
    parent: Int[np.ndarray, " gate"],
    cost: Float[np.ndarray, "*time gate"],
) -> Bool[np.ndarray, "*time gate"]:
    """Return the mask, and with each branch in it the units that inherit from it."""
    return mask | (mask[..., parent] & inherits(parent, cost))


def own_certificates(
    *,
    decay: float,
    rate: float,
    coupling: Float[np.ndarray, "*time gate"],
    coupling_bilinear: Float[np.ndarray, "*time gate"],
    cost: Float[np.ndarray, "*time gate"],
    rho_in: Float[np.ndarray, "*time gate"],
    rho: Float[np.ndarray, "*time gate"],
    theta: Float[np.ndarray, "*time gate"],
    is_branch: Bool[np.ndarray, " gate"],
) -> Certificates:
    """Return what each gate's own state and coupling certify, its branch left aside.

    Args:
        decay: λ.
        rate: r.
        coupling: bound on η for the linear gate, ∞ where none is known.
        coupling_bilinear: the same for the bilinear gate; not read for branches.
        cost: κ.
        rho_in: fan-in norm; not read for branches.
        rho: (fan-out) norm.
        theta: θ.
        is_branch: which gates gate a branch.
    """
    linear = LinearGate(decay=decay, coupling=coupling, cost=cost, rate=rate)
    bilinear = np.full_like(theta, np.nan)
    unit = np.flatnonzero(~is_branch)
    gate = BilinearGate(decay=decay, coupling=coupling_bilinear[..., unit], cost=cost[..., unit], rate=rate)
    bilinear[..., unit] = gate.margin(rho_in[..., unit], rho[..., unit], theta[..., unit])
    return Certificates(linear.margin(rho, theta), bilinear, linear.in_box(rho, theta))


def certify(own: Certificates, parent: Int[np.ndarray, " gate"], cost: Float[np.ndarray, "*time gate"]) -> Certificates:
    """Return the certificates with those that units have through their branch (`inherits`).

    A unit's margin is the smaller of its own and its branch's linear one, and it is in the box if its branch is.
    """
    through_branch = np.where(inherits(parent, cost), own.margin[..., parent], np.inf)
    return Certificates(
        margin=np.minimum(own.margin, through_branch),
        margin_bilinear=np.minimum(own.margin_bilinear, through_branch),
        in_box=with_branch(own.in_box, parent, cost),
    )
