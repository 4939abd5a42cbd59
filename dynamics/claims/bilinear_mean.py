"""Claims about the larger bilinear region, X = ((ρ_in + ρ_out)/2)², and about what is exact without decay."""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from dynamics.gates.bilinear import BILINEAR, ENERGY, RHO_IN, RHO_OUT, BilinearGate, MeanBilinearGate, reduced_field
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.fate import Fate
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted
from dynamics.proofs.steps import equal, nonnegative, positive, prove

__all__ = ["CLAIMS", "exact_check", "exact_height", "mean_check", "sound_check"]

Floats = NDArray[np.float64]
IMBALANCE = sp.Symbol("Q", real=True)  # (ρ_in² − ρ_out²)/2
MEAN = (RHO_IN + RHO_OUT) ** 2 / 4


def along(function: sp.Expr) -> sp.Expr:
    """Return d/dt of a function of the norms along the bilinear system."""
    return sum(sp.diff(function, s) * f for s, f in zip(BILINEAR.state, BILINEAR.field, strict=True))


def mean_check(energy: sp.Expr) -> Outcome:
    """Check that an energy obeys the reduced system's inequalities, and that it is no larger than S."""
    energy_dot, theta_dot = reduced_field()
    gap = (RHO_IN - RHO_OUT) ** 2 / 4
    return prove(
        equal("X'", along(energy), energy_dot.subs(ENERGY, energy)),
        nonnegative("θ'", theta_dot.subs(ENERGY, energy) - BILINEAR.field[-1], RATE * COUPLING * gap),
        nonnegative("X ≤ S", (RHO_IN**2 + RHO_OUT**2) / 2 - energy, gap),
        scope="all λ, η, κ, r > 0, all norms",
    )


@claim(
    "bilinear-mean",
    "X = ((ρ_in + ρ_out)/2)² obeys X' ≤ 2(ηθ − λ)X and θ' ≤ r(ηX − κ), and X ≤ S: its region holds for all that "
    "S certifies, and more",
    "symbolic",
)
def mean() -> Outcome:
    """Prove the statement: with the bounds attained X' is an equality and ρ_inρ_out = X − (ρ_in − ρ_out)²/4 ≤ X.

    X rises with both norms' derivatives, so one-sided bounds give inequalities; θ_sep falls in S.
    """
    return mean_check(MEAN)


def exact_height() -> tuple[sp.Expr, sp.Expr]:
    """Return (X*, H(X)) of the gate without decay, Q fixed: θ_sep = sign(X* − X)√(H(X) − H(X*))."""
    middle = COST / COUPLING
    height = RATE * (ENERGY + IMBALANCE**2 / (4 * ENERGY) - middle * sp.log(ENERGY))
    return (middle + sp.sqrt(middle**2 + IMBALANCE**2)) / 2, height


@claim(
    "bilinear-undecayed",
    "for λ = 0 and D = −ηρ_inρ_out, Q = (ρ_in² − ρ_out²)/2 and θ² − H(X) are constant, "
    "H = r(X + Q²/(4X) − (κ/η) ln X), and X* = (κ/η + √((κ/η)² + Q²))/2 is where H is least",
    "symbolic",
)
def undecayed() -> Outcome:
    """Prove the statement: Q' = −2λQ, and (θ² − H)' = 0 along the field with λ = 0.

    H falls up to X* and rises after it, θ' < 0 below X* and X' ≥ 0: the level of (X*, 0) is the boundary.
    """
    imbalance = (RHO_IN**2 - RHO_OUT**2) / 2
    least, height = exact_height()
    integral = THETA**2 - height.subs({ENERGY: MEAN, IMBALANCE: imbalance}, simultaneous=True)
    return prove(
        equal("Q'", along(imbalance), -2 * DECAY * imbalance),
        equal("θ² − H(X)", along(integral).subs(DECAY, 0), 0),
        equal("ρ_inρ_out", MEAN - imbalance**2 / (4 * MEAN), RHO_IN * RHO_OUT),
        equal("H is flat at X*", sp.expand((sp.diff(height, ENERGY) * ENERGY**2).subs(ENERGY, least)), 0),
        positive("and least", sp.diff(sp.expand(sp.diff(height, ENERGY) * ENERGY**2), ENERGY, 2), 2 * RATE),
        scope="all η, κ, r > 0",
    )


