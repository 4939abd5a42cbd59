"""The bilinear gate, D ≥ −η ρ_in ρ_out: a unit between fan-in and fan-out (claims `bilinear-*`).

With S = (ρ_in² + ρ_out²)/2 the system is bounded by  S' ≤ 2(ηθ − λ)S,  θ' ≤ r(ηS − κ), with equality where
ρ_in = ρ_out. The reduced system has the saddle S* = κ/η, θ* = λ/η and a first integral, so its separatrix is
known in closed form:

    θ_sep(S) = θ* + sign(S* − S) √( r (S − S* − S* ln(S/S*)) ).

As S → 0 it rises without bound: small enough weights are certified whatever θ is. Where θ* > 1 the weights
decay at every θ in the strip, and every state is certified.
"""

from __future__ import annotations

import math

import sympy as sp

from dynamics.gates.gate import ClosedFormGate
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA, GateSystem
from dynamics.numeric import Array, Operands, compile_expressions

__all__ = [
    "BILINEAR",
    "ENERGY",
    "RHO_IN",
    "RHO_OUT",
    "BilinearGate",
    "MeanBilinearGate",
    "first_integral",
    "reduced_field",
]

RHO_IN = sp.Symbol("rho_in", nonnegative=True)
RHO_OUT = sp.Symbol("rho_out", nonnegative=True)
ENERGY = sp.Symbol("S", positive=True)  # S = (ρ_in² + ρ_out²)/2

BILINEAR = GateSystem(difference=-COUPLING * RHO_IN * RHO_OUT, weights=(RHO_IN, RHO_OUT))

SADDLE_ENERGY = sp.Symbol("saddle_energy", positive=True)  # S* = κ/η
# S − S* and ln(S/S*) are computed by hand: the accurate way to them depends on how far S is from S*, and generated
# code is free to reorder a sum of three terms, which cancels near S*.
EXCESS = sp.Symbol("excess", real=True)
LOG_RATIO = sp.Symbol("log_ratio", real=True)


def reduced_field() -> tuple[sp.Expr, sp.Expr]:
    """Return (S', θ') where ρ_in = ρ_out = √S: the slowest way to zero among all states of equal S."""
    symmetric = {RHO_IN: sp.sqrt(ENERGY), RHO_OUT: sp.sqrt(ENERGY)}
    rho_in_dot, rho_out_dot, theta_dot = BILINEAR.field
    energy_dot = RHO_IN * rho_in_dot + RHO_OUT * rho_out_dot
    return tuple(sp.expand(f.subs(symmetric)) for f in (energy_dot, theta_dot))


def first_integral() -> sp.Expr:
    """Return a function of (S, θ) constant along the reduced system, found by separating the variables.

    dS/dθ = S'/θ' with S' = S·a(θ), θ' = b(S) gives ∫ b(S)/S dS − ∫ a(θ) dθ = const.
    """
    energy_dot, theta_dot = reduced_field()
    return sp.integrate(sp.expand(theta_dot / ENERGY), ENERGY) - sp.integrate(sp.expand(energy_dot / ENERGY), THETA)


def squared_height() -> sp.Expr:
    """Return (θ_sep − θ*)² as a function of S and S* = κ/η, from the first integral's value at the saddle."""
    saddle = {ENERGY: COST / COUPLING, THETA: DECAY / COUPLING}
    level = first_integral() - first_integral().subs(saddle)
    height = sp.Symbol("height")
    (squared,) = {sp.expand(root**2) for root in sp.solve(level.subs(THETA, DECAY / COUPLING + height), height)}
    return sp.simplify(sp.expand(squared.subs(COST, SADDLE_ENERGY * COUPLING)))


def scaled_squared_height() -> sp.Expr:
    """Return `squared_height` as r(e − S*·ℓ), e = S − S* and ℓ = ln(S/S*) being symbols (checked:
    `bilinear-separatrix`).
    """
    return RATE * (EXCESS - SADDLE_ENERGY * LOG_RATIO)


compiled_squared_height = compile_expressions([EXCESS, SADDLE_ENERGY, LOG_RATIO, RATE], [scaled_squared_height()])


