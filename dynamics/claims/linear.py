"""Claims about the linear gate. Proofs are written out in each check; the computer verifies every step.

With the unstable eigenvalue μ > 0 the characteristic equation reads μ(μ + λ) = rη². So r = μ(μ + λ)/η² trades the
rate for μ (for fixed λ and η a bijection of (0, ∞)), every square root becomes λ + 2μ, and all identities become
identities of rational functions. λ = 0 is included unless a scope says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from dynamics.gates.gate import compiled_field
from dynamics.gates.linear import LINEAR, RATIO, RHO, SADDLE_RHO, compiled_margin, scaled_margin, separatrix_slope
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from dynamics.numeric import Operands
from dynamics.proofs.boxes import (
    Axis,
    Ball,
    all_positive,
    balls,
    compiled_differs,
    compiled_on_balls,
    joined,
    prove_positive,
    require_flint,
)
from dynamics.proofs.claim import Claim, Outcome, Status, claim
from dynamics.proofs.steps import Step, equal, negative, nonnegative, nonpositive, positive, prove

__all__ = ["CLAIMS"]

DECAY0 = sp.Symbol("decay", nonnegative=True)  # λ = 0 allowed
MU = sp.Symbol("mu", positive=True)  # μ₊
GAP = sp.Symbol("gap", positive=True)  # the amount by which some inequality is strict
#: A function from `compile_expressions`.
Compiled = Callable[[Operands], tuple[Any, ...]]
ALL = "all λ ≥ 0 and η, κ, r > 0"
ALL_DECAYING = "all λ, η, κ, r > 0"


def rational(expression: sp.Expr, decay: sp.Expr = DECAY0) -> sp.Expr:
    """Return the expression with r = μ(μ + λ)/η², its square roots taken."""
    replaced = expression.subs(DECAY, decay).subs(RATE, MU * (MU + decay) / COUPLING**2)
    return replaced.replace(
        lambda e: e.is_Pow and e.exp in (sp.S.Half, -sp.S.Half), lambda e: sp.factor(e.base) ** e.exp
    )


def unscaled(margin: sp.Expr) -> sp.Expr:
    """Return a margin with its ratios a and ρ* put back as λ/η and κ/η."""
    return margin.subs({RATIO: DECAY / COUPLING, SADDLE_RHO: COST / COUPLING}, simultaneous=True)


def phi(decay: sp.Expr = DECAY0) -> sp.Expr:
    """Return the margin φ in (λ, η, κ, μ): the expression that `LinearGate.margin` is compiled from."""
    return rational(unscaled(scaled_margin()), decay)


def field(decay: sp.Expr = DECAY0) -> tuple[sp.Expr, ...]:
    """Return (ρ', θ') in (λ, η, κ, μ)."""
    return tuple(rational(f, decay) for f in LINEAR.field)


def saddle(decay: sp.Expr = DECAY0) -> tuple[sp.Expr, ...]:
    """Return (ρ*, θ*)."""
    return tuple(s.subs(DECAY, decay) for s in LINEAR.saddle)


def along_flow(function: sp.Expr, flow: tuple[sp.Expr, ...]) -> sp.Expr:
    """Return d/dt of a function of (ρ, θ) along a flow."""
    return sp.diff(function, RHO) * flow[0] + sp.diff(function, THETA) * flow[1]


@claim(
    "linear-derivation",
    "D = −ηρ gives ρ' = ηθ − λρ, θ' = r(ηρ − κ), the saddle (κ/η, λκ/η²), the eigenvalues "
    "(−λ ± √(λ² + 4rη²))/2 and a negative determinant",
    "symbolic",
)
def derivation() -> Outcome:
    """Prove the statement: the field from the difference; the rest by substitution. det < 0: one eigenvalue of each
    sign.
    """
    rho_star, theta_star = LINEAR.saddle
    root = sp.sqrt(DECAY**2 + 4 * RATE * COUPLING**2)
    stable, unstable = LINEAR.eigenvalues
    at_saddle = {RHO: rho_star, THETA: theta_star}
    return prove(
        equal("field of rho", LINEAR.field[0], COUPLING * THETA - DECAY * RHO),
        equal("field of theta", LINEAR.field[1], RATE * (COUPLING * RHO - COST)),
        equal("saddle in rho", rho_star, COST / COUPLING),
        equal("saddle in theta", theta_star, DECAY * COST / COUPLING**2),
        *(equal("equilibrium", f.subs(at_saddle), 0) for f in LINEAR.field),
        negative("determinant", LINEAR.jacobian.det(), -RATE * COUPLING**2),
        equal("stable eigenvalue", rational(stable - (-DECAY - root) / 2), 0),
        equal("unstable eigenvalue", rational(unstable - (-DECAY + root) / 2), 0),
        positive("mu is the unstable eigenvalue", rational(unstable), MU),
        scope=ALL_DECAYING,
    )


@claim(
    "linear-margin",
    "with a = λ/η and ρ* = κ/η the scaled margin equals φ = (θ − θ*) − s(ρ − ρ*), whose slope s < 0 is that of "
    "the stable eigenvector",
    "symbolic",
)
def margin() -> Outcome:
    """Prove the statement: both sides as rational functions; (J − μ₋)(1, s) = 0 for the derived Jacobian."""
    rho_star, theta_star = saddle()
    slope = rational(separatrix_slope())
    jacobian = LINEAR.jacobian.applyfunc(rational)
    residual = (jacobian + (MU + DECAY0) * sp.eye(2)) * sp.Matrix([1, slope])
    return prove(
        equal("margin", phi(), THETA - theta_star - slope * (RHO - rho_star)),
        negative("slope", slope, -MU / COUPLING),
        *(equal("stable eigenvector", entry, 0) for entry in residual),
        scope=ALL,
    )


def growth_steps(margin: sp.Expr) -> list[Step]:
    """Return the steps of the proof: φ' = μφ off the faces; ≤ on θ = 1; ≤ 0 on θ = 0 where θ is stopped. `margin` is in
    (λ, η, κ, μ).
    """
    rho_dot, theta_dot = field()
    rho_star, _ = saddle()
    rate_eta = MU * (MU + DECAY0) / COUPLING  # rη
    stopped = along_flow(margin, (rho_dot, sp.Integer(0)))
    above = {RHO: rho_star + GAP}  # on θ = 1 the projection acts where ρ > ρ*
    below = {RHO: rho_star - GAP, THETA: 0}  # on θ = 0 where ρ < ρ*
    return [
        equal("growth inside", along_flow(margin, (rho_dot, theta_dot)), MU * margin),
        negative("theta = 1, stopped", (stopped - MU * margin).subs(above), -rate_eta * GAP),
        negative("theta = 0 is stopped below the saddle", theta_dot.subs(below), -rate_eta * GAP),
        nonpositive("theta = 0, stopped", stopped.subs(THETA, 0), -MU / COUPLING * DECAY0 * RHO),
    ]


@claim(
    "linear-growth",
    "φ' = μ₊φ while θ is free; φ' = μ₊φ − rη(ρ − ρ*) < μ₊φ on θ = 1 where the projection stops θ (ρ > ρ*); "
    "φ' = sλρ ≤ 0 on θ = 0 where it stops θ (ρ < ρ*)",
    "symbolic",
)
def growth() -> Outcome:
    """Prove the statement: the derivative of φ along the field, with θ' = 0 where the projection acts."""
    return prove(*growth_steps(phi()), scope=ALL)


