"""Claims about the gate trained by steps with momentum; the theorem and its proof stand in `dynamics.gates.heavy_ball`.

h is eliminated by the equation of the growth: h = (δ²(a − m)/(al) + λδ)/η², a = 1 + δ, so that all identities are
identities of rational functions of δ, m, l, λ, η. m = M/(1 + M) with M ≥ 0 keeps 0 ≤ m < 1 visible in signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from dynamics.claims.linear import DECAY0, MU
from dynamics.claims.linear import phi as half_plane
from dynamics.gates.heavy_ball import (
    GATE_LR,
    GROWTH,
    LR,
    MOMENTUM,
    PULL,
    SADDLE_RHO,
    SIGMA_RHO,
    SIGMA_THETA,
    VELOCITY,
    HeavyBallGate,
    coefficients,
    escape_deviations,
    linear_form,
    linear_step,
)
from dynamics.gates.linear import RHO, LinearGate
from dynamics.gates.ode import COST, COUPLING, DECAY, THETA
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted
from dynamics.proofs.steps import Step, equal, negative, nonnegative, nonpositive, positive, prove

__all__ = [
    "CLAIMS",
    "Fates",
    "basin_check",
    "clip_check",
    "fates",
    "growth_check",
    "monotone_check",
    "noise_check",
    "states",
]

Floats = NDArray[np.float64]
ALL = "all λ ≥ 0, η, κ, l, h > 0, 0 ≤ m < 1"
LOAD = sp.Symbol("M", nonnegative=True)  # m/(1 − m)


def growth_equation() -> sp.Expr:
    """Return h as the equation of the growth gives it."""
    a = 1 + GROWTH
    return (GROWTH**2 * (a - MOMENTUM) / (a * LR) + DECAY0 * GROWTH) / COUPLING**2


_gate_lr = sp.lambdify([GROWTH, DECAY0, COUPLING, LR, MOMENTUM], growth_equation(), "numpy")


def settled(expression: sp.Expr) -> sp.Expr:
    """Return an expression in δ, M, l, λ, η, κ: C, ρ*, h and m put in."""
    shown = expression.subs({PULL: GROWTH / COUPLING, SADDLE_RHO: COST / COUPLING, DECAY: DECAY0})
    return shown.subs(GATE_LR, growth_equation()).subs(MOMENTUM, LOAD / (1 + LOAD))


def stepped(form: sp.Expr) -> sp.Expr:
    """Return a function of (ρ, v, θ) at the next step, not clipped."""
    return form.subs(dict(zip((RHO, VELOCITY, THETA), linear_step(), strict=True)), simultaneous=True)


def clipped(form: sp.Expr) -> sp.Expr:
    """Return a function of (ρ, v, θ) at the next step, where that is clipped at θ = 0."""
    moved, buffer, _ = linear_step()
    return form.subs({RHO: moved, VELOCITY: buffer, THETA: 0}, simultaneous=True)


def growth_check(form: sp.Expr) -> Outcome:
    """Check that a step multiplies `form`, in the symbols of `linear_form`, by a, with positive coefficients."""
    saddle = {RHO: COST / COUPLING, VELOCITY: 0, THETA: DECAY0 * COST / COUPLING**2}
    weight, buffer, gate_lr = (sp.factor(settled(part)) for part in (*coefficients()[:2], GATE_LR))
    flow = sp.limit(settled(form).subs(LOAD, 0).subs(GROWTH, LR * MU), LR, 0)
    return prove(
        equal("ψ⁺ = aψ", settled(stepped(form)), settled((1 + GROWTH) * form)),
        equal("zero at the saddle", settled(form).subs(saddle), 0),
        positive("A", settled(sp.diff(form, RHO)), weight),
        nonnegative("B", settled(sp.diff(form, VELOCITY)), buffer),
        equal("θ counts once", sp.diff(form, THETA), 1),
        positive("h, as δ gives it", settled(GATE_LR), gate_lr),
        equal("m = 0, l → 0", flow, half_plane(DECAY0)),
        scope=ALL,
    )


@claim(
    "heavy-growth",
    "a step with momentum multiplies ψ = θ − θ* + A(ρ − ρ*) + Bv by a, A > 0, B ≥ 0, for any step size; where the step "
    "is only bounded by it from above and θ⁺ is not clipped at 0, ψ⁺ ≤ aψ; m = 0 and l → 0 give the half-plane",
    "symbolic",
)
def growth() -> Outcome:
    """Prove the statement: the left eigenvector by substitution; inequalities keep their sense, as A, B, 1 are ≥ 0."""
    return growth_check(linear_form())


def order_steps() -> list[Step]:
    """Return the steps of the proof: the coefficients of ρ⁺ and u⁺ with u = v + qρ, where √m + √(λl) ≤ 1.

    √m = x/(1 + x) and √(λl) = y/((1 + x)(1 + y)) are all pairs of numbers that √m < 1 and the condition allow.
    """
    x, y = sp.symbols("x y", positive=True)
    share, swing = x / (1 + x), y / ((1 + x) * (1 + y))
    q = (1 - MOMENTUM - DECAY0 * LR) / (2 * MOMENTUM * LR)
    momentum, velocity = sp.Symbol("u"), sp.Symbol("u") - q * RHO
    moved, buffer, _ = (f.subs({VELOCITY: velocity, DECAY: DECAY0}) for f in linear_step())
    ordered = {"rho": moved, "u": buffer + q * moved}
    found = []
    for name, form in ordered.items():
        for symbol in (RHO, momentum, THETA):
            part = sp.diff(sp.expand(form), symbol).subs(DECAY0, swing**2 / LR).subs(MOMENTUM, share**2)
            found.append(nonnegative(f"∂{name}⁺/∂{symbol}", part, sp.factor(part)))
    left = (coefficients()[0] - q * coefficients()[1]).subs(DECAY0, swing**2 / LR).subs(MOMENTUM, share**2)
    found.append(positive("A − Bq", left, sp.factor(left)))
    return found


@claim(
    "heavy-order",
    "where √m + √(λl) ≤ 1 the step keeps the order of the states (ρ, v + qρ, θ), q = (1 − m − λl)/(2ml), and "
    "A − Bq > 0: momentum is no obstacle to comparison in these coordinates",
    "symbolic",
)
def order() -> Outcome:
    """Prove the statement: every coefficient is nonnegative; clipping keeps order, too."""
    return prove(*order_steps(), scope="0 < m < 1, λ ≥ 0, η, l, h > 0")


def clip_check(carried: sp.Expr) -> Outcome:
    """Check what a clipped step does to ψ and to Φ = ψ + bv, b being `carried`, where δ² ≤ 1 − m."""
    psi, slack = linear_form(), sp.Symbol("slack", nonnegative=True)
    buffer = coefficients()[1]
    whole = psi + carried * VELOCITY
    condition = (1 - MOMENTUM - GROWTH**2) / ((1 + GROWTH) * (1 - MOMENTUM))
    lost = (PULL + carried) * DECAY * RHO
    position = RHO + LR * MOMENTUM / (1 - MOMENTUM) * VELOCITY
    above = {GROWTH: sp.sqrt(slack), MOMENTUM: LOAD / (1 + LOAD)}
    coast = (clipped(position) - position).subs(THETA, 0)
    return prove(
        equal("Φ⁺ − Φ", settled(clipped(whole) - whole), settled(-condition * THETA - lost)),
        equal("ψ⁺ − ψ", settled(clipped(psi) - psi), settled(buffer * GROWTH * VELOCITY - (1 - GROWTH) * THETA)
              - settled(PULL * DECAY * RHO)),
        nonnegative("Φ loses", settled(lost), sp.factor(settled(lost))),
        equal("the condition", (condition * (1 + GROWTH) * (1 - MOMENTUM)).subs(above), 1 - LOAD / (1 + LOAD) - slack),
        nonnegative("b ≥ Bδ", settled(carried - buffer * GROWTH), sp.factor(settled(carried - buffer * GROWTH))),
        equal("Φ is ψ with ρ carried on", settled(whole), settled(psi.subs(
            {RHO: position, VELOCITY: 0}, simultaneous=True))),
        nonpositive("R on the face", settled(coast), -LR * DECAY0 * RHO * (1 + LOAD)),
        scope=f"{ALL}, δ² ≤ 1 − m, ρ ≥ 0",
    )  # fmt: skip


@claim(
    "heavy-clip",
    "where ρ ≥ 0 and δ² ≤ 1 − m a step clipped at θ = 0 does not raise Φ = ψ + bv, b = Bδ/(1 − m), leaves "
    "ψ⁺ ≤ max(ψ, Φ), and Φ = θ − θ* + A(R − ρ*) with R = ρ + lmv/(1 − m), which does not rise on the face",
    "symbolic",
)
def clip() -> Outcome:
    """Prove the statement: Φ⁺ − Φ = −(1 − m − δ²)θ/(a(1 − m)) − (C + b)λρ; ψ⁺ − ψ = Bδv − (1 − δ)θ − Cλρ.

    δ ≤ 1. For v ≤ 0 therefore ψ⁺ ≤ ψ, and for v > 0, ψ⁺ ≤ ψ + Bδv ≤ Φ, as b ≥ Bδ.
    """
    return clip_check(coefficients()[2])


@claim(
    "heavy-spectrum",
    "the other two eigenvalues of the step have the product m/a and the sum 2 + m − λl − a: both are positive where "
    "a + λl + 2√(m/a) ≤ 2 + m, which implies √m + √(λl) ≤ 1 and δ² ≤ 1 − m",
    "symbolic",
)
def spectrum() -> Outcome:
    """Prove the statement: the characteristic polynomial is divided by z − a; then, with s = √a, M = √m:

    2√(m/a) ≥ 2M − Mδ, for 2(1 − 1/s) ≤ s² − 1; so the condition gives (1 − M)δ + λl ≤ (1 − M)², hence both λl ≤
    (1 − M)² and δ ≤ 1 − M, and (1 − M)² ≤ 1 − M².
    """
    z, over = sp.Symbol("z"), sp.Symbol("over", positive=True)
    matrix = sp.Matrix(linear_step()).jacobian([RHO, VELOCITY, THETA])
    a, root, m_root = 1 + GROWTH, 1 + over, LOAD / (1 + LOAD)
    rest = z**2 - (2 + MOMENTUM - DECAY * LR - a) * z + MOMENTUM / a
    chord = 2 / root - 2 + root**2 - 1
    return prove(
        equal("division", settled((sp.eye(3) * z - matrix).det()), settled((z - a) * rest)),
        positive("2(1 − 1/s) < s² − 1", chord, sp.factor(chord)),
        nonnegative("(1 − M)² ≤ 1 − M²", 1 - m_root**2 - (1 - m_root) ** 2, 2 * LOAD / (1 + LOAD) ** 2),
        scope=ALL,
    )


def monotone_check(carried: sp.Expr) -> Outcome:
    """Check that A, b and the rest of the margin rise with δ, as δ does with η, h given; b is `carried`.

    k = (a − m)/(al) and k' stand as symbols: hη² = λδ + kδ², hence A² = hk²δ/(λ + kδ), A/η = hk/(λ + kδ), and b² is
    h(m/(1 − m))² times δ³/(a²(λ + kδ)).
    """
    k, rise = sp.Symbol("k", positive=True), sp.Symbol("rise", positive=True)
    a, decay, m = 1 + GROWTH, DECAY0, LOAD / (1 + LOAD)
    weight, buffer, _ = coefficients()
    ratio = ((a - MOMENTUM) / (a * LR)).subs(MOMENTUM, m)
    eta2 = decay * GROWTH + k * GROWTH**2  # times h

    def slope(form: sp.Expr) -> sp.Expr:
        return sp.diff(form, GROWTH) + sp.diff(form, k) * rise

    share = GROWTH**3 / (a**2 * (decay + k * GROWTH))
    put = {k: ratio, rise: sp.diff(ratio, GROWTH)}
    rest = 1 / (1 + LOAD)  # 1 − m
    lengths = a**2 * decay + GROWTH * a * (GROWTH + rest) / LR
    gain = decay * a * (3 + GROWTH) + GROWTH / LR * (2 * a * rest + GROWTH * m)
    top = 2 * k * rise * GROWTH * decay + k**2 * decay + k**2 * rise * GROWTH**2
    x, y, s = sp.symbols("x y s", positive=True)
    root, swing = x / (1 + x), y / ((1 + x) * (1 + y))  # √m and √(λl), with sum below 1
    above = (1 - root**2 + GROWTH) ** 2 - swing**2 * root**2
    return prove(
        equal("η² as δ gives it", settled((eta2 / GATE_LR).subs(k, ratio)), COUPLING**2),
        nonnegative("k rises", sp.diff(ratio, GROWTH), LOAD / ((1 + LOAD) * a**2 * LR)),
        positive("η² rises", slope(eta2), decay + 2 * k * GROWTH + rise * GROWTH**2),
        equal("A²", settled(weight**2), settled((GATE_LR * k**2 * GROWTH / (decay + k * GROWTH)).subs(k, ratio))),
        nonnegative("A² rises", slope(k**2 * GROWTH / (decay + k * GROWTH)), top / (decay + k * GROWTH) ** 2),
        equal("b²", settled(carried**2), settled((GATE_LR * LOAD**2 * share).subs(k, ratio))),
        positive("b² rises", slope(share).subs(put), GROWTH**2 * gain / lengths**2),
        equal("B + b = A·lm/(1 − m)", settled(buffer + carried), settled(weight * LR * MOMENTUM / (1 - MOMENTUM))),
        equal("κh/δ − θ* = κA/η", settled(SADDLE_RHO * GATE_LR / PULL - DECAY * COST / COUPLING**2),
              settled(COST / COUPLING * weight)),
        equal("λ/k + δ rises by 1 − λlm/(a − m)²", slope(decay / k + GROWTH).subs(put),
              1 - decay * LR * m / (a - m) ** 2),
        equal("B² without decay", settled(buffer**2).subs(decay, 0),
              settled(GATE_LR * MOMENTUM**2 * LR / (a * (a - MOMENTUM))).subs(decay, 0)),
        negative("and it falls", sp.diff(1 / (a * (GROWTH + rest)), GROWTH),
                 -(a + GROWTH + rest) / (a * (GROWTH + rest)) ** 2),
        positive("λlm < (a − m)²", above, sp.factor(above)),
        positive("a + 2√(m/a) rises with √a", sp.diff((1 + s) ** 2 + 2 * root / (1 + s), s),
                 2 * (s**3 + 3 * s**2 + 3 * s + 1 / (1 + x)) / (1 + s) ** 2),
        scope=ALL,
    )  # fmt: skip


@claim(
    "heavy-monotone",
    "the certified region of `HeavyBallGate` shrinks as η grows and grows with κ, for v ≥ 0: bounds on them suffice; "
    "ψ < 0 alone does not, since B may fall as η grows",
    "symbolic",
)
def monotone() -> Outcome:
    """Prove the statement: η² rises with δ, and with δ rise A and b; κh/δ falls.

    ψ + b·max(v, V) = θ + Aρ + (B + b)v + b·max(0, V − v) − κh/δ, V = η/(1 − m), and B + b = A·lm/(1 − m) rises with A.
    With e = θ* the last term becomes −κA/η, and A/η falls. Both conditions are lost as δ grows, and a + 2√(m/a) rises
    with a: the jump by e is upwards. θ* > 1, which certifies all, is lost as η grows and gained as κ grows.
    """
    return monotone_check(coefficients()[2])


def noise_check(deviations: tuple[sp.Expr, sp.Expr]) -> Outcome:
    """Check the bound's exponents, as z/|ψ| for noises that may depend on one another and for independent ones."""
    noise_v, noise_theta = sp.symbols("noise_v noise_theta", real=True)
    moved, buffer, gate = linear_step()
    noisy = {RHO: moved + LR * noise_v, VELOCITY: buffer + noise_v, THETA: gate + GATE_LR * noise_theta}
    felt = linear_form().subs(noisy, simultaneous=True) - stepped(linear_form())
    c, depth, scale = sp.symbols("c depth scale", positive=True)
    a = 1 + GROWTH
    exponent = c * depth - c**2 * scale**2 / (2 * (a**2 - 1))  # Σ_{k ≥ 1} a^{−2k} = 1/(a² − 1)
    best = depth * (a**2 - 1) / scale**2
    scales = GATE_LR * SIGMA_THETA + PULL * SIGMA_RHO, sp.sqrt((GATE_LR * SIGMA_THETA) ** 2 + (PULL * SIGMA_RHO) ** 2)
    return prove(
        equal("noise on ψ", felt, PULL * noise_v + GATE_LR * noise_theta),
        equal("the sum", a**-2 / (1 - a**-2), 1 / (a**2 - 1)),
        equal("the best c", sp.diff(exponent, c).subs(c, best), 0),
        equal("its exponent", exponent.subs(c, best), depth**2 * (a**2 - 1) / (2 * scale**2)),
        *(equal("z²", found**2, (a**2 - 1) / wanted**2) for found, wanted in zip(deviations, scales, strict=True)),
        scope=ALL,
    )


