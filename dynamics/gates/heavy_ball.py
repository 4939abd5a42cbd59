"""The linear gate, D ≥ −ηρ, trained in steps with momentum: its certified region is a half-space (claims `heavy-*`).

    v⁺ = m v + ηθ − λρ,        ρ⁺ = ρ + l v⁺,        θ⁺ = clip(θ + h(ηρ − κ)) to [0, 1]

with l the weights' learning rate, m their momentum, v the buffer and h the gate's learning rate. The saddle is
ρ* = κ/η, v = 0, θ* = λκ/η². The step has one eigenvalue a = 1 + δ > 1, with δ²(a − m)/(al) + λδ = hη², and to it
belongs the positive left eigenvector (A, B, 1), so that

    ψ = θ − θ* + A(ρ − ρ*) + Bv = θ + Aρ + Bv − κh/δ,        C = δ/η,  B = Cm/a,  A = C(a − m)/(al),

is multiplied by a at each step, and at most so where the equations above are only upper bounds (claim `heavy-growth`).

**Theorem.** Let δ² ≤ 1 − m and √(λl) ≤ 1 − √m (without a pull the weights do not swing). Let w and its buffer be
vectors, ‖∇D‖ ≤ η(t) ≤ η, κ(t) ≥ κ, ρ = ‖w‖ and v = ‖buffer‖; or w a single weight with D' ≥ −η and D ≥ −ηw, ρ and v
its and its buffer's positive parts. If

    ψ + b·max(v, η/(1 − m)) + e < 0,     b = Bδ/(1 − m),

then θ = 0 from some step on. Here e = 0 if m = 0, or if λ = 0, or if a + λl + 2√(m/a) ≤ 2 + m (no eigenvalue of the
step is complex), and e = θ* otherwise. Where θ* > 1 the second condition suffices, for every state.

**Proof.** *Comparison.* With q = (1 − m − λl)/(2ml) and u = v + qρ the step is monotone in (ρ, u, θ): all coefficients
of ρ⁺, u⁺ and θ⁺ are ≥ 0 (claim `heavy-order`). The same equations hold for the vectors w and buffer + qw with −∇D in
place of η. So the true state is bounded by the solution of the scalar equations that starts at (ρ, v, θ), and the rest
speaks of this solution, in which ρ, u ≥ 0. (For m = 0 the buffer plays no part.)

*Down to the face.* Off the clip at 0, ψ⁺ ≤ aψ; and ψ ≥ −κh/δ, since A − Bq > 0. So θ comes to the clip within
ln(κh/(δ|ψ₀|))/ln a steps. Until then v ≤ max(v₀, η/(1 − m)), and ψ has fallen. So ψ + e < 0 and Φ + e < 0 there, where
Φ = ψ + bv = θ − θ* + A(R − ρ*), and R = ρ + lmv/(1 − m) is the place to which the buffer carries the weight.

*On the face.* A clipped step has Φ⁺ ≤ Φ and ψ⁺ ≤ max(ψ, Φ) (claim `heavy-clip`), so both stay below −e. If m = 0,
Φ = ψ rises at no step and falls by the factor a off the clip; bounded below, it does so at finitely many steps. If
λ = 0, θ* = 0, or e = θ*: now R < ρ*, and on the face R⁺ = R − lλρ/(1 − m) ≤ R. While v ≥ 0, ρ ≤ R < ρ*, and once v < 0
it remains so, and ρ falls: the gate stays.

*A second visit.* Otherwise it may leave the face once more. Then ρ ≥ ρ* where a step before ρ < ρ*, so that v > 0; and
ψ < 0. Off the clip v is a sum of multiples of a^k and of two other powers with positive bases (without the clip at
θ = 1, which may be left away, as that only raises the solution). Such a sum has at most two zeros, this one starts
positive and ends at −∞, since ψ < 0: it changes its sign once. The gate comes back to the clip only after ρ has fallen
below ρ*, hence with v < 0, and v⁺ < 0, too, because the clip acts on v a step later. From there on v⁺ = mv − λρ < 0: ρ
falls, and the gate stays. If θ* > 1, ρ falls below any number above η/λ < ρ*, and θ to 0, for good. ∎

**Not proved:** rates or momentum that change on the way, Nesterov's variant, dampening, momentum on the gate.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from dynamics.gates.bounded import (
    FINITE,
    FINITE_NONNEGATIVE,
    FINITE_POSITIVE,
    NONNEGATIVE,
    SHARE,
    BoundedGate,
    Range,
    check,
)
from dynamics.gates.linear import RHO
from dynamics.gates.ode import COST, COUPLING, DECAY, THETA
from dynamics.numeric import Array, Operands, compile_expressions, operands

__all__ = [
    "GATE_LR",
    "GROWTH",
    "LR",
    "MOMENTUM",
    "PULL",
    "SIGMA_RHO",
    "SIGMA_THETA",
    "VELOCITY",
    "HeavyBallGate",
    "coefficients",
    "escape_deviations",
    "linear_form",
    "linear_step",
]

LR = sp.Symbol("lr", positive=True)  # l
GATE_LR = sp.Symbol("gate_lr", positive=True)  # h
MOMENTUM = sp.Symbol("momentum", nonnegative=True)  # m
VELOCITY = sp.Symbol("velocity", real=True)  # v, the buffer
GROWTH = sp.Symbol("growth", positive=True)  # δ = a − 1
PULL = sp.Symbol("pull", positive=True)  # C = δ/η, what noise in the buffer weighs in ψ
SADDLE_RHO = sp.Symbol("saddle_rho", nonnegative=True)
SIGMA_RHO = sp.Symbol("sigma_rho", nonnegative=True)
SIGMA_THETA = sp.Symbol("sigma_theta", nonnegative=True)


def linear_step() -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Return (ρ⁺, v⁺, θ⁺), not clipped."""
    moved = MOMENTUM * VELOCITY + COUPLING * THETA - DECAY * RHO
    return RHO + LR * moved, moved, THETA + GATE_LR * (COUPLING * RHO - COST)