@claim(
    "linear-attraction",
    "a state with φ < 0 reaches θ = 0 with ρ ≤ ρ* within time ln(rκ/(μ₊|φ|))/μ₊ and stays there, ρ decaying as e^(−λt)",
    "symbolic",
)
def attraction() -> Outcome:
    """Prove the statement: by `linear-growth`, φ ≤ φ₀e^{μt} until the face is reached; but φ ≥ φ(0, 0) = −rκ/μ on the
    quadrant.

    θ arrives at 0 with θ' ≤ 0, so ρ ≤ ρ*; there θ' ≤ 0 and ρ' = −λρ ≤ 0, so that both stay true for ever. (On the
    face with ρ > ρ* the field points inwards, so no state waits there.)
    """
    rho_dot, _ = field()
    base = phi().subs({RHO: 0, THETA: 0})
    return prove(
        negative("lowest margin", base, -rational(RATE) * COST / MU),
        nonnegative("no margin is lower", phi() - base, THETA + MU / COUPLING * RHO),
        nonpositive("rho on the face", rho_dot.subs(THETA, 0), -DECAY0 * RHO),
        scope=ALL,
    )


@claim(
    "linear-box",
    "the box ρ < ρ*, θ < θ* lies inside φ < 0; states (ρ ≥ ρ*, θ = 0) with φ < 0 lie outside it; in the quadrant "
    "the half-plane's area is (λ+μ)²/(2λμ) ≥ 2 times the box's",
    "symbolic",
)
def box(margin: sp.Expr | None = None) -> Outcome:
    """Prove the statement: φ at (ρ* − x, θ* − y); φ halfway from ρ* to the intercept of φ = 0 on θ = 0; areas by the
    intercepts.
    """
    phi_here = phi(DECAY) if margin is None else margin
    rho_star, theta_star = saddle(DECAY)
    other = sp.Symbol("other", positive=True)
    on_rho = rho_star + theta_star * COUPLING / MU
    on_theta = theta_star + rho_star * MU / COUPLING
    ratio = on_rho * on_theta / 2 / (rho_star * theta_star)
    return prove(
        negative(
            "in the box",
            phi_here.subs({RHO: rho_star - GAP, THETA: theta_star - other}),
            -other - MU / COUPLING * GAP,
        ),
        negative("outside the box", phi_here.subs({RHO: (rho_star + on_rho) / 2, THETA: 0}), -theta_star / 2),
        equal("intercept on theta = 0", phi_here.subs({RHO: on_rho, THETA: 0}), 0),
        equal("intercept on rho = 0", phi_here.subs({RHO: 0, THETA: on_theta}), 0),
        nonnegative("area ratio", ratio - 2, (DECAY - MU) ** 2 / (2 * DECAY * MU)),
        scope=ALL_DECAYING,
    )


