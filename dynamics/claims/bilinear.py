"""Claims about the bilinear gate. Proofs are written out in each check; the computer verifies every step.

The separatrix θ_sep = θ* + σ√g(S) has two branches, σ = 1 below S* and σ = −1 above. They are treated with
S = S*/(1 + v) and S = S*(1 + v), v > 0, where signs can be read off; S = S* is a limit. V = θ − θ_sep is the margin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from dynamics.gates.bilinear import (
    BILINEAR,
    ENERGY,
    EXCESS,
    LOG_RATIO,
    RHO_IN,
    RHO_OUT,
    SADDLE_ENERGY,
    compiled_squared_height,
    first_integral,
    reduced_field,
    scaled_squared_height,
    squared_height,
)
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from dynamics.numeric import Operands
from dynamics.proofs.boxes import (
    Axis,
    Ball,
    all_positive,
    balls,
    centred,
    compiled_differs,
    compiled_on_balls,
    joined,
    prove_positive,
    require_flint,
)
from dynamics.proofs.claim import Claim, Outcome, Status, claim, undecided
from dynamics.proofs.steps import Step, equal, negative, nonnegative, nonpositive, positive, prove

__all__ = ["CLAIMS"]

HEIGHT = sp.Symbol("height", positive=True)  # √g
FAR = sp.Symbol("v", positive=True)  # how far S is from S*
GAP = sp.Symbol("gap", positive=True)
#: A function from `compile_expressions`.
Compiled = Callable[[Operands], tuple[Any, ...]]
ALL = "all λ, η, κ, r > 0"
SADDLE_THETA = DECAY / COUPLING
AT_SADDLE = {SADDLE_ENERGY: COST / COUPLING}
BRANCHES = {1: SADDLE_ENERGY / (1 + FAR), -1: SADDLE_ENERGY * (1 + FAR)}  # σ → S


def compiled_height() -> sp.Expr:
    """Return g(S, S*), the expression that `BilinearGate.margin` is compiled from, intermediate symbols put back."""
    return scaled_squared_height().subs({EXCESS: ENERGY - SADDLE_ENERGY, LOG_RATIO: sp.log(ENERGY / SADDLE_ENERGY)})


def reduced_jacobian() -> sp.Matrix:
    """Return ∂(S', θ')/∂(S, θ)."""
    return sp.Matrix(reduced_field()).jacobian([ENERGY, THETA])


@claim(
    "bilinear-derivation",
    "D = −ηρ_inρ_out gives ρ_in' = ηθρ_out − λρ_in (and mirrored), θ' = r(ηρ_inρ_out − κ), the saddle "
    "(√(κ/η), √(κ/η), λ/η) and the eigenvalues −2λ, ±√(2rηκ); ρ_in − ρ_out decays",
    "symbolic",
)
def derivation() -> Outcome:
    """Prove the statement: the field from the difference; the rest by substitution."""
    at_saddle = dict(zip(BILINEAR.state, BILINEAR.saddle, strict=True))
    unstable = sp.sqrt(2 * RATE * COUPLING * COST)
    polynomial = BILINEAR.jacobian.subs(at_saddle).charpoly().as_expr()
    (variable,) = polynomial.free_symbols - {DECAY, COUPLING, COST, RATE}
    wanted = (variable + 2 * DECAY) * (variable**2 - unstable**2)
    difference = RHO_IN - RHO_OUT
    return prove(
        equal("field of rho_in", BILINEAR.field[0], COUPLING * THETA * RHO_OUT - DECAY * RHO_IN),
        equal("field of rho_out", BILINEAR.field[1], COUPLING * THETA * RHO_IN - DECAY * RHO_OUT),
        equal("field of theta", BILINEAR.field[2], RATE * (COUPLING * RHO_IN * RHO_OUT - COST)),
        equal("saddle", BILINEAR.saddle[0] ** 2, COST / COUPLING),
        equal("saddle is symmetric", BILINEAR.saddle[0], BILINEAR.saddle[1]),
        equal("saddle in theta", BILINEAR.saddle[2], SADDLE_THETA),
        *(equal("equilibrium", f.subs(at_saddle), 0) for f in BILINEAR.field),
        equal("characteristic polynomial", polynomial, sp.expand(wanted)),
        equal("unstable eigenvalue", BILINEAR.eigenvalues[-1], unstable),
        equal("difference decays", BILINEAR.field[0] - BILINEAR.field[1], -(COUPLING * THETA + DECAY) * difference),
    )


@claim(
    "bilinear-reduction",
    "for every D that the constants bound S' ≤ 2(ηθ − λ)S and θ' ≤ r(ηS − κ), with equality for D = −ηρ_inρ_out "
    "exactly where ρ_in = ρ_out (or θ = 0 for S')",
    "symbolic",
)
def reduction() -> Outcome:
    """Prove the statement: S − ρ_inρ_out = (ρ_in − ρ_out)²/2; the slack of each bound on D enters with a nonnegative
    factor.
    """
    slack_in, slack_out, slack = sp.symbols("slack_in slack_out slack", nonnegative=True)
    product = RHO_IN * RHO_OUT
    energy = (RHO_IN**2 + RHO_OUT**2) / 2
    apart = sp.Symbol("apart", real=True)  # ρ_in − ρ_out
    pulled_in, pulled_out = -COUPLING * product + slack_in, -COUPLING * product + slack_out  # ⟨∇D, w⟩
    energy_dot = -THETA * (pulled_in + pulled_out) - DECAY * (RHO_IN**2 + RHO_OUT**2)
    theta_dot = -RATE * (-COUPLING * product + slack + COST)
    # With no slack this is the gate's own system.
    own = RHO_IN * BILINEAR.field[0] + RHO_OUT * BILINEAR.field[1]
    none = {slack_in: 0, slack_out: 0, slack: 0}
    bound = [f.subs(ENERGY, energy) for f in reduced_field()]
    to_apart = {RHO_IN: RHO_OUT + apart}
    return prove(
        equal("S' of the gate", energy_dot.subs(none), own),
        equal("theta' of the gate", theta_dot.subs(none), BILINEAR.field[2]),
        nonnegative(
            "S'",
            (bound[0] - energy_dot).subs(to_apart),
            COUPLING * THETA * apart**2 + THETA * (slack_in + slack_out),
        ),
        nonnegative("theta'", (bound[1] - theta_dot).subs(to_apart), RATE * (COUPLING * apart**2 / 2 + slack)),
    )


@claim("bilinear-first-integral", "H(S, θ) is constant along the reduced flow", "symbolic")
def integral() -> Outcome:
    """Prove the statement: dH/dt = ∂H/∂S·S' + ∂H/∂θ·θ' vanishes identically."""
    H = first_integral()
    energy_dot, theta_dot = reduced_field()
    return prove(equal("dH/dt", sp.diff(H, ENERGY) * energy_dot + sp.diff(H, THETA) * theta_dot, 0), scope=ALL)


def separatrix_check(squared: sp.Expr) -> Outcome:
    """Check that θ* ± √squared(S) is the stable manifold of the saddle. `squared` as `compiled_height`.

    The curve must lie in the saddle's level of H, which the flow keeps, pass through the saddle, and leave it along
    the stable eigenvector; of the two branches of that level the flow on θ = θ* + σ√g, σ = sign(S* − S), is towards
    the saddle, since S' has the sign of θ − θ*.
    """
    here = squared.subs(AT_SADDLE)
    H = first_integral()
    on_curve = {THETA: SADDLE_THETA + sp.Symbol("sigma") * HEIGHT}
    level = sp.expand(H.subs(on_curve) - H.subs({ENERGY: COST / COUPLING, THETA: SADDLE_THETA}))
    level = level.subs(sp.Symbol("sigma"), 1).subs(HEIGHT, sp.sqrt(here))  # σ² = 1, and odd powers cancel
    slope = -sp.sqrt(RATE * COUPLING / (2 * COST))
    jacobian = reduced_jacobian().subs({ENERGY: COST / COUPLING, THETA: SADDLE_THETA})
    residual = (jacobian + sp.sqrt(2 * RATE * COUPLING * COST) * sp.eye(2)) * sp.Matrix([1, slope])
    tangent = sp.limit(squared / (ENERGY - SADDLE_ENERGY) ** 2, ENERGY, SADDLE_ENERGY).subs(AT_SADDLE)
    energy_dot, _ = reduced_field()
    return prove(
        equal("closed form", squared, squared_height()),
        equal("level of the saddle", level, 0),
        equal("through the saddle", squared.subs(ENERGY, SADDLE_ENERGY), 0),
        equal("tangent", tangent, slope**2),
        *(equal("stable eigenvector", entry, 0) for entry in residual),
        positive(
            "towards the saddle below S*",
            energy_dot.subs(THETA, SADDLE_THETA + HEIGHT),
            2 * COUPLING * HEIGHT * ENERGY,
        ),
        negative(
            "towards the saddle above S*",
            energy_dot.subs(THETA, SADDLE_THETA - HEIGHT),
            -2 * COUPLING * HEIGHT * ENERGY,
        ),
        *gap_steps(),
        scope=ALL,
    )


def gap_steps() -> list[Step]:
    """Return the steps of the proof: g > 0 off S*: its derivative r(1 − S*/S) has the sign of S − S*, and g(S*) = 0."""
    slope = sp.diff(compiled_height(), ENERGY)
    return [
        equal("g at S*", compiled_height().subs(ENERGY, SADDLE_ENERGY), 0),
        negative("g falls below S*", slope.subs(ENERGY, BRANCHES[1]), -RATE * FAR),
        positive("g rises above S*", slope.subs(ENERGY, BRANCHES[-1]), RATE * FAR / (1 + FAR)),
    ]


@claim(
    "bilinear-separatrix",
    "the compiled r(S − S* − S* ln(S/S*)) is the squared height derived from H; it is positive off S*, and "
    "θ* ± its root is the saddle's stable manifold, tangent to the stable eigenvector",
    "symbolic",
)
def separatrix() -> Outcome:
    """Prove the statement: level set of H through the saddle."""
    return separatrix_check(compiled_height())


#: σ → θ_sep − θ* as an expression; the default is σ√g with `compiled_height`.
Branch = Callable[[int], sp.Expr]


def branch(sigma: int) -> sp.Expr:
    """Return θ_sep on one branch."""
    return SADDLE_THETA + sigma * sp.sqrt(compiled_height().subs(AT_SADDLE))


def growth_steps(theta_sep: Branch) -> list[Step]:
    """Return the steps of the proof: V' = k(S)·V along the reduced flow with k = rη|S − S*|/√g > 0.

    The root is replaced by a symbol for it, through θ_sep = θ* + σ·height: height' follows from the candidate itself.
    """
    energy_dot, theta_dot = reduced_field()
    steps = []
    for sigma, energy in BRANCHES.items():
        candidate = theta_sep(sigma)
        squared = (candidate - SADDLE_THETA) ** 2
        slope = sigma * sp.diff(squared, ENERGY) / (2 * HEIGHT)  # dθ_sep/dS
        V = THETA - SADDLE_THETA - sigma * HEIGHT
        V_dot = theta_dot - slope * energy_dot
        distance = sigma * (COST / COUPLING - ENERGY)
        growth = RATE * COUPLING * distance / HEIGHT
        at = energy.subs(AT_SADDLE)
        side = "below S*" if sigma == 1 else "above S*"
        share = FAR / (1 + FAR) if sigma == 1 else FAR
        steps += [
            equal(f"growth {side}", V_dot - growth * V, 0),
            positive(f"k {side}", growth.subs(ENERGY, at), RATE * COST * share / HEIGHT),
            equal(f"through the saddle, {side}", candidate.subs(ENERGY, COST / COUPLING), SADDLE_THETA),
            negative(f"theta_sep falls {side}", slope.subs(ENERGY, at), _fall(sigma)),
        ]
    return steps


def _fall(sigma: int) -> sp.Expr:
    """Return dθ_sep/dS on a branch, in v: −r·v/(2·height) below S*, that over 1 + v above."""
    return -RATE * FAR / (2 * HEIGHT) / (1 if sigma == 1 else 1 + FAR)


def face_steps() -> list[Step]:
    """Return the steps of the proof on the faces. On θ = 0, stopped (S < S*): θ' < 0 and S' ≤ 0, hence V' = −θ_sep'·S'
    ≤
    0.

    On θ = 1, stopped: θ' > 0 is dropped, which only lowers V'. On S = 0: S' = 0. The true gate's S' and θ' lie below
    the bounds (`bilinear-reduction`) and V rises in both (θ_sep falls), so V' is below, too.
    """
    energy_dot, theta_dot = reduced_field()
    below = (BRANCHES[1]).subs(AT_SADDLE)
    return [
        negative("theta' on theta = 0", theta_dot.subs(ENERGY, below), -RATE * COST * FAR / (1 + FAR)),
        nonpositive("S' on theta = 0", energy_dot.subs(THETA, 0), -2 * DECAY * ENERGY),
        equal("S' at S = 0", energy_dot.subs(ENERGY, 0), 0),
    ]


def inward_check(theta_sep: Branch) -> Outcome:
    """Check that {θ < θ_sep} is invariant, with a boundary that the flow never crosses.

    Proved by `growth_steps`. Where these fail, both branches are scanned, for λ = 1/2, η = κ = r = 1 (S* = 1), for a
    state at which the reduced flow crosses the candidate: there it is no separatrix.
    """
    symbolic = prove(*growth_steps(theta_sep), *face_steps(), *gap_steps(), *_limit_steps(), scope=ALL)
    if symbolic.status is Status.PROVED:
        return symbolic
    units = {DECAY: sp.Rational(1, 2), COUPLING: 1, COST: 1, RATE: 1}
    energy_dot, theta_dot = (f.subs(units) for f in reduced_field())
    for sigma, axis in ((1, Axis(0.5, 0.875, log=False)), (-1, Axis(1.125, 1.5, log=False))):
        curve = theta_sep(sigma).subs(units)
        crossing = (theta_dot - sp.diff(curve, ENERGY) * energy_dot).subs(THETA, curve)
        for sign, way in ((-1, "outwards"), (1, "inwards")):
            found = prove_positive(balls(sign * crossing), {ENERGY.name: axis}, budget=2_000, note=f"crossed {way}?")
            if found.status is Status.REFUTED:
                return found
    return symbolic


def _limit_steps() -> list[Step]:
    """Return the steps of the proof: at S = S*: k tends to the unstable eigenvalue √(2rηκ) from both sides, so that V'
    = kV there, too.
    """
    limit = sp.limit(_growth_squared(), ENERGY, SADDLE_ENERGY).subs(AT_SADDLE)
    return [equal("k at S*", limit, BILINEAR.eigenvalues[-1] ** 2)]


def _growth_squared() -> sp.Expr:
    """Return k² = (rη(S − S*))²/g."""
    return (RATE * COUPLING * (ENERGY - SADDLE_ENERGY)) ** 2 / compiled_height()


@claim(
    "bilinear-inward",
    "V' = k(S)·V along the reduced flow, k = rη|S − S*|/√g > 0 (√(2rηκ) at S*); for every D that the constants "
    "bound V' ≤ kV while θ is free or on θ = 1, and V' ≤ 0 where θ = 0 is stopped (S < S*): the flow never leaves "
    "V < 0",
    "symbolic",
)
def inward() -> Outcome:
    """Prove the statement: each branch in v, the point S* as a limit, then the faces."""
    return inward_check(branch)


@claim(
    "bilinear-attraction",
    "a state with V < 0 reaches θ = 0 with S < S* in finite time and stays, S decaying as e^(−2λt)",
    "symbolic",
)
def attraction() -> Outcome:
    """Prove the statement: V never rises (`bilinear-inward`), so V ≤ V₀ < 0, and θ < θ_sep.

    Where S ≥ S*, θ < θ_sep(S) ≤ θ*, so that S falls: S stays below S₁ = max(S, S*). While S ≥ S*/2, k ≥ k(S*/2), as
    k = rη|S − S*|/√g rises with S, and V ≥ −M, M = θ_sep(S*/2); so the flow spends at most T₁ = ln(M/|V₀|)/k(S*/2)
    there in all. (On θ = 0 with S ≥ S* the bound on θ' is not negative, so V' ≤ kV holds; with S < S* the gate is at
    its end.) θ rises only where S > S*, in all by at most T₁·r(ηS₁ − κ). While S < S*/2, θ' ≤ −rκ/2 as long as θ > 0.
    So θ = 0 with S < S* is reached (within the time of `bilinear-deadline`); there θ' < 0 is stopped and
    S' ≤ −2λS ≤ 0, for ever. S = 0 stays 0 and θ' = −rκ.
    """
    energy_dot, theta_dot = reduced_field()
    x = sp.Symbol("x", positive=True)  # S/S*
    unit = compiled_height().subs({ENERGY: x, SADDLE_ENERGY: 1, RATE: 1})
    share = (x - 1) ** 2 / unit  # k²/(rηκ)
    turn = 2 * unit - (x - 1) ** 2 / x  # has the sign of x − 1, since it rises and vanishes at 1
    return prove(
        *growth_steps(branch),
        *face_steps(),
        *gap_steps(),
        *_limit_steps(),
        negative("theta' at S*/2", theta_dot.subs(ENERGY, COST / COUPLING / 2), -RATE * COST / 2),
        negative("theta' at S = 0", theta_dot.subs(ENERGY, 0), -RATE * COST),
        nonnegative("theta' on S ≥ S*", theta_dot.subs(ENERGY, COST / COUPLING + GAP), RATE * COUPLING * GAP),
        negative("S' below theta*", energy_dot.subs(THETA, SADDLE_THETA - GAP), -2 * COUPLING * GAP * ENERGY),
        equal(
            "k by S/S*", share.subs(x, ENERGY / SADDLE_ENERGY), _growth_squared() / (RATE * COUPLING**2 * SADDLE_ENERGY)
        ),
        equal("k rises with S", sp.diff(share, x), (x - 1) * turn / unit**2),
        equal("its sign at S*", turn.subs(x, 1), 0),
        nonnegative("its sign off S*", sp.diff(turn, x), (1 - 1 / x) ** 2),
        scope=ALL,
    )


@claim(
    "bilinear-sharp",
    "where θ* ≤ 1 and ρ_in = ρ_out, V > 0 is invariant under D = −ηρ_inρ_out and nothing in it goes to zero",
    "symbolic",
)
def sharp() -> Outcome:
    """Prove the statement: equal norms stay equal. Free θ: V' = kV > 0. On θ = 0, V > 0 forces S > S*, where θ' > 0.

    On θ = 1, stopped where S > S*: S' = 2(η − λ)S ≥ 0 and θ_sep falls, so V' ≥ 0. And V > 0 with θ ≤ 1 keeps S
    above the S₁ with θ_sep(S₁) = 1, because θ_sep rises to infinity as S → 0.
    """
    energy_dot, theta_dot = reduced_field()
    room = sp.Symbol("room", nonnegative=True)
    on_one = energy_dot.subs(THETA, 1).subs(DECAY, (1 - room) * COUPLING)
    above = BRANCHES[-1].subs(AT_SADDLE)
    equal_norms = {RHO_IN: RHO_OUT}
    return prove(
        equal("equal norms stay equal", (BILINEAR.field[0] - BILINEAR.field[1]).subs(equal_norms), 0),
        *growth_steps(branch),
        positive("theta' above S*", theta_dot.subs(ENERGY, above), RATE * COST * FAR),
        nonnegative("S' on theta = 1", on_one, 2 * COUPLING * room * ENERGY),
        equal("theta_sep as S → 0", sp.limit(compiled_height(), ENERGY, 0, "+"), sp.oo),
        scope=f"{ALL}, θ* ≤ 1, ρ_in = ρ_out",
    )


@claim(
    "bilinear-inward-balls",
    "on every level V = −δ, δ > 0, the reduced flow points strictly inwards, at S = S* too (compiled function)",
    "branch and bound",
)
def inward_balls(theta_sep: Branch = branch, compiled: Compiled = compiled_squared_height) -> Outcome:
    """Prove the statement: `bilinear-inward` again, by ball arithmetic. S = S*x, θ = θ* + √(rS*)·z and time in units of
    1/(η√(rS*)) leave x' = 2zx, z' = x − 1 without any parameter (checked first), so one gate stands for all: λ = η = κ
    = r = 1.

    Along the flow V' = kV (checked next), so that only k = |x − 1|/√g has to be positive: off S*, the compiled g is; at
    S*, where g vanishes, so does its derivative, and g″ > 0 makes g/(x − 1)² positive and finite.
    """
    z = sp.Symbol("z", real=True)
    size = sp.sqrt(RATE * COST / COUPLING)
    clock = COUPLING * size
    scaled = {ENERGY: COST / COUPLING * ENERGY, THETA: SADDLE_THETA + size * z}
    dots = [f.subs(scaled, simultaneous=True) / clock for f in reduced_field()]
    reduction = prove(equal("x'", dots[0] / (COST / COUPLING), 2 * z * ENERGY), equal("z'", dots[1] / size, ENERGY - 1))
    if reduction.status is not Status.PROVED:
        return reduction
    if prove(*growth_steps(theta_sep)).status is not Status.PROVED:
        return _crossed(theta_sep)
    differs = compiled_differs(compiled, scaled_squared_height())
    if differs is not None:
        return differs
    flint = require_flint()
    unit = compiled_height().subs({SADDLE_ENERGY: 1, RATE: 1})
    slope = sp.diff(unit, ENERGY)
    at_saddle = prove(equal("g at S*", unit.subs(ENERGY, 1), 0), equal("g' at S*", slope.subs(ENERGY, 1), 0))
    if at_saddle.status is not Status.PROVED:
        return at_saddle

    def height(values: Mapping[str, Ball]) -> Ball:
        x, one = values[ENERGY.name], flint.arb(1)
        known = {EXCESS.name: x - 1, LOG_RATIO.name: x.log(), SADDLE_ENERGY.name: one, RATE.name: one}
        return compiled_on_balls(compiled, known)[0] / (x - 1) ** 2

    note = "S over S*; every δ > 0"
    return joined(
        prove_positive(height, {ENERGY.name: Axis(1e-6, 0.75)}, note=note),
        prove_positive(balls(sp.diff(slope, ENERGY)), {ENERGY.name: Axis(0.75, 1.25)}, note=f"{note}; g″"),
        prove_positive(height, {ENERGY.name: Axis(1.25, 50.0)}, note=note),
    )


def _crossed(theta_sep: Branch) -> Outcome:
    """Return a state on a level below a curve that is no separatrix, at which the flow does not go inwards."""
    units = {DECAY: 1, COUPLING: 1, COST: 1, RATE: 1}
    energy_dot, theta_dot = (f.subs(units) for f in reduced_field())
    outcomes = []
    for sigma, axis in ((1, Axis(1e-6, 0.95)), (-1, Axis(1.05, 50.0))):
        curve = theta_sep(sigma).subs(units)
        inwards = (-theta_dot + sp.diff(curve, ENERGY) * energy_dot).subs(THETA, curve - GAP)
        box = {ENERGY.name: axis, GAP.name: Axis(0.01, 10.0)}
        outcomes.append(prove_positive(centred(inwards), box, note="S over S*, gap = δ over √(rS*)"))
        if outcomes[-1].status is Status.REFUTED:
            return outcomes[-1]
    return undecided("V' = kV does not hold, and no state was found that shows it")


@claim(
    "bilinear-monotone",
    "θ_sep falls as η grows and rises with κ at every S > 0, also through θ* = 1: bounds on them suffice",
    "symbolic",
)
def monotone(squared: sp.Expr | None = None) -> Outcome:
    """Prove the statement: θ_sep = λ/η + σ√g(S, S*): ∂θ_sep/∂S* = σ·∂g/∂S*/(2√g) > 0, and S* = κ/η and λ/η fall in η.

    At S = S* the derivative's limit is √(r/(2S*)). Where θ* = λ/η > 1 everything is certified: this, too, is only
    ever lost as η grows; κ does not enter it.
    """
    g = compiled_height() if squared is None else squared
    by_saddle = sp.diff(g, SADDLE_ENERGY)
    at_saddle = sp.limit(by_saddle**2 / (4 * g), ENERGY, SADDLE_ENERGY)
    by_eta = sp.diff(COST / COUPLING, COUPLING)
    return prove(
        positive("below S*", by_saddle.subs(ENERGY, BRANCHES[1]), RATE * sp.log(1 + FAR)),
        positive("above S*", -by_saddle.subs(ENERGY, BRANCHES[-1]), RATE * sp.log(1 + FAR)),
        positive("at S*", at_saddle, RATE / (2 * SADDLE_ENERGY)),
        negative("S* falls with eta", by_eta, -COST / COUPLING**2),
        positive("S* rises with kappa", sp.diff(COST / COUPLING, COST), 1 / COUPLING),
        negative("theta* falls with eta", sp.diff(SADDLE_THETA, COUPLING), -DECAY / COUPLING**2),
        scope=ALL,
    )


@claim(
    "bilinear-monotone-balls",
    "g > 0, ∂θ_sep/∂S* > 0 at every S ≠ S*, however near (compiled expression)",
    "branch and bound",
)
def monotone_balls(squared: sp.Expr | None = None) -> Outcome:
    """Prove the statement: `bilinear-monotone` again, by ball arithmetic; r > 0 and S* > 0 enter as factors and are set
    to 1.
    """
    g = compiled_height() if squared is None else squared
    scale = sp.Symbol("c", positive=True)
    homogeneous = prove(
        equal("g(cS, cS*) = c·g", g.subs({ENERGY: scale * ENERGY, SADDLE_ENERGY: scale * SADDLE_ENERGY}), scale * g),
        equal("g is linear in r", g.subs(RATE, scale * RATE), scale * g),
    )
    if homogeneous.status is not Status.PROVED:
        return homogeneous
    outcomes = []
    for sigma, end in ((1, 700.0), (-1, 14.0)):
        at = {RATE: 1, SADDLE_ENERGY: 1, ENERGY: sp.exp(-sigma * FAR)}
        wanted = {"g": g.subs(at), "sigma·∂g/∂S*": sigma * sp.diff(g, SADDLE_ENERGY).subs(at)}
        note = "S = S*·e^(∓v), S from 1e-304 S* to 1e6 S*; r, S* > 0 arbitrary"
        outcomes.append(all_positive(wanted, {FAR.name: Axis(0.5, end)}, note=note))
        # Near S* both vanish, g of second order and its derivative of first: what is left after division is positive.
        slope, bend = sp.diff(wanted["g"], FAR), sp.diff(wanted["g"], FAR, 2)
        vanish = [equal(name, f.subs(FAR, 0), 0) for name, f in {**wanted, "∂g/∂v": slope}.items()]
        outcomes.append(prove(*vanish))
        rising = {"∂²g/∂v²": bend, "∂(sigma·∂g/∂S*)/∂v": sp.diff(wanted["sigma·∂g/∂S*"], FAR)}
        outcomes.append(all_positive(rising, {FAR.name: Axis(0.0, 0.5, log=False)}, note=note))
    for outcome in outcomes:
        if outcome.status is not Status.PROVED:
            return outcome
    return joined(*(outcome for outcome in outcomes if outcome.cases))


@claim(
    "bilinear-headroom",
    "for S > 0 the m with a certificate at coupling mη are an interval (0, h), 0 < h < ∞; at S = 0 every m certifies",
    "symbolic",
)
def headroom() -> Outcome:
    """Prove the statement: θ_sep falls continuously in m (`bilinear-monotone`) from ∞ to −√(rS) < 0, so θ < θ_sep
    exactly on (0, h₁).

    Where θ* > 1, i.e. m < λ/η, everything is certified: the union is (0, max(h₁, λ/η)). Zero weights stay zero.
    """
    g = compiled_height()
    energy_dot, theta_dot = reduced_field()
    share = sp.Symbol("part", positive=True)
    monotone_steps = monotone.check()
    if monotone_steps.status is not Status.PROVED:
        return monotone_steps
    return prove(
        equal("m → 0", sp.limit(g, SADDLE_ENERGY, sp.oo), sp.oo),
        equal("m → ∞", sp.limit(g, SADDLE_ENERGY, 0, "+"), RATE * ENERGY),
        equal("theta*, m → ∞", sp.limit(SADDLE_THETA.subs(COUPLING, share * COUPLING), share, sp.oo), 0),
        positive("theta* > 1 below the switch", SADDLE_THETA.subs(COUPLING, DECAY / (1 + GAP)) - 1, GAP),
        equal("S' at S = 0", energy_dot.subs(ENERGY, 0), 0),
        negative("theta' at S = 0", theta_dot.subs(ENERGY, 0), -RATE * COST),
        scope=ALL,
    )


@claim("bilinear-above-strip", "where θ* > 1 every state of the strip goes to zero", "symbolic")
def above_strip() -> Outcome:
    """Prove the statement: with λ = (1 + gap)η, S' ≤ −2η·gap·S: S falls below S*/2 for good, and from then on θ' ≤
    −rκ/2 until θ = 0.
    """
    energy_dot, theta_dot = reduced_field()
    below_one = sp.Symbol("below_one", nonnegative=True)  # 1 − θ
    falling = energy_dot.subs({THETA: 1 - below_one, DECAY: (1 + GAP) * COUPLING})
    return prove(
        equal("theta* = 1 + gap", SADDLE_THETA.subs(DECAY, (1 + GAP) * COUPLING), 1 + GAP),
        negative("S'", falling, -2 * COUPLING * (GAP + below_one) * ENERGY),
        negative("theta' at S*/2", theta_dot.subs(ENERGY, COST / COUPLING / 2), -RATE * COST / 2),
        positive("theta' rises with S", sp.diff(theta_dot, ENERGY), RATE * COUPLING),
    )


@claim(
    "bilinear-comparison",
    "the reduced system is cooperative: ∂S'/∂θ = 2ηS ≥ 0 and ∂θ'/∂S = rη ≥ 0, so solutions stay ordered",
    "symbolic",
)
def comparison() -> Outcome:
    """Prove the statement: Kamke's condition is a sign of the Jacobian's off-diagonal entries.

    The projection keeps it: on a face θ' becomes max(θ', 0) or min(θ', 0), both monotone in θ'.
    """
    jacobian = reduced_jacobian()
    return prove(
        positive("∂S'/∂θ", jacobian[0, 1], 2 * COUPLING * ENERGY),
        positive("∂θ'/∂S", jacobian[1, 0], RATE * COUPLING),
    )


CLAIMS: tuple[Claim, ...] = (
    derivation,
    reduction,
    integral,
    separatrix,
    inward,
    attraction,
    inward_balls,
    monotone,
    monotone_balls,
    headroom,
    sharp,
    above_strip,
    comparison,
)