@claim(
    "heavy-noise",
    "noise of sub-Gaussian scales σ_ρ in the weights' gradient and σ_θ in the gate's carries ψ to 0 before θ is 0 "
    "with probability at most exp(−ψ²(a² − 1)/(2(hσ_θ + Cσ_ρ)²)); h²σ_θ² + C²σ_ρ² if they are independent",
    "symbolic",
)
def noise() -> Outcome:
    """Prove the statement as `noise-supermartingale` does: ψ_{k+1} ≤ aψ_k + hε_θ + Cε_v, since Al + B = C.

    M_k = ψ_k/a^k, and exp(c(M_k − ψ₀) − ½c²σ²Σ_{j≤k} a^{−2j}) is a supermartingale; Ville's inequality. A sum of two
    sub-Gaussian variables, whatever their dependence, is sub-Gaussian with the sum of the scales (Hölder).
    """
    return noise_check(escape_deviations())


@dataclass(frozen=True)
class States:
    """Gates with momentum, each with its state; arrays with one entry a gate."""

    gate: HeavyBallGate
    rho: Floats
    theta: Floats
    velocity: Floats


def states(sets: int, each: int, seed: int, kind: type[HeavyBallGate] = HeavyBallGate) -> States:
    """Return random states of random gates, half of them within a tenth of the plane ψ = 0.

    m in {0, .5, .9, .95}; δ over two decades, in units of 1 − √m, and to where the theorem's
    condition on it fails; √m + √(λl) ≤ 1; a fifth of the gates without decay, θ* of the others from .003 to 1.
    """
    rng = np.random.default_rng(seed)
    momentum = np.resize([0.0, 0.5, 0.9, 0.95], sets)
    slow = 1 - np.sqrt(momentum)
    lr, coupling = 10 ** rng.uniform(-2.5, -0.5, sets), 10 ** rng.uniform(-2, 0.5, sets)
    growth = slow * 10 ** rng.uniform(-1.5, 0.5, sets)
    decay = np.where(np.arange(sets) % 5 == 4, 0, slow**2 / lr * 10 ** rng.uniform(-3, 0, sets))
    gate_lr = _gate_lr(growth, decay, coupling, lr, momentum)
    theta_star = 10 ** rng.uniform(-2.5, 0, sets)
    depth = np.where(decay > 0, 0, rng.uniform(0.2, 2, sets))  # κh/δ without decay
    cost = np.where(decay > 0, theta_star * coupling**2 / np.where(decay > 0, decay, 1), depth * growth / gate_lr)
    rows = {"decay": decay, "coupling": coupling, "cost": cost, "lr": lr, "gate_lr": gate_lr, "momentum": momentum}
    gate = kind(**{name: np.repeat(row, each) for name, row in rows.items()})
    count = sets * each
    theta = rng.uniform(0, 1, count)
    ceiling = gate.parameters["coupling"] / (1 - gate.parameters["momentum"])
    velocity = ceiling * rng.choice([1.0, -0.1], count, p=[0.8, 0.2]) * rng.uniform(0, 1, count) ** 2
    foot = -gate.psi(np.zeros(count), theta, velocity)
    theta = np.where(foot > 0, theta, np.clip(theta + foot, 0, 1) * rng.uniform(0, 1, count))
    foot = -gate.psi(np.zeros(count), theta, velocity)
    slope = gate.psi(np.ones(count), theta, velocity) + foot
    share = np.where(np.arange(count) % 2 == 0, rng.uniform(0.9, 1.1, count), rng.uniform(0, 2, count))
    return States(gate, np.maximum(foot / slope, 0) * share, theta, velocity)