def inward_check(margin: sp.Expr) -> Outcome:
    """Check that {margin < 0} is invariant, with a boundary that the flow never crosses. `margin` as `scaled_margin`.

    Proved by `growth_steps`. Where these fail, the boundary itself is scanned for a state, in the units
    λ = η = κ = 1 and r = 2 (ρ* = θ* = 1), at which the flow crosses it outwards or inwards: at such a state the
    line is no separatrix.
    """
    symbolic = prove(*growth_steps(rational(unscaled(margin))), *entry_steps(rational(unscaled(margin))), scope=ALL)
    if symbolic.status is Status.PROVED:
        return symbolic
    units = {DECAY: 1, COUPLING: 1, COST: 1, RATE: 2}
    here = unscaled(margin).subs(units)
    crossing = along_flow(here, tuple(f.subs(units) for f in LINEAR.field))
    on_line = crossing.subs(THETA, THETA - here)  # the margin is θ plus a function of ρ
    strip = {"rho": Axis(0.125, 1.25, log=False)}
    for sign, way in ((-1, "outwards"), (1, "inwards")):
        found = prove_positive(balls(sign * on_line), strip, budget=2_000, note=f"crossed {way}?")
        if found.status is Status.REFUTED:
            return found
    return symbolic


def entry_steps(margin: sp.Expr) -> list[Step]:
    """Return the steps of the proof: the other faces: on ρ = 0 the field points inwards; and the true gate is never
    faster than the bound.

    For any D that the constants bound, ρ' ≤ ηθ − λρ and θ' ≤ r(ηρ − κ); φ rises in both coordinates, so its
    derivative along the true gate is at most the one along the bounding system, on every face too.
    """
    rho_dot, _ = field()
    return [
        nonnegative("rho = 0", rho_dot.subs(RHO, 0), COUPLING * THETA),
        positive("phi rises in rho", sp.diff(margin, RHO), MU / COUPLING),
        positive("phi rises in theta", sp.diff(margin, THETA), sp.Integer(1)),
    ]


