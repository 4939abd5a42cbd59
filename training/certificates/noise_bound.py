"""The noise bound of a certificate: the probability that SGD carries a certified gate out of its region.

`dynamics.noise.escape_probability` of the linear gate. What it needs is read from what an interval of steps has shown:

    h      lr/(1 − momentum) with the schedule, as it is now; that it falls later only lowers the probability
    σ_θ    noise of the gate's gradient in one step: the standard error of D̂ over the interval, times √(its steps);
           what acts on a unit passes through its branch, and so does the noise: times θ_branch
    σ_ρ    noise of the weights' gradient along w: ⟨∇_w ℓ, w⟩ = ξ·∂ℓ/∂ξ, so that it is taken as σ_θ/ρ

Both noises come from the same samples and count as dependent. (Derived here.) Four things keep this from being a
theorem about the run: a standard deviation stands for a sub-Gaussian scale, momentum's noise counts as that of plain
steps of size h, and the push of noise on ‖w‖ outward is left out, since the second moment of the updates is not
measured (the audit's *drift* shows where it matters), and noise counts as it is now: that of a unit grows with
θ_branch, should this rise again.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from dynamics import LinearGate
from dynamics.noise import escape_probability
from training.certificates.regions import inherits

__all__ = ["escape_bound"]


def escape_bound(
    *,
    decay: float,
    rate: float,
    coupling: Float[np.ndarray, "*time gate"],
    cost: Float[np.ndarray, "*time gate"],
    rho: Float[np.ndarray, "*time gate"],
    theta: Float[np.ndarray, "*time gate"],
    error: Float[np.ndarray, "*time gate"],
    every: int,
    step: Float[np.ndarray, "*#time one"] | float,
    parent: Int[np.ndarray, " gate"],
) -> Float[np.ndarray, "*time gate"]:
    """Return a bound on the probability that noise carries each gate out of its region before θ is at 0.

    It is 1 where the gate is not certified, or its noise was not measured. A unit's is that of its branch where this is
    smaller (`training.certificates.regions.inherits`).

    Args:
        decay: λ.
        rate: r.
        coupling: bound on η for the linear gate, ∞ where none is known.
        cost: κ.
        rho: (fan-out) norm.
        theta: θ.
        error: standard error of D̂ over an interval, of units given that the branch is on; NaN where unknown.
        every: steps of the interval, ≥ 1.
        step: h > 0, of each time.
        parent: index of the gate of the branch in which each gate lies, −1 for none.
    """
    share = np.where(parent >= 0, theta[..., parent], 1.0)
    sigma = share * error * np.sqrt(every)
    at = np.nonzero(np.isfinite(sigma) & np.isfinite(coupling) & (rho > 0))
    found = np.ones_like(theta)
    found[at] = escape_probability(
        LinearGate(decay=decay, coupling=coupling[at], cost=cost[at], rate=rate),
        rho[at],
        theta[at],
        step=np.broadcast_to(step, theta.shape)[at],
        sigma_theta=sigma[at],
        sigma_rho=sigma[at] / rho[at],
        independent=False,
    )
    return np.minimum(found, np.where(inherits(parent, cost), found[..., parent], 1.0))