_step = sp.lambdify([RHO, VELOCITY, THETA, DECAY, COUPLING, COST, LR, GATE_LR, MOMENTUM], linear_step(), "numpy")


def fates(start: States, steps: int = 40_000) -> Floats:
    """Return what becomes of each: 0 dead, 1 alive, NaN not decided within `steps`.

    Dead: θ = 0, and the place to which a positive buffer would carry ρ₊ below ρ*. Alive: above the saddle in every
    coordinate. Both follow from the order of `heavy-order`. The step is compiled apart from the gate's.
    """
    found = np.full(len(start.rho), np.nan)
    rho_star, theta_star, _ = start.gate.saddle
    names = ("decay", "coupling", "cost", "lr", "gate_lr", "momentum")
    rows = np.array([start.rho, start.velocity, start.theta, *(start.gate.parameters[name] for name in names)])
    rows, index = np.vstack([rows, rho_star, theta_star]), np.arange(len(start.rho))
    for turn in range(steps):
        rows[0], rows[1], gate = _step(*rows[:9])
        rows[2] = np.clip(gate, 0, 1)
        if turn % 20:
            continue
        rho, velocity, theta, lr, m = (rows[at] for at in (0, 1, 2, 6, 8))
        carried = np.maximum(rho, 0) + lr * m / (1 - m) * np.maximum(velocity, 0)
        dead = (theta <= 0) & (carried < rows[9])
        alive = (rho > rows[9]) & (theta > rows[10]) & (velocity >= 0)
        found[index[dead]], found[index[alive]] = 0, 1
        rows, index = rows[:, ~(dead | alive)], index[~(dead | alive)]
        if not len(index):
            break
    return found