def _population(count: int, seed: int) -> tuple[dict[str, Floats], Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    coupling, cost, rate = (10 ** rng.uniform(low, high, count) for low, high in ((-0.5, 0.5), (-1, 0.5), (-1, 1)))
    decay = coupling * 10 ** rng.uniform(-2, 0, count)
    size, angle = np.sqrt(cost / coupling) * 10 ** rng.uniform(-0.6, 0.4, count), rng.uniform(0.02, 1.55, count)
    norms = np.sqrt(2) * size * np.cos(angle), np.sqrt(2) * size * np.sin(angle)
    return {"decay": decay, "coupling": coupling, "cost": cost, "rate": rate}, *norms, rng.uniform(0, 1, count)


def _wrong(constants: dict[str, Floats], state: tuple[Floats, ...], wrong: NDArray[np.bool_]) -> Outcome:
    at = int(np.flatnonzero(wrong)[0])
    named = dict(zip(("rho_in", "rho_out", "theta"), state, strict=True))
    return refuted("fate and region differ", {k: float(v[at]) for k, v in {**constants, **named}.items()})


def sound_check(kind: type[BilinearGate], count: int = 8000) -> Outcome:
    """Check that every asymmetric state that `kind` certifies goes to zero under the bilinear system."""
    constants, *state = _population(count, 81)
    gate = kind(**constants)
    outcome = integrate(BilinearGate(**constants), *state, rtol=1e-8, atol=1e-11).outcome
    certified, died = gate.certified(*state), outcome == Fate.ZERO
    wrong = certified & ~died
    if wrong.any():
        return _wrong(constants, tuple(state), wrong)
    shares = (certified[died].mean(), BilinearGate(**constants).certified(*state)[died].mean())
    return held(f"asymmetric states; of the dying it certifies {shares[0]:.0%}, S {shares[1]:.0%}", cases=count)


@claim("bilinear-mean-basin", "every state that `MeanBilinearGate` certifies goes to zero", "simulation")
def sound() -> Outcome:
    """Test the statement on asymmetric states of the system that attains the bounds."""
    return sound_check(MeanBilinearGate)


def exact_check(factor: float = 1.0, count: int = 6000) -> Outcome:
    """Compare fates for λ = 0 with the closed form, its X* multiplied by a factor (for tests)."""
    constants, *state = _population(count, 82)
    constants["decay"] = np.zeros(count)
    rho_in, rho_out, theta = state
    energy, imbalance = (rho_in + rho_out) ** 2 / 4, (rho_in**2 - rho_out**2) / 2
    least, height = (sp.lambdify([ENERGY, IMBALANCE, COUPLING, COST, RATE], part, "numpy") for part in exact_height())
    others = (imbalance, *(constants[name] for name in ("coupling", "cost", "rate")))
    middle = factor * least(energy, *others)
    above = height(energy, *others) - height(middle, *others)
    curve = np.sign(middle - energy) * np.sqrt(np.maximum(above, 0))
    outcome = integrate(BilinearGate(**constants), *state, rtol=1e-9, atol=1e-12).outcome
    judged = np.isin(outcome, (Fate.ZERO, Fate.ALIVE, Fate.DIVERGED)) & (np.abs(theta - curve) > 1e-6)
    wrong = judged & ((theta < curve) != (outcome == Fate.ZERO))
    return _wrong(constants, tuple(state), wrong) if wrong.any() else held("λ = 0", cases=int(judged.sum()))


@claim("bilinear-undecayed-basin", "for λ = 0 the basin of zero is θ < θ_sep of `bilinear-undecayed`", "simulation")
def exact() -> Outcome:
    """Test the statement on asymmetric states."""
    return exact_check()


CLAIMS: tuple[Claim, ...] = (mean, undecayed, sound, exact)