@claim(
    "linear-inward",
    "for every D that the constants bound, the flow never crosses φ = 0 outwards and points strictly inwards on "
    "every level φ = −δ, faces included",
    "symbolic",
)
def inward() -> Outcome:
    """Prove the statement: on φ = −δ inside, φ' ≤ μφ = −μδ; on the faces φ' ≤ μφ or ≤ 0 (`linear-growth`); θ, ρ ≥ 0 by
    the field.
    """
    return inward_check(scaled_margin())


@claim(
    "linear-inward-balls",
    "on every level φ = −δ, 0 < δ ≤ rκ/μ, the bounding flow points strictly inwards (compiled functions, free θ)",
    "branch and bound",
)
def inward_balls(compiled: Compiled = compiled_margin) -> Outcome:
    """Prove the statement: `linear-inward` again, without the substitution for r, on the functions that are compiled.

    In the units ρ/ρ*, θ/θ*, λt every gate has λ = η = κ = 1 and the rate G = rη²/λ² (checked first), so three
    variables are left: G, ρ, and δ. Along the flow φ' is linear in φ and vanishes with it (checked next), so that
    φ'/φ is the same on all levels, down to the separatrix; it is scanned on the deepest one, δ = rκ/μ.
    """
    reduction = prove(*_unit_steps(), equal("φ' vanishes with φ", along_flow(phi(), field()), MU * phi()))
    if reduction.status is not Status.PROVED:
        return reduction
    differs = compiled_differs(compiled, scaled_margin())
    if differs is not None:
        return differs
    flint = require_flint()
    one = {name: flint.arb(1) for name in (DECAY.name, COUPLING.name, COST.name, RATIO.name, SADDLE_RHO.name)}

    def growth(values: Mapping[str, Ball]) -> Ball:
        known = {**one, RATE.name: values["rate"], THETA.name: flint.arb(0)}
        low, high = (compiled_on_balls(compiled, {**known, RHO.name: flint.arb(n)})[0] for n in (0, 1))
        depth, slope = -low, high - low  # φ is linear
        rho = values["x"] * depth / slope  # x = 1: the intercept of φ = 0 on θ = 0
        at = {**known, RHO.name: rho, THETA.name: -slope * rho}  # where φ = −depth
        rho_dot, theta_dot = compiled_on_balls(compiled_field(LINEAR), at)
        return -(slope * rho_dot + theta_dot) / depth

    note = "rate in units λ = η = κ = 1 (G = rη²/λ²); x = ρ over its intercept; all levels 0 < δ ≤ rκ/μ"
    wide = prove_positive(growth, {"rate": Axis(1e-4, 1e4), "x": Axis(0.0, 0.0, log=False)}, note=note)
    flat = prove_positive(growth, {"rate": Axis(0.25, 100.0), "x": Axis(0.0, 1.0, log=False)}, note=note)
    return joined(wide, flat)


def _unit_steps() -> list[Step]:
    """Return the steps of the proof: rescaling ρ = ρ*·x, θ = θ*·y, t = τ/λ turns every linear gate into the one with λ
    = η = κ = 1.
    """
    rho_star, theta_star = LINEAR.saddle
    scaling = {RHO: rho_star * RHO, THETA: theta_star * THETA}
    unit = {DECAY: 1, COUPLING: 1, COST: 1, RATE: RATE * COUPLING**2 / DECAY**2}
    sizes = (rho_star, theta_star)
    return [
        equal("rescaled field", f.subs(scaling, simultaneous=True) / size / DECAY, f.subs(unit, simultaneous=True))
        for f, size in zip(LINEAR.field, sizes, strict=True)
    ]