def coefficients() -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Return A, B and b, in C and δ."""
    weight = PULL * (1 - MOMENTUM + GROWTH) / ((1 + GROWTH) * LR)
    buffer = PULL * MOMENTUM / (1 + GROWTH)
    return weight, buffer, buffer * GROWTH / (1 - MOMENTUM)


def linear_form() -> sp.Expr:
    """Return ψ = θ + Aρ + Bv − κh/δ; κh/δ as ρ*h/C."""
    weight, buffer, _ = coefficients()
    return THETA + weight * RHO + buffer * VELOCITY - SADDLE_RHO * GATE_LR / PULL


def escape_deviations() -> tuple[sp.Expr, sp.Expr]:
    """Return z/|ψ| such that P(escape) ≤ exp(−z²/2): for noises that may be dependent, and independent ones."""
    root = sp.sqrt(GROWTH * (2 + GROWTH))
    gate, weight = GATE_LR * SIGMA_THETA, PULL * SIGMA_RHO
    return root / (gate + weight), root / sp.sqrt(gate**2 + weight**2)


_names = [RHO, VELOCITY, THETA, GROWTH, PULL, SADDLE_RHO, LR, GATE_LR, MOMENTUM]
_compiled = compile_expressions(_names, [linear_form(), coefficients()[2]])
_compiled_step = compile_expressions(
    [RHO, VELOCITY, THETA, DECAY, COUPLING, COST, LR, GATE_LR, MOMENTUM], linear_step()
)
_compiled_escape = compile_expressions([GROWTH, PULL, GATE_LR, SIGMA_RHO, SIGMA_THETA], escape_deviations())

BELOW_ONE: Range = ("in [0, 1)", lambda v, xp: (v >= 0) & (v < 1))
NEWTON = 40  # steps; each at least halves the distance to the root of a convex function, then squares it


class HeavyBallGate(BoundedGate):
    """A gate with a linear pull, trained by steps with momentum; one gate, or an array of gates.

    Args:
        decay: λ ≥ 0, weight decay, added to the gradient.
        coupling: η ≥ 0, bound on ‖∇D‖; ∞ where none is known: then nothing is certified.
        cost: κ ≥ 0, the objective's price for the gate.
        lr: l > 0, the weights' learning rate.
        gate_lr: h > 0, the gate's learning rate, of plain gradient steps.
        momentum: m in [0, 1), the weights' momentum, no dampening.

    Raises:
        ValueError: for a value outside these ranges, or shapes that do not broadcast.

    Example:
        >>> constants = {"decay": 5e-4, "coupling": 0.02, "cost": 0.012}
        >>> gate = HeavyBallGate(**constants, lr=0.1, gate_lr=0.5, momentum=0.9)
        >>> buffer = 0.02 * 0.2134 / 0.1
        >>> bool(gate.certified(0.3, 0.2134, buffer))
        False
        >>> from dynamics import LinearGate
        >>> bool(LinearGate(**constants, rate=0.5 * 0.1 / 0.1).certified(0.3, 0.2134))  # it ends at θ = 1
        True
    """

    def __init__(
        self, *, decay: Array, coupling: Array, cost: Array, lr: Array, gate_lr: Array, momentum: Array
    ) -> None:
        named = {DECAY.name: decay, COUPLING.name: coupling, COST.name: cost}
        rates = {LR.name: lr, GATE_LR.name: gate_lr, MOMENTUM.name: momentum}
        ranges = dict.fromkeys((DECAY, COST), FINITE_NONNEGATIVE) | {COUPLING: NONNEGATIVE}
        super().__init__(named | rates, ranges | dict.fromkeys((LR, GATE_LR), FINITE_POSITIVE) | {MOMENTUM: BELOW_ONE})

    @property
    def growth(self) -> Array:
        """Return δ = a − 1 > 0, by which |ψ| grows in a step; accurate also where it is tiny."""
        return self._scaled({})[GROWTH.name]

    @property
    def saddle(self) -> tuple[Array, Array, Array]:
        """Return (ρ*, θ*, 0), infinite where nothing pulls."""
        given = operands({}, self.parameters)
        with np.errstate(all="ignore"):
            eta = given.xp.abs(given[COUPLING.name])
            rho = given[COST.name] / eta
            rho, theta = given.broadcast(rho, given[DECAY.name] / eta * rho)
        return rho, theta, given.xp.zeros_like(rho)

    def step(self, rho: Array, theta: Array, velocity: Array) -> tuple[Array, Array, Array]:
        """Return (ρ⁺, θ⁺, v⁺), the bounding step. A signed weight may be negative here.

        Raises:
            ValueError: for θ outside [0, 1] or a state that is not finite.
        """
        given = operands({RHO.name: rho, THETA.name: theta, VELOCITY.name: velocity}, self.parameters)
        check(given, {RHO: FINITE, VELOCITY: FINITE, THETA: SHARE})
        moved, buffer, gate = _compiled_step(given)
        return moved, given.xp.clip(gate, 0.0, 1.0), buffer

    def psi(self, rho: Array, theta: Array, velocity: Array) -> Array:
        """Return ψ = θ − θ* + A(ρ − ρ*) + Bv, which a step multiplies by a: the distance to the plane along θ."""
        given = self._scaled(self._checked(rho, theta, velocity))
        found = _compiled(given)[0]
        return given.xp.where(given[COUPLING.name] > 0, found, given.xp.full_like(found, -np.inf))

    def margin(self, rho: Array, theta: Array, velocity: Array) -> Array:
        """Return ψ and what the clip at θ = 0 may add to it: the gate dies where this is negative.

        Args:
            rho: ρ ≥ 0, the norm of the weights.
            theta: θ in [0, 1].
            velocity: v, the norm of the buffer, or the buffer of a single weight (a negative one counts as 0).

        Returns:
            ψ + b·max(v, η/(1 − m)) + e; +∞ where the theorem does not speak, −∞ where nothing pulls and κ > 0; where
            θ* > 1 at most 1 − θ*.

        Raises:
            ValueError: for a negative or infinite ρ, θ outside [0, 1], NaN, or shapes that do not broadcast.
        """
        given = self._scaled(self._checked(rho, theta, velocity))
        xp, eta, m = given.xp, given[COUPLING.name], given[MOMENTUM.name]
        given.values[VELOCITY.name] = xp.where(given[VELOCITY.name] > 0, given[VELOCITY.name], xp.zeros_like(eta))
        with np.errstate(all="ignore"):
            found, carried = _compiled(given)
            growth, decayed = given[GROWTH.name], given[DECAY.name] * given[LR.name]
            found = found + carried * xp.maximum(*given.broadcast(given[VELOCITY.name], eta / (1 - m)))
            theta_star = given[DECAY.name] / eta * given[SADDLE_RHO.name]
            # a + λl + 2√(m/a) ≤ 2 + m, without the difference of numbers near 2: 1/√a − 1 = −δ/(√a(1 + √a)).
            root = xp.sqrt(1 + growth)
            swing = growth + decayed - 2 * xp.sqrt(m) * growth / (root * (1 + root))
            once = (swing <= (1 - xp.sqrt(m)) ** 2) | (m == 0) | (given[DECAY.name] == 0)
            found = xp.where(once, found, found + theta_star)
            ordered = xp.sqrt(decayed) + xp.sqrt(m) <= 1
            found = xp.where(ordered & (growth**2 <= 1 - m) & ~xp.isnan(found), found, xp.full_like(found, np.inf))
            above = given.broadcast(1 - theta_star)[0]
            found = xp.where(ordered & (above < 0), xp.minimum(found, above), found)
            unpulled = xp.where(given[COST.name] > 0, xp.full_like(found, -np.inf), xp.full_like(found, np.inf))
            return xp.where(eta > 0, found, unpulled)

    def certified(self, rho: Array, theta: Array, velocity: Array) -> Array:
        """Return whether the gate is guaranteed to end at θ = 0 while its constants hold: margin < 0."""
        return self.margin(rho, theta, velocity) < 0

    def headroom(self, rho: Array, theta: Array, velocity: Array) -> Array:
        """Return how many times the coupling may grow before the certificate is lost; 0 and ∞ as for other gates.

        That the region shrinks as η grows is the claim `heavy-monotone`.
        """
        state = (rho, theta, velocity)
        return self._largest_factor(self._checked(*state), lambda gate: gate.certified(*state))

    def escape_probability(
        self,
        rho: Array,
        theta: Array,
        velocity: Array,
        *,
        sigma_rho: Array,
        sigma_theta: Array,
        independent: bool = False,
    ) -> Array:
        """Bound on the probability that noise carries ψ to 0 before θ is first to be clipped at 0 (`heavy-noise`).

        Args:
            rho, theta, velocity: the state; a single weight, or the component along the pull, and its buffer.
            sigma_rho: σ_ρ ≥ 0, sub-Gaussian scale of the noise in the weights' gradient, given the past.
            sigma_theta: σ_θ ≥ 0, the same for the gate's gradient.
            independent: whether the two are independent of one another given the past.

        Returns:
            exp(−ψ²(a² − 1)/(2(hσ_θ + Cσ_ρ)²)), with h²σ_θ² + C²σ_ρ² if independent; 1 where ψ ≥ 0.

        Raises:
            ValueError: for a value outside these ranges.
        """
        checked = self._checked(rho, theta, velocity)
        given = self._scaled(checked, {SIGMA_RHO.name: sigma_rho, SIGMA_THETA.name: sigma_theta})
        check(given, dict.fromkeys((SIGMA_RHO, SIGMA_THETA), FINITE_NONNEGATIVE))
        xp, psi = given.xp, _compiled(given)[0]
        with np.errstate(all="ignore"):
            z = psi * _compiled_escape(given)[int(independent)]
            bound = xp.exp(-z * z / 2)
        pulled = given[COUPLING.name] > 0
        bound = xp.where((psi < 0) & ~xp.isnan(bound), bound, xp.ones_like(bound))
        silent = (given[SIGMA_RHO.name] == 0) & (given[SIGMA_THETA.name] == 0) & (psi < 0)
        return xp.where(silent | (~pulled & (given[COST.name] > 0)), xp.zeros_like(bound), bound)

    def _checked(self, rho: Array, theta: Array, velocity: Array) -> Operands:
        given = operands({RHO.name: rho, THETA.name: theta, VELOCITY.name: velocity}, self.parameters)
        check(given, {RHO: FINITE_NONNEGATIVE, THETA: SHARE, VELOCITY: FINITE})
        return given

    def _scaled(self, state: Operands | dict[str, Array], more: dict[str, Array] | None = None) -> Operands:
        """Return operands with δ, C and ρ* beside the constants.

        With g = η√(hl) and δ = gz the equation reads z²(1 − m/(1 + gz)) + (λl/g)z = 1: nothing under- or overflows,
        and its left side is convex, so that Newton's steps fall to z from the root for 1 − m in place of the bracket.
        """
        values = state.values if isinstance(state, Operands) else state
        named = {name: values[name] for name in (RHO.name, THETA.name, VELOCITY.name) if name in values}
        given = operands({**named, **(more or {})}, self.parameters)
        xp, eta, m = given.xp, given[COUPLING.name], given[MOMENTUM.name]
        with np.errstate(all="ignore"):
            both = xp.sqrt(given[LR.name]) * xp.sqrt(given[GATE_LR.name])
            g = xp.where(eta > 0, eta, xp.ones_like(eta)) * both
            ratio = given[DECAY.name] * given[LR.name] / g
            z = 2 / (ratio + xp.sqrt(ratio**2 + 4 * (1 - m)))
            for _ in range(NEWTON):
                a = 1 + g * z
                value = z * z * (1 - m + g * z) / a + ratio * z - 1
                slope = z * (2 * (1 - m + g * z) / a + g * z * m / (a * a)) + ratio
                z = z - value / slope
            given.values |= {GROWTH.name: g * z, PULL.name: both * z}
            given.values[SADDLE_RHO.name] = given[COST.name] / xp.where(eta > 0, eta, xp.ones_like(eta))
        return given
