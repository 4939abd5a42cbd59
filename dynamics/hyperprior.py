"""The flattening hyper-prior: why a gate's cost is linear in θ (arXiv:2205.04650; derived here from its abstract).

Prior ξ ~ Ber(π), hyper-prior on π

    p(π | γ) = (γ − 1)/ln γ · 1/(γ + (1 − γ)π),        π ∈ [0, 1],  γ > 0,  γ ≠ 1.

Minimising KL(Ber(θ) ‖ Ber(π)) − ln p(π|γ) over π leaves const − θ ln γ: no value of θ is preferred, so that gates
are not frozen early. With N samples and a mean loss the cost of a gate is κ = −ln γ / N.
"""

from __future__ import annotations

import math

import sympy as sp

from dynamics.ode import COST, THETA

__all__ = ["GAMMA", "PI", "SAMPLES", "THETA", "cost_from_gamma", "gamma_from_cost"]

PI = sp.Symbol("pi", positive=True)
GAMMA = sp.Symbol("gamma", positive=True)
SAMPLES = sp.Symbol("samples", positive=True)  # N


def density() -> sp.Expr:
    """p(π | γ)."""
    return (GAMMA - 1) / sp.log(GAMMA) / (GAMMA + (1 - GAMMA) * PI)


def divergence() -> sp.Expr:
    """KL(Ber(θ) ‖ Ber(π))."""
    return THETA * sp.log(THETA / PI) + (1 - THETA) * sp.log((1 - THETA) / (1 - PI))


def prior_objective() -> sp.Expr:
    """What is minimised over π: KL(Ber(θ) ‖ Ber(π)) − ln p(π | γ)."""
    return divergence() - sp.log(density())


def optimal_pi() -> sp.Expr:
    """π* = γθ/(1 − θ + γθ), the only zero of the derivative in (0, 1)."""
    (root,) = sp.solve(sp.together(sp.diff(prior_objective(), PI)), PI)
    return sp.simplify(root)


def minimised_objective() -> sp.Expr:
    """The objective at π*, as a function of θ and γ."""
    return prior_objective().subs(PI, optimal_pi())


def gamma_of() -> sp.Expr:
    """γ = exp(−Nκ)."""
    return sp.exp(-SAMPLES * COST)


def cost_of(gamma: sp.Expr) -> sp.Expr:
    """κ = −ln γ / N."""
    return -sp.log(gamma) / SAMPLES


def gamma_from_cost(cost: float, samples: int) -> float:
    """The hyper-prior's γ behind a gate cost κ for N training samples.

    Args:
        cost: κ ≥ 0, nats of mean loss.
        samples: N ≥ 1.

    Raises:
        ValueError: outside these ranges.

    Example:
        >>> gamma_from_cost(1e-3, 1000)
        0.36787944117144233
    """
    if not cost >= 0:
        raise ValueError(f"cost must be ≥ 0; got {cost}")
    if samples < 1:
        raise ValueError(f"samples must be ≥ 1; got {samples}")
    return float(gamma_of().subs({COST: cost, SAMPLES: samples}))


def cost_from_gamma(gamma: float, samples: int) -> float:
    """The gate cost κ = −ln γ / N that a hyper-prior with 0 < γ ≤ 1 stands for.

    Raises:
        ValueError: if γ is not in (0, 1] (a larger one would pay for gates), or N < 1.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be in (0, 1]; got {gamma}")
    if samples < 1:
        raise ValueError(f"samples must be ≥ 1; got {samples}")
    return -math.log(gamma) / samples
