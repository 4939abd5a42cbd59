"""The flattening hyper-prior: why a gate's cost is linear in θ (arXiv:2205.04650; derived here from its abstract).

Prior ξ ~ Ber(π), hyper-prior on π

    p(π | γ) = (γ − 1)/ln γ · 1/(γ + (1 − γ)π),        π ∈ [0, 1],  γ > 0,  γ ≠ 1.

Minimising KL(Ber(θ) ‖ Ber(π)) − ln p(π|γ) over π leaves const − θ ln γ: no value of θ is preferred, so that gates
are not frozen early. With N samples and a mean loss the cost of a gate is κ = −ln γ / N.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import sympy as sp

from dynamics.gates.ode import COST, THETA
from dynamics.numeric import Array, Operands, compile_expressions, operands

__all__ = ["GAMMA", "PI", "SAMPLES", "THETA", "cost_from_gamma", "gamma_from_cost", "log_gamma_from_cost"]

PI = sp.Symbol("pi", positive=True)
GAMMA = sp.Symbol("gamma", positive=True)
SAMPLES = sp.Symbol("samples", positive=True)  # N


def density() -> sp.Expr:
    """Return p(π | γ)."""
    return (GAMMA - 1) / sp.log(GAMMA) / (GAMMA + (1 - GAMMA) * PI)


def divergence() -> sp.Expr:
    """Return KL(Ber(θ) ‖ Ber(π))."""
    return THETA * sp.log(THETA / PI) + (1 - THETA) * sp.log((1 - THETA) / (1 - PI))


def prior_objective() -> sp.Expr:
    """Return what is minimised over π: KL(Ber(θ) ‖ Ber(π)) − ln p(π | γ)."""
    return divergence() - sp.log(density())


def optimal_pi() -> sp.Expr:
    """Return π* = γθ/(1 − θ + γθ), the only zero of the derivative in (0, 1)."""
    (root,) = sp.solve(sp.together(sp.diff(prior_objective(), PI)), PI)
    return sp.simplify(root)


def minimised_objective() -> sp.Expr:
    """Return the objective at π*, as a function of θ and γ."""
    return prior_objective().subs(PI, optimal_pi())


def gamma_of() -> sp.Expr:
    """Return γ = exp(−Nκ)."""
    return sp.exp(-SAMPLES * COST)


def cost_of(gamma: sp.Expr) -> sp.Expr:
    """Return κ = −ln γ / N."""
    return -sp.log(gamma) / SAMPLES


def gamma_from_cost(cost: Array, samples: int) -> Array:
    """Return the hyper-prior's γ behind a gate cost κ for N training samples.

    Real costs give very small γ: it underflows to 0 where Nκ > 745, which a layer gate's cost on 50,000 samples
    easily does. `log_gamma_from_cost` keeps its digits there.

    Args:
        cost: κ ≥ 0 and finite, nats of mean loss; a number or an array with one entry a gate.
        samples: N, an integer ≥ 1.

    Raises:
        ValueError: outside these ranges.

    Example:
        >>> gamma_from_cost(1e-3, 1000)
        0.36787944117144233
    """
    return _evaluate(_gamma, COST, cost, "≥ 0 and finite", lambda v, xp: (v >= 0) & xp.isfinite(v), samples)


def log_gamma_from_cost(cost: Array, samples: int) -> Array:
    """Return ln γ = −Nκ, for costs whose γ is too small for a float; arguments as for `gamma_from_cost`.

    Example:
        >>> gamma_from_cost(0.02, 50_000), log_gamma_from_cost(0.02, 50_000)
        (0.0, -1000.0)
    """
    return _evaluate(_log_gamma, COST, cost, "≥ 0 and finite", lambda v, xp: (v >= 0) & xp.isfinite(v), samples)


def cost_from_gamma(gamma: Array, samples: int) -> Array:
    """Return the gate cost κ = −ln γ / N that a hyper-prior with 0 < γ ≤ 1 stands for; a number or an array.

    Raises:
        ValueError: if γ is not in (0, 1] (a larger one would pay for gates), or N is no integer ≥ 1.
    """
    return _evaluate(_cost, GAMMA, gamma, "in (0, 1]", lambda v, xp: (v > 0) & (v <= 1), samples)


_gamma = compile_expressions([COST, SAMPLES], [gamma_of()])
_log_gamma = compile_expressions([COST, SAMPLES], [sp.log(gamma_of())])
_cost = compile_expressions([GAMMA, SAMPLES], [cost_of(GAMMA)])


def _evaluate(
    function: Callable[[Operands], tuple[Array, ...]],
    symbol: sp.Symbol,
    value: Array,
    allowed: str,
    test: Callable[[Array, ModuleType], Array],
    samples: int,
) -> Array:
    """Check the arguments, then call; a plain number comes back as one."""
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1:
        raise ValueError(f"samples must be an integer ≥ 1; got {samples}")
    given = operands({symbol.name: value}, {SAMPLES.name: int(samples)})
    checked = given[symbol.name]
    bad = ~test(checked, given.xp)
    if bool(bad.any()):
        raise ValueError(f"{symbol.name} must be {allowed}; got {float(checked[bad].reshape(-1)[0])}")
    (result,) = function(given)
    # −ln 1 is −0.0 in floating point; a cost of nothing is 0.
    return float(result) + 0.0 if isinstance(value, float | int) else result + 0.0