class BilinearGate(ClosedFormGate):
    """A gate whose loss difference is bounded by a product of two norms.

    Certifies for every D with `D ≥ −η ρ_in ρ_out` and `⟨∇_{w_in}D, w_in⟩, ⟨∇_{w_out}D, w_out⟩ ≥ −η ρ_in ρ_out`.
    Sharp where ρ_in = ρ_out; elsewhere sufficient (the two norms approach one another only in time).

    Example:
        >>> gate = BilinearGate(decay=0.1, coupling=1.0, cost=0.5, rate=1.0)
        >>> [round(float(x), 4) for x in gate.saddle]
        [0.7071, 0.7071, 0.1]
        >>> bool(gate.certified(0.01, 0.01, 1.0))  # tiny weights: certified whatever θ
        True
    """

    system = BILINEAR

    def _distance(self, given: Operands, eta: Array) -> tuple[Array, Array]:
        """Return θ − θ_sep(S) and θ*."""
        saddle_theta = given[DECAY.name] / eta
        return given[THETA.name] - saddle_theta - _height(given, eta), saddle_theta

    def _without_price(self, given: Operands, found: Array) -> Array:
        """Return +∞: without a price θ stops above zero when the weights have vanished."""
        return given.xp.full_like(found, given.xp.inf)


class MeanBilinearGate(BilinearGate):
    """The bilinear gate with X = ((ρ_in + ρ_out)/2)² in the place of S: a larger region from the same constants.

    Of ρ_in' ≤ ηθρ_out − λρ_in and its mirror image the sum is (ρ_in + ρ_out)' ≤ (ηθ − λ)(ρ_in + ρ_out), so that
    X' ≤ 2(ηθ − λ)X, and ρ_inρ_out ≤ X gives θ' ≤ r(ηX − κ): the reduced system again. As X ≤ S, and θ_sep falls in S,
    this certifies every state that `BilinearGate` does (claim `bilinear-mean`).

    Example:
        >>> constants = {"decay": 0.1, "coupling": 1.0, "cost": 0.5, "rate": 1.0}
        >>> bool(BilinearGate(**constants).certified(0.2, 1.2, 0.1))
        False
        >>> bool(MeanBilinearGate(**constants).certified(0.2, 1.2, 0.1))
        True
    """

    def _distance(self, given: Operands, eta: Array) -> tuple[Array, Array]:
        """Return θ − θ_sep(X) and θ*."""
        mean = given["rho_in"] / 2 + given["rho_out"] / 2
        return super()._distance(Operands(given.xp, {**given.values, "rho_in": mean, "rho_out": mean}), eta)


def _height(given: Operands, eta: Array) -> Array:
    """Return θ_sep − θ*, positive below S*, without cancellation near S* and without underflow or overflow of S."""
    xp = given.xp
    energy = (given["rho_in"] ** 2 + given["rho_out"] ** 2) / 2
    saddle_energy = given["cost"] / eta
    usable = saddle_energy > 0  # η = ∞, κ = 0 or an underflow: then (θ_sep − θ*)² is rS
    excess = energy - saddle_energy
    relative = excess / xp.where(usable, saddle_energy, xp.ones_like(saddle_energy))
    # Near S* the difference is exact, and log1p keeps the relative accuracy of the small gap e − S*·ℓ. A tiny S is
    # lost in 1 + relative, as its square may be; so far below S* the logarithms of the norms are taken.
    near = usable & (relative > -0.9) & xp.isfinite(relative)
    far = _log_energy(given) - (xp.log(given["cost"]) - xp.log(eta))
    log_ratio = xp.where(near, xp.log1p(xp.where(near, relative, xp.zeros_like(relative))), far)
    below = xp.where(near, relative, far) < 0
    log_ratio = xp.where(usable, log_ratio, xp.zeros_like(log_ratio))
    given.values |= {EXCESS.name: excess, SADDLE_ENERGY.name: saddle_energy, LOG_RATIO.name: log_ratio}
    (squared,) = compiled_squared_height(given)
    overflown = ~(xp.isfinite(energy) & xp.isfinite(saddle_energy))
    squared = xp.where(overflown, xp.full_like(squared, xp.inf), squared)
    height = xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))  # rounding may leave −0
    return xp.where(below, height, -height)


def _log_energy(given: Operands) -> Array:
    """Return ln((ρ_in² + ρ_out²)/2), finite for every positive norm although the squares may not be representable."""
    xp = given.xp
    larger = xp.maximum(given["rho_in"], given["rho_out"])
    smaller = xp.minimum(given["rho_in"], given["rho_out"])
    share = smaller / xp.where(larger > 0, larger, xp.ones_like(larger))
    return 2 * xp.log(larger) + xp.log1p(share**2) - math.log(2)
