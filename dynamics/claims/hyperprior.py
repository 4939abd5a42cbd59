"""Claims about the flattening hyper-prior."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import sympy as sp

from dynamics.models import hyperprior
from dynamics.models.hyperprior import GAMMA, PI, THETA, cost_from_gamma, gamma_from_cost, log_gamma_from_cost
from dynamics.proofs.claim import Claim, Outcome, claim, held, proved, refuted

__all__ = ["CLAIMS", "check_exchange", "check_vanishes"]


@claim("hyperprior-normalised", "∫₀¹ p(π|γ) dπ = 1 for every γ > 0, γ ≠ 1", "symbolic")
def normalised() -> Outcome:
    """Prove the statement: the antiderivative is ln(γ + (1−γ)π)/ln γ·(−1), checked by differentiation, then evaluated
    at 0 and 1.
    """
    density = hyperprior.density()
    antiderivative = -sp.log(GAMMA + (1 - GAMMA) * PI) / sp.log(GAMMA)
    if sp.simplify(sp.diff(antiderivative, PI) - density) != 0:
        return refuted("antiderivative", {"derivative": str(sp.diff(antiderivative, PI))})
    mass = sp.simplify(antiderivative.subs(PI, 1) - antiderivative.subs(PI, 0))
    return proved() if mass == 1 else refuted("mass", {"mass": str(mass)})


@claim("hyperprior-optimal-pi", "the objective in π has one minimiser in (0,1), π* = γθ/(1−θ+γθ)", "symbolic")
def optimal() -> Outcome:
    """Prove the statement: stationarity at π*, and a derivative with the sign of π − π*: one minimum, no other
    stationary point.
    """
    slope = sp.together(sp.diff(hyperprior.prior_objective(), PI))
    best = hyperprior.optimal_pi()
    # slope = (π(1−θ+γθ) − γθ) / (positive), so its sign is that of π − π*.
    numerator = PI * (1 - THETA + GAMMA * THETA) - GAMMA * THETA
    positive = PI * (1 - PI) * (GAMMA + (1 - GAMMA) * PI)
    remainder = sp.simplify(slope - numerator / positive)
    at_best = sp.simplify(numerator.subs(PI, best))
    if remainder != 0 or at_best != 0:
        return refuted("stationarity", {"remainder": str(remainder), "numerator at optimum": str(at_best)})
    return proved()


@claim("hyperprior-flat", "the minimum over π is const − θ ln γ: slope −ln γ at every θ", "symbolic")
def flat() -> Outcome:
    """Prove the statement: substitute π*, differentiate, add ln γ: what is left has to vanish."""
    return check_vanishes(sp.diff(hyperprior.minimised_objective(), THETA) + sp.log(GAMMA))


def check_vanishes(value: sp.Expr) -> Outcome:
    """Check whether r + Σ c_i ln a_i = 0 with rational functions r and a_i > 0 and integers c_i: r = 0 and Π a_i^c_i =
    1.

    `simplify` fails at it (the logarithms of 1 − θ have two forms that it does not merge); cancelling
    rational functions is a decision.
    """
    logs = {log: sp.Dummy() for log in value.atoms(sp.log)}
    rational, product = value.xreplace(logs), sp.Integer(1)
    for log, symbol in logs.items():
        factor = sp.cancel(sp.diff(rational, symbol))
        if not factor.is_Integer:
            return refuted("difference", {"factor of a logarithm": str(factor), "logarithm": str(log)})
        rational, product = rational.subs(symbol, 0), product * log.args[0] ** factor
    rational, product = sp.cancel(rational), sp.cancel(product)
    if rational != 0 or product != 1:
        return refuted("difference", {"rational part": str(rational), "exp of the logarithms": str(product)})
    return proved()


ENDS = ((1, 9), (-1, 1))  # sign and ten times θ: the minimum at 0.9 less that at 0.1

#: From (cost, samples) to γ, and back.
Exchange = Callable[[float, int], float]


def check_exchange(gamma_of: Exchange = gamma_from_cost, cost_of: Exchange = cost_from_gamma) -> Outcome:
    """Check: with γ = gamma_of(κ, N) the minimum over π rises with θ at the slope Nκ, and cost_of(γ, N) = κ.

    The slope is that of the hyper-prior's own minimised objective, in 40 digits, between θ = 0.1 and 0.9. Near γ = 1
    a γ has fewer digits of ln γ than Nκ has: errors count relative to 1 there.
    """
    rise = sp.expand_log(sum(s * hyperprior.minimised_objective().subs(THETA, sp.Rational(t, 10)) for s, t in ENDS))
    rng, allowed, worst, cases = np.random.default_rng(7), 1e-9, 0.0, 0
    scope = "random κ and N, Nκ from 1e-4 to 300, θ from 0.1 to 0.9"
    for _ in range(60):
        samples, total = int(rng.integers(1, 100_000)), float(10 ** rng.uniform(-4, 2.4))
        cost = total / samples
        gamma = gamma_of(cost, samples)
        slope = float(rise.subs(GAMMA, sp.Float(gamma, 40)).evalf(40) / sp.Rational(8, 10))
        errors = {
            "slope": abs(slope / total - 1),
            "cost": abs(cost_of(gamma, samples) / cost - 1) * min(1, total),  # ln γ near γ = 1 keeps fewer digits
            "logarithm": abs(log_gamma_from_cost(cost, samples) / -total - 1),
        }
        errors["slope"] *= min(1, total)
        cases, worst = cases + 1, max(worst, *errors.values())
        if not worst <= allowed:
            return refuted(scope, {"cost": cost, "samples": samples, "gamma": gamma, **errors})
    return held(scope, cases=cases, margin=allowed - worst)


@claim(
    "hyperprior-cost",
    "with γ = `gamma_from_cost`(κ, N) the minimum over π has the slope Nκ in θ; `cost_from_gamma` is its inverse",
    "random sampling",
)
def inverse() -> Outcome:
    """Test the statement by the functions themselves, against the hyper-prior's minimised objective."""
    return check_exchange()


@claim("hyperprior-numeric", "minimising over π on a fine grid gives slope −ln γ", "brute force")
def numeric() -> Outcome:
    """Test the statement: independent of the symbolic steps: golden-section minima at several θ and γ, slope by
    differences.
    """
    from scipy.optimize import minimize_scalar

    objective = sp.lambdify([PI, THETA, GAMMA], hyperprior.prior_objective(), "numpy")
    worst, cases = 0.0, 0
    for gamma in (1e-4, 1e-2, 0.3, 0.9, 3.0, 50.0):
        minima = []
        for theta in (0.05, 0.25, 0.5, 0.75, 0.95):
            found = minimize_scalar(
                objective,
                bounds=(1e-12, 1 - 1e-12),
                args=(theta, gamma),
                method="bounded",
                options={"xatol": 1e-12},
            )
            minima.append((theta, float(found.fun)))
        for (t0, m0), (t1, m1) in itertools.pairwise(minima):
            error = abs((m1 - m0) / (t1 - t0) + float(sp.log(gamma)))
            worst, cases = max(worst, error), cases + 1
            if error > 1e-6:
                return refuted("grid of θ and γ", {"gamma": gamma, "theta": t0, "error": error})
    return held("γ from 1e-4 to 50, θ from 0.05 to 0.95", cases=cases, margin=1e-6 - worst)


CLAIMS: tuple[Claim, ...] = (normalised, optimal, flat, inverse, numeric)
