"""Claims about a gate of which only the growth of its weights' norm is bounded, `dynamics.gates.drift`."""

from __future__ import annotations

import numpy as np
import sympy as sp

from dynamics.gates.drift import DRIFT, REACH, TIME, DriftGate, coupling_equation, lowest_theta, path, time_down
from dynamics.gates.linear import RHO
from dynamics.gates.ode import COST, COUPLING, RATE, THETA
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted
from dynamics.proofs.steps import equal, negative, nonnegative, nonpositive, positive, prove

__all__ = ["CLAIMS", "drifting_check", "sharp_check"]

ALL = "all g, η, κ, r > 0, ρ ≥ 0, 0 ≤ θ ≤ 1"


def sharp_check(lowest: sp.Expr) -> Outcome:
    """Check that `lowest`, in the symbols of `lowest_theta`, is the minimum of the path, `time_down` its first zero."""
    theta = path()[1].subs(COST, REACH + COUPLING * RHO)
    bottom = REACH / (COUPLING * DRIFT)
    root = sp.Symbol("root", nonnegative=True)  # √(x² − 2ηgθ/r) ≤ x
    level = RATE * (REACH**2 - root**2) / (2 * COUPLING * DRIFT)
    first = 2 * level / (RATE * (REACH + root))
    formula = time_down().subs(THETA, level)
    formula = formula.replace(
        lambda e: e.is_Pow and e.exp == sp.S.Half, lambda e: sp.sqrt(sp.expand(e.base))
    )  # of root², expanded
    half, square = coupling_equation()
    gap = lowest.subs(REACH, COST - COUPLING * RHO)
    other = sp.Symbol("level", positive=True)  # the pull ηρ at the boundary: κ = ηρ + x, θ = rx²/(2ηg)
    boundary = {THETA: RATE * other**2 / (2 * COUPLING * DRIFT), COST: other + COUPLING * RHO}
    inner = square.subs(boundary)
    known = other * (other + 2 * COUPLING * RHO) / (2 * COUPLING)
    return prove(
        equal("the lowest point", lowest, theta.subs(TIME, bottom)),
        equal("it is flat there", sp.diff(theta, TIME).subs(TIME, bottom), 0),
        positive("and convex", sp.diff(theta, TIME, 2), RATE * COUPLING * DRIFT),
        equal("the first zero", theta.subs(TIME, first).subs(THETA, level), 0),
        nonnegative("before the lowest point", bottom - first, root / (COUPLING * DRIFT)),
        equal("its formula", formula, first),
        equal("the root in the coupling", inner, known**2),
        equal("the largest coupling", (COST**2 / (half + known)).subs(boundary), COUPLING),
        positive("rises with η", sp.diff(gap, COUPLING).subs(COST, other + COUPLING * RHO),
                 RATE * other * (other + 2 * COUPLING * RHO) / (2 * COUPLING**2 * DRIFT)),
        negative("falls with κ", sp.diff(lowest, REACH), -RATE * REACH / (COUPLING * DRIFT)),
        positive("rises with g", sp.diff(lowest, DRIFT), RATE * REACH**2 / (2 * COUPLING * DRIFT**2)),
        nonpositive("θ' ≥ 0 where ηρ ≥ κ", (COST - COUPLING * RHO).subs(RHO, (COST + other) / COUPLING), -other),
        scope=ALL,
    )  # fmt: skip


@claim(
    "drift-sharp",
    "with ρ' ≤ g and θ' ≤ r(ηρ − κ), θ is sure to reach 0 if and only if ηρ < κ and θ ≤ r(κ − ηρ)²/(2ηg), by "
    "2θ/(r(x + √(x² − 2ηgθ/r))) ≤ x/(ηg), x = κ − ηρ; the region shrinks in η and g, and its coupling is a root",
    "symbolic",
)
def sharp() -> Outcome:
    """Prove the statement: ρ ≤ ρ₀ + gt and so θ is below the path up to its zero; the path itself attains the bounds.

    If its lowest point is above 0 it never comes there; where ηρ ≥ κ it rises from the start.
    """
    return sharp_check(lowest_theta())


def drifting_check(kind: type[DriftGate], count: int = 4000, seed: int = 61) -> Outcome:
    """Check deadlines on gates whose norm grows at changing speeds up to g; and that what misses the region may live.

    Every third takes the largest speed and pull all the time; of those none may die that is not certified.
    """
    rng = np.random.default_rng(seed)
    growth, coupling, cost, rate = 10 ** rng.uniform(-1, 1, (4, count))
    gate = kind(growth=growth, coupling=coupling, cost=cost, rate=rate)
    rho = cost / coupling * rng.uniform(0, 1.05, count)
    edge = np.minimum(rate * np.maximum(cost - coupling * rho, 0) ** 2 / (2 * coupling * growth), 1)
    theta = np.clip(edge * rng.choice([0.5, 0.99, 1.01], count) * rng.uniform(0.98, 1, count), 0, 1)
    calm = np.arange(count) % 3 == 0
    certified = gate.certified(rho, theta)
    horizon = np.maximum(cost - coupling * rho, 0) / (coupling * growth)
    deadline = np.where(certified, gate.time_to_zero(rho, theta), horizon)
    steps, phase, speed = 400, rng.uniform(0, 6.3, count), rng.uniform(1, 20, count)
    h, theta0, lowest = deadline / steps, theta.copy(), theta.copy()
    for turn in range(steps):
        ebb = np.where(calm, 1, (1 + np.sin(phase + speed * turn / steps)) / 2)
        before, rho = rho, np.maximum(rho + h * growth * ebb, 0)
        theta = theta + h * rate * ((before + rho) / 2 * coupling * np.where(calm, 1, 1 - 0.1 * ebb) - cost)
        lowest = np.minimum(lowest, theta)
    late = certified & ~(lowest <= 1e-9)  # also where there is no deadline
    early = calm & ~certified & (horizon > 0) & (lowest < -1e-9) & (theta0 > 1e-9)
    for name, wrong in {"a certified gate is late": late, "a gate outside the region must die": early}.items():
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            return refuted(name, {"theta": float(theta0[at]), **{k: float(v[at]) for k, v in gate.parameters.items()}})
    return held(f"random speeds and pulls below their bounds; {int(calm.sum())} at them", cases=count)


@claim("drift-deadline", "a certified drift gate is at θ = 0 by `time_to_zero`, whatever its weights do", "simulation")
def deadline() -> Outcome:
    """Test the statement on gates whose norms grow at changing speeds."""
    return drifting_check(DriftGate)


CLAIMS: tuple[Claim, ...] = (sharp, deadline)