@claim(
    "linear-monotone",
    "the certified region shrinks as η grows and grows with κ, also through θ* = 1: bounds on them suffice",
    "symbolic",
)
def monotone(margin: sp.Expr | None = None) -> Outcome:
    """Prove the statement: in μ: η drops out of φ = θ + ρ√(rμ/(μ+λ)) − rκ/μ, and μ rises with η, since dμ/dη = 2rη/(2μ
    + λ).

    Where θ* > 1 everything is certified: θ* = λκ/η² falls in η and rises with κ, so that this case, too, is only
    ever lost as η grows and gained as κ grows.
    """
    x = sp.Symbol("x", positive=True)  # √r as a symbol, and κ = r-free: φ with η² = μ(μ + λ)/r
    eta = sp.sqrt(MU * (MU + DECAY0)) / x
    in_mu = (phi() if margin is None else margin).subs(COUPLING, eta)
    by_mu = x * RHO * DECAY0 / (2 * sp.sqrt(MU) * (MU + DECAY0) ** sp.Rational(3, 2)) + x**2 * COST / MU**2
    unstable = (-DECAY0 + sp.sqrt(DECAY0**2 + 4 * x**2 * COUPLING**2)) / 2
    return prove(
        equal("eta drops out", in_mu, THETA + RHO * x * sp.sqrt(MU / (MU + DECAY0)) - x**2 * COST / MU),
        positive("phi rises with mu", sp.diff(in_mu, MU), by_mu),
        positive(
            "mu rises with eta",
            sp.diff(unstable, COUPLING),
            2 * x**2 * COUPLING / sp.sqrt(DECAY0**2 + 4 * x**2 * COUPLING**2),
        ),
        negative("phi falls with kappa", sp.diff(in_mu, COST), -(x**2) / MU),
        nonpositive("theta* falls with eta", sp.diff(saddle()[1], COUPLING), -2 * DECAY0 * COST / COUPLING**3),
        nonnegative("theta* rises with kappa", sp.diff(saddle()[1], COST), DECAY0 / COUPLING**2),
        scope=ALL,
    )


def monotone_margins(margin: sp.Expr) -> dict[str, sp.Expr]:
    """Return what must be positive: the coefficients of η·∂φ/∂η = A·ρ* + B·ρ, and C in −κ·∂φ/∂κ = C·ρ*, for a and r.

    By the chain rule η·∂φ/∂η = −a·∂φ/∂a − ρ*·∂φ/∂ρ* and κ·∂φ/∂κ = ρ*·∂φ/∂ρ*, a and ρ* being λ/η and κ/η.

    Raises:
        ValueError: if they are not of this form: the coefficients would then prove something else.
    """
    by_cost = -sp.diff(margin, SADDLE_RHO)
    by_eta = sp.expand(-RATIO * sp.diff(margin, RATIO) + SADDLE_RHO * by_cost)
    A, B = sp.diff(by_eta, SADDLE_RHO), sp.diff(by_eta, RHO)
    allowed = {RATIO, RATE}
    if sp.expand(by_eta - A * SADDLE_RHO - B * RHO) != 0 or not (
        A.free_symbols | B.free_symbols | by_cost.free_symbols <= allowed
    ):
        raise ValueError(f"not of the form A·rho* + B·rho: {by_eta}")
    return {"A": A, "B": B, "C": by_cost}


@claim(
    "linear-monotone-balls",
    "∂φ/∂η > 0 and ∂φ/∂κ < 0 at every state, for every κ > 0 (compiled expression)",
    "branch and bound",
)
def monotone_balls() -> Outcome:
    """Prove the statement: `linear-monotone` again, by ball arithmetic on derivatives of the compiled margin: one scan
    for each.
    """
    return monotone_check(scaled_margin())


