"""A gate under any optimizer: only the growth of its weights' norm is bounded (claims `drift-*`).

    ρ' ≤ g,        θ' ≤ r(ηρ − κ),     while θ > 0

Optimizers that rescale gradients do not let the weights feel θ, so the linear gate's first equation is not theirs. Of
the bounds above the fastest solution is ρ = ρ₀ + gt, θ = θ₀ − r(xt − ηgt²/2) with x = κ − ηρ₀. Its lowest point is
at t = x/(ηg), and there θ = θ₀ − rx²/(2ηg). So with these bounds θ reaches 0 for certain if and only if

    ηρ₀ < κ    and    θ₀ ≤ rx²/(2ηg),

which is certified with < for ≤. It does so within t = 2θ₀/(r(x + √(x² − 2ηgθ₀/r))) ≤ x/(ηg). What the weights do at
θ = 0 is not said: no sample passes them a gradient there, but an optimizer's memory may move them. So this is a promise
that θ comes to 0, for a gate that is removed there.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from dynamics.gates.bounded import FINITE_NONNEGATIVE, NONNEGATIVE, POSITIVE, SHARE, BoundedGate, check
from dynamics.gates.linear import RHO
from dynamics.gates.ode import COST, COUPLING, RATE, THETA
from dynamics.numeric import Array, Operands, compile_expressions, operands

__all__ = ["DRIFT", "REACH", "DriftGate", "coupling_equation", "largest_coupling", "lowest_theta", "path", "time_down"]

DRIFT = sp.Symbol("growth", positive=True)  # g
REACH = sp.Symbol("reach", positive=True)  # x = κ − ηρ
TIME = sp.Symbol("time", nonnegative=True)


def path() -> tuple[sp.Expr, sp.Expr]:
    """Return (ρ(t), θ(t)) of the fastest solution, not projected."""
    rho = RHO + DRIFT * TIME
    return rho, THETA + sp.integrate(sp.expand(RATE * (COUPLING * rho - COST)), (TIME, 0, TIME))


def lowest_theta() -> sp.Expr:
    """Return θ − rx²/(2ηg), the lowest point of the path."""
    return THETA - RATE * REACH**2 / (2 * COUPLING * DRIFT)


def time_down() -> sp.Expr:
    """Return the first time at which the path is at 0, without a difference that cancels."""
    return 2 * THETA / (RATE * (REACH + sp.sqrt(REACH**2 - 2 * COUPLING * DRIFT * THETA / RATE)))


def coupling_equation() -> tuple[sp.Expr, sp.Expr]:
    """Return p and q with (ρη)² − 2pη + κ² = 0 where θ = rx²/(2ηg), and q = p² − κ²ρ²."""
    spent = DRIFT * THETA / RATE
    return COST * RHO + spent, spent * (2 * COST * RHO + spent)


def largest_coupling() -> sp.Expr:
    """Return the η with θ = rx²/(2ηg) and ηρ ≤ κ, the smaller root of a quadratic equation."""
    half, square = coupling_equation()
    return COST**2 / (half + sp.sqrt(square))


_lowest = compile_expressions([THETA, RATE, REACH, COUPLING, DRIFT], [lowest_theta()])
_time = compile_expressions([THETA, RATE, REACH, COUPLING, DRIFT], [time_down()])
_largest = compile_expressions([RHO, THETA, RATE, COST, DRIFT], [largest_coupling()])


class DriftGate(BoundedGate):
    """A gate whose weights' norm grows at most at a known speed; one gate, or an array of gates.

    Args:
        growth: g ≥ 0, the largest ρ' while the gate lives, per unit of time.
        coupling: η ≥ 0 with D ≥ −ηρ; ∞ where none is known: then nothing is certified.
        cost: κ ≥ 0, the objective's price for the gate.
        rate: r > 0, the gate's learning rate per unit of time.

    Raises:
        ValueError: for a value outside these ranges, NaN, or shapes that do not broadcast.

    Example:
        >>> gate = DriftGate(growth=0.1, coupling=1.0, cost=1.0, rate=0.2)
        >>> bool(gate.certified(0.5, 0.2)), bool(gate.certified(0.5, 0.3))
        (True, False)
        >>> round(float(gate.time_to_zero(0.5, 0.2)), 3), round(float(gate.headroom(0.5, 0.2)), 3)
        (2.764, 1.073)
    """

    def __init__(self, *, growth: Array, coupling: Array, cost: Array, rate: Array) -> None:
        named = {DRIFT.name: growth, COUPLING.name: coupling, COST.name: cost, RATE.name: rate}
        finite = dict.fromkeys((DRIFT, COST, RATE), FINITE_NONNEGATIVE)
        super().__init__(named, finite | {COUPLING: NONNEGATIVE})
        check(operands({}, named), {RATE: POSITIVE})

    def margin(self, rho: Array, theta: Array) -> Array:
        """Return θ − rx²/(2ηg), or +∞ where ηρ ≥ κ: negative = certified; −∞ where nothing pulls or ρ cannot grow.

        Raises:
            ValueError: for a negative or infinite ρ, θ outside [0, 1], NaN, or shapes that do not broadcast.
        """
        given = self._checked(rho, theta)
        xp, reach = given.xp, given[REACH.name]
        with np.errstate(all="ignore"):
            found = _lowest(given)[0]
        down = (reach > 0) & ~xp.isnan(found)
        return xp.where(down, found, xp.full_like(found, np.inf))

    def certified(self, rho: Array, theta: Array) -> Array:
        """Return whether θ is guaranteed to reach 0 while the constants hold: margin < 0."""
        return self.margin(rho, theta) < 0

    def time_to_zero(self, rho: Array, theta: Array) -> Array:
        """Return the time by which a certified gate is at θ = 0, in the units of `rate`; ∞ where it is not."""
        given = self._checked(rho, theta)
        with np.errstate(all="ignore"):
            found = _time(given)[0]
        return given.xp.where(self.certified(rho, theta), found, given.xp.full_like(found, np.inf))

    def headroom(self, rho: Array, theta: Array) -> Array:
        """Return how many times the coupling may grow before the certificate is lost; 0 for κ = 0."""
        given = self._checked(rho, theta)
        xp = given.xp
        with np.errstate(all="ignore"):
            found = _largest(given)[0] / xp.abs(given[COUPLING.name])
        return xp.where((given[COST.name] > 0) & ~xp.isnan(found), found, xp.zeros_like(found))

    def _checked(self, rho: Array, theta: Array) -> Operands:
        """Return the state beside the constants, checked, and x."""
        given = operands({RHO.name: rho, THETA.name: theta}, self.parameters)
        check(given, {RHO: FINITE_NONNEGATIVE, THETA: SHARE})
        with np.errstate(all="ignore"):
            pull = given[COUPLING.name] * given[RHO.name]
            reach = given.broadcast(given[COST.name] - pull)[0]
        given.values[REACH.name] = reach  # NaN for η = ∞ and ρ = 0
        return given
