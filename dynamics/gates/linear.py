"""The linear gate, D ≥ −ηρ: its basin of zero is a half-plane (claims `linear-*`).

    ρ' = ηθ − λρ,        θ' = r(ηρ − κ),     θ projected on [0, 1]

The saddle is ρ* = κ/η, θ* = λκ/η². The stable manifold of a linear system is the line through the saddle along
the stable eigenvector, so the basin of zero inside the strip is φ < 0 with φ = (θ − θ*) − s(ρ − ρ*) and slope
s = (λ − √(λ² + 4rη²)) / (2η) < 0. One case is left out there: where θ* > 1 the saddle lies outside the strip
0 ≤ θ ≤ 1, a state that slides along θ = 1 falls below ρ* and returns, and the whole strip is the basin.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from dynamics.gates.gate import ClosedFormGate
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA, GateSystem
from dynamics.numeric import Array, Operands, compile_expressions

__all__ = ["LINEAR", "RHO", "LinearGate", "compiled_margin", "scaled_margin", "separatrix_slope"]

RHO = sp.Symbol("rho", nonnegative=True)  # ρ = ‖w‖

LINEAR = GateSystem(difference=-COUPLING * RHO, weights=(RHO,))

# Ratios in which the margin has no cancellation and no square of a small coupling (checked: `linear-margin`).
RATIO = sp.Symbol("ratio", nonnegative=True)  # a = λ/η
SADDLE_RHO = sp.Symbol("saddle_rho", nonnegative=True)  # ρ* = κ/η


def separatrix_slope() -> sp.Expr:
    """Return s = dθ/dρ along the stable eigenvector, derived from the Jacobian (as a SymPy expression)."""
    for value, _, (vector,) in LINEAR.jacobian.eigenvects():
        if value.is_negative or sp.simplify(value).subs({DECAY: 1, COUPLING: 1, RATE: 1}).is_negative:
            return sp.simplify(vector[1] / vector[0])
    raise AssertionError("the linear system has no stable direction")


def scaled_depth() -> sp.Expr:
    """Return q = (a + √(a²+4r))/2 in the ratio a = λ/η: the boundary starts at θ = ρ*q, and μ₊ = rη/q."""
    return (RATIO + sp.sqrt(RATIO**2 + 4 * RATE)) / 2


def scaled_margin() -> sp.Expr:
    """Return φ in the ratios a = λ/η and ρ* = κ/η: θ + ρr/q − ρ*q, q the `scaled_depth`."""
    q = scaled_depth()
    return THETA + RHO * RATE / q - SADDLE_RHO * q


compiled_margin = compile_expressions([RHO, THETA, RATIO, SADDLE_RHO, RATE], [scaled_margin()])
_depth = compile_expressions([RATIO, RATE], [scaled_depth()])


class LinearGate(ClosedFormGate):
    """A gate whose loss difference is bounded by a linear pull.

    Certifies for every D with `D ≥ −ηρ` and `⟨∇D, w⟩ ≥ −ηρ`, ρ = ‖w‖; no larger region can be certified from
    these constants, because `D(w) = −η‖w‖` attains them.

    Example:
        >>> gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
        >>> [float(x) for x in gate.saddle]
        [0.5, 0.25]
        >>> bool(gate.certified(0.1, 0.3)), bool(gate.certified(0.5, 0.3))
        (True, False)
        >>> round(float(gate.headroom(0.1, 0.3)), 3)
        1.528
    """

    system = LINEAR

    def _distance(self, given: Operands, eta: Array) -> tuple[Array, Array]:
        """Return φ and θ*."""
        ratio, saddle_rho = given[DECAY.name] / eta, given[COST.name] / eta
        given.values |= {RATIO.name: ratio, SADDLE_RHO.name: saddle_rho}
        (phi,) = compiled_margin(given)
        return phi, ratio * saddle_rho

    def _without_price(self, given: Operands, found: Array) -> Array:
        """Return φ, which is θ where nothing pulls."""
        return given.xp.where(given[COUPLING.name] > 0, found, given[THETA.name])

    def time_to_zero(self, rho: Array, theta: Array) -> Array:
        """Return the time by which a certified gate is at θ = 0 for good, in the units of `rate` and `decay`.

        ln(rκ/(μ₊|φ|))/μ₊ where θ* ≤ 1 (`linear-deadline`), ∞ where the gate is not certified. Only up to this time
        need the constants hold; after it η may grow as fast as the weights decay (`linear-until-deadline`). Where
        θ* > 1: the time until ρ is halfway between η/λ and ρ*, and then 2λ/(r(λκ − η²)) (`linear-above-strip`).

        Raises:
            ValueError: as `margin`.
        """
        given = self.checked_state(rho, theta)
        xp = given.xp
        decay, eta, cost, rate = (given[symbol.name] for symbol in (DECAY, COUPLING, COST, RATE))
        margin = self.margin(rho, theta)
        with np.errstate(all="ignore"):
            given.values[RATIO.name] = decay / eta
            (q,) = _depth(given)
            unstable = eta * rate / q
            inside = xp.log(cost * q / eta / -margin) / unstable
            room = (decay * cost - eta**2) / (2 * decay)  # κ − η·(the place halfway), η/λ and κ/η its ends
            start, halfway = rho - eta / decay, room / eta
            wait = xp.log(start / halfway) / decay
            above = xp.where(start > halfway, wait, xp.zeros_like(wait)) + 1 / (rate * room)
            found = xp.where(decay * cost > eta**2, above, inside)
            found = xp.where(eta > 0, found, given[THETA.name] / (rate * cost))
        return xp.where(margin < 0, found, xp.full_like(margin, np.inf))

    def growth_headroom(self, rho: Array, theta: Array, points: int = 48) -> Array:
        """Return a tolerated growth rate g of the coupling: with η(t) ≤ ηe^{gt} the gate still dies.

        The largest of ln m/T(m) over `points` factors m from 1 to the headroom, T(m) the deadline at coupling mη: until
        then η(t) ≤ mη, which is all that the deadline needs. 0 where the gate is not certified, ∞ where any coupling
        is (nothing pulls, or ρ = θ = 0). Per unit of time, as `rate`.

        Raises:
            ValueError: as `margin`.
        """
        given = self.checked_state(rho, theta)
        xp, headroom = given.xp, self.headroom(rho, theta)
        eta = given[COUPLING.name]
        held = (headroom > 1) & xp.isfinite(headroom)
        most = xp.log(xp.where(held, headroom, xp.ones_like(headroom)))
        best = xp.zeros_like(most)
        for point in range(1, points):
            exponent = most * (point / points)
            rate = exponent / self.with_coupling(eta * xp.exp(exponent)).time_to_zero(rho, theta)
            best = xp.where(held & (rate > best), rate, best)
        return xp.where(xp.isfinite(headroom), best, xp.full_like(best, np.inf))

    def in_box(self, *state: Array) -> Array:
        """Return whether ρ < ρ* and θ < θ*: the obvious invariant box, the baseline that the half-plane beats."""
        given = self.checked_state(*state)
        rho_star, theta_star = self._saddle_of(given)
        return (given["rho"] < rho_star) & (given["theta"] < theta_star)