def monotone_check(margin: sp.Expr) -> Outcome:
    """Check that `margin`, in the symbols of `scaled_margin`, rises with η and falls with κ."""
    wanted = monotone_margins(margin)
    box = {"ratio": Axis(1e-7, 1e2), "rate": Axis(1e-4, 1e4)}
    return all_positive(wanted, box, note="ratio = λ/η; ρ ≥ 0 and κ > 0 arbitrary (they enter linearly)")


@claim(
    "linear-headroom",
    "for every state but (0, 0) the m with a certificate at coupling mη are an interval (0, h), 0 < h < ∞; at "
    "(0, 0) every m certifies",
    "symbolic",
)
def headroom() -> Outcome:
    """Prove the statement: φ rises continuously in μ from −∞ (μ → 0) to θ + ρ√r ≥ 0 (μ → ∞), and μ in m from 0 to ∞.

    So φ < 0 holds exactly on an interval (0, h₁), bounded unless θ = ρ = 0, where φ = −rκ/μ < 0 for all m. Where
    θ* > 1, i.e. m < √(λκ)/η, everything is certified: the union is (0, max(h₁, √(λκ)/η)).
    """
    x = sp.Symbol("x", positive=True)
    in_mu = phi(DECAY).subs(COUPLING, sp.sqrt(MU * (MU + DECAY)) / x)
    undamped = phi(sp.Integer(0)).subs(COUPLING, MU / x)
    share, rest = sp.symbols("part rest", positive=True)
    unstable = rational(LINEAR.eigenvalues[1])
    # √(μ/(μ+λ)) < 1, so that φ < θ + ρ√r − rκ/μ at finite μ: an upper bound that tends to −∞ as μ → 0.
    crossing = unscaled(LINEAR.saddle[1]).subs(COUPLING, share * COUPLING)
    return prove(
        equal("mu → ∞", sp.limit(in_mu, MU, sp.oo), THETA + x * RHO),
        equal("mu → ∞, no decay", sp.limit(undamped, MU, sp.oo), THETA + x * RHO),
        equal("mu → 0", sp.limit(in_mu, MU, 0, "+"), -sp.oo),
        equal("mu → 0, no decay", sp.limit(undamped, MU, 0, "+"), -sp.oo),
        positive("mu", unstable, MU),
        negative("at rest", in_mu.subs({RHO: 0, THETA: 0}), -(x**2) * COST / MU),
        positive(
            "theta* > 1 below the switch",
            crossing.subs(share, sp.sqrt(DECAY * COST) / COUPLING / (1 + rest)) - 1,
            rest * (2 + rest),
        ),
        scope=ALL,
    )