@dataclass(frozen=True)
class Fates:
    """How a region fared: counts of states."""

    decided: int
    lived: int
    certified_lived: int
    dying_certified: float
    half_plane_lived: int
    dying_half_plane: float


def fared(start: States) -> tuple[Fates, NDArray[np.bool_]]:
    """Return the counts for the shipped region and the ODE's half-plane, and which certified states did not die."""
    fate, p = fates(start), start.gate.parameters
    certified = start.gate.certified(start.rho, start.theta, start.velocity)
    constants = {name: p[name] for name in ("decay", "coupling", "cost")}
    plane = LinearGate(**constants, rate=p["gate_lr"] * (1 - p["momentum"]) / p["lr"])
    below = plane.certified(start.rho, start.theta)
    died, lived = fate == 0, fate == 1
    counts = Fates(
        int((died | lived).sum()), int(lived.sum()), int((certified & lived).sum()),
        float(certified[died].mean()), int((below & lived).sum()), float(below[died].mean()),
    )  # fmt: skip
    return counts, certified & ~died


def basin_check(start: States) -> Outcome:
    """Check that every certified state dies, by the bounding step itself."""
    counts, wrong = fared(start)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        constants = {name: float(value[at]) for name, value in start.gate.parameters.items()}
        state = {"rho": start.rho[at], "theta": start.theta[at], "velocity": start.velocity[at]}
        return refuted("a certified state does not die", {**constants, **{k: float(v) for k, v in state.items()}})
    scope = (
        f"random states, m in {{0, .5, .9, .95}}; {counts.lived} live; of the dying it certifies "
        f"{counts.dying_certified:.1%}; the ODE's half-plane {counts.dying_half_plane:.1%}, and "
        f"{counts.half_plane_lived} that live"
    )
    return held(scope, cases=counts.decided)


@claim(
    "heavy-basin",
    "every state that `HeavyBallGate` certifies ends at θ = 0 under the step with momentum",
    "simulation",
)
def basin() -> Outcome:
    """Test the statement on the bounding step, of which the theorem speaks."""
    return basin_check(states(84, 250, 51))


CLAIMS: tuple[Claim, ...] = (growth, order, clip, spectrum, monotone, noise, basin)