@claim(
    "linear-sharp",
    "D = −η‖w‖ attains both bounds; where θ* ≤ 1, φ > 0 is invariant and no state in it goes to zero: no larger "
    "region can be certified",
    "symbolic",
)
def sharp(margin: sp.Expr | None = None) -> Outcome:
    """Prove the statement: everywhere on φ > 0 the projected flow has φ' ≥ −λφ, so that φ stays positive; but φ(0, 0) <
    0.

    Free θ: φ' = μφ. On θ = 0, φ > 0 forces ρ > ρ*, where θ' > 0: nothing is stopped. On θ = 1, stopped where
    ρ > ρ*: φ' = −λφ + (λ + μ)(1 − θ*) ≥ −λφ.
    """
    here = phi() if margin is None else margin
    rho_dot, theta_dot = field()
    rho_star, theta_star = saddle()
    room = sp.Symbol("room", nonnegative=True)  # 1 − θ*
    stopped = along_flow(here, (rho_dot, sp.Integer(0))).subs(THETA, 1)
    on_one = (stopped + DECAY0 * here.subs(THETA, 1)).subs(COST, (1 - room) * COUPLING**2 / DECAY)
    on_one = on_one.subs(DECAY0, DECAY)
    undamped = stopped.subs(DECAY0, 0)
    # On θ = 0 with φ = gap > 0: ρ = ρ* + (θ* + gap)·η/μ.
    on_zero = theta_dot.subs(RHO, rho_star + (theta_star + GAP) * COUPLING / MU)
    w = sp.symbols("w_1:4", positive=True)  # three components stand for any number: only ‖w‖² = Σw² is used
    norm = sp.sqrt(sum(x**2 for x in w))
    return prove(
        equal("⟨∇D, w⟩ = −η‖w‖", sum(x * sp.diff(-COUPLING * norm, x) for x in w), -COUPLING * norm),
        equal("growth inside", along_flow(here, (rho_dot, theta_dot)), MU * here),
        equal("height on theta = 0", here.subs({THETA: 0, RHO: rho_star + (theta_star + GAP) * COUPLING / MU}), GAP),
        positive("theta' on theta = 0", on_zero, (MU + DECAY0) * (theta_star + GAP)),
        nonnegative("theta = 1, stopped", on_one, (DECAY + MU) * room),
        positive("theta = 1, stopped, no decay", undamped, MU),
        negative("zero lies outside", here.subs({RHO: 0, THETA: 0}), -rational(RATE) * COST / MU),
        scope=f"{ALL}, θ* ≤ 1",
    )


@claim("linear-above-strip", "where θ* > 1 every state of the strip goes to zero", "symbolic")
def above_strip() -> Outcome:
    """Prove the statement: ρ' ≤ η − λρ, so ρ falls below any number above η/λ; and η/λ < ρ*. From then on θ' ≤ −rηδ
    until θ = 0.

    θ* > 1 makes λ > 0. On θ = 0 with ρ < ρ* the gate stays and ρ decays, as in `linear-attraction`. The bounds
    hold for every D that the constants bound.
    """
    rho_dot, theta_dot = field(DECAY)
    rho_star, theta_star = saddle(DECAY)
    ceiling = COUPLING / DECAY
    below_one = sp.Symbol("below_one", nonnegative=True)  # 1 − θ
    cost_above = (1 + GAP) * COUPLING**2 / DECAY  # θ* = 1 + gap
    halfway = (ceiling + rho_star) / 2
    return prove(
        equal("theta* = 1 + gap", theta_star.subs(COST, cost_above), 1 + GAP),
        nonnegative("rho' ≤ η − λρ", COUPLING - DECAY * RHO - rho_dot.subs(THETA, 1 - below_one), COUPLING * below_one),
        positive("η/λ < ρ*", (rho_star - ceiling).subs(COST, cost_above), COUPLING / DECAY * GAP),
        negative(
            "theta' halfway",
            theta_dot.subs(RHO, halfway).subs(COST, cost_above),
            -MU * (MU + DECAY) * GAP / (2 * DECAY),
        ),
        scope=ALL_DECAYING,
    )


@claim(
    "linear-comparison",
    "the bounding system is cooperative: ∂ρ'/∂θ = η ≥ 0 and ∂θ'/∂ρ = rη ≥ 0, so solutions stay ordered",
    "symbolic",
)
def comparison() -> Outcome:
    """Prove the statement: Kamke's condition is a sign of the Jacobian's off-diagonal entries.

    The projection keeps it: on a face θ' becomes max(θ', 0) or min(θ', 0), both monotone in θ'.
    """
    return prove(
        positive("∂ρ'/∂θ", LINEAR.jacobian[0, 1], COUPLING),
        positive("∂θ'/∂ρ", LINEAR.jacobian[1, 0], RATE * COUPLING),
        scope=ALL_DECAYING,
    )


CLAIMS: tuple[Claim, ...] = (
    derivation,
    margin,
    growth,
    attraction,
    box,
    inward,
    inward_balls,
    monotone,
    monotone_balls,
    headroom,
    sharp,
    above_strip,
    comparison,
)
