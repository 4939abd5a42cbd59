"""The linear gate's claims come out proved, and wrong variants of them refuted, each witness checked by other means."""

from __future__ import annotations

import sys
from fractions import Fraction

import mpmath
import pytest
import sympy as sp

from dynamics.claims import linear
from dynamics.gates.linear import RATIO, RHO, SADDLE_RHO, scaled_margin
from dynamics.gates.ode import RATE, THETA
from dynamics.numeric import compile_expressions
from dynamics.proofs.claim import Status


def moved(**factors):
    """The scaled margin with the separatrix's offset, or its slope, multiplied by a factor."""
    offset = scaled_margin().subs({RHO: 0, THETA: 0})
    slope = sp.diff(scaled_margin(), RHO)
    return THETA + factors.get("slope", 1) * slope * RHO + factors.get("offset", 1) * offset


HUNDREDTH = sp.Rational(1, 100)


@pytest.mark.parametrize(
    "wrong",
    [
        moved(offset=1 + HUNDREDTH),
        moved(offset=1 - HUNDREDTH),
        moved(slope=1 + HUNDREDTH),
        moved(slope=1 - HUNDREDTH),
    ],
    ids=["1% higher", "1% lower", "1% steeper", "1% flatter"],
)
def test_separatrix_moved_by_one_percent_is_refuted(wrong):
    outcome = linear.inward_check(wrong)
    assert outcome.status is Status.REFUTED
    crossed = "outwards" if "outwards" in outcome.scope else "inwards"
    # Independently: integrate the field through the witness in 40 digits; the wrong margin changes sign there.
    with mpmath.workdps(40):
        margin = sp.lambdify([RHO, THETA], wrong.subs({RATIO: 1, SADDLE_RHO: 1, RATE: 2}), "mpmath")
        rho = mpmath.mpf(outcome.witness["rho"])
        theta = -margin(rho, mpmath.mpf(0))
        before, after = (margin(*runge_kutta(rho, theta, step)) for step in (-1e-4, 1e-4))
    assert abs(margin(rho, theta)) < 1e-12
    if crossed == "outwards":
        assert before < 0 < after
    else:
        assert after < 0 < before


def runge_kutta(rho, theta, step):
    """One step of ρ' = θ − ρ, θ' = 2(ρ − 1): λ = η = κ = 1, r = 2."""

    def field(x, y):
        return y - x, 2 * (x - 1)

    h = mpmath.mpf(step)
    a = field(rho, theta)
    b = field(rho + h / 2 * a[0], theta + h / 2 * a[1])
    c = field(rho + h / 2 * b[0], theta + h / 2 * b[1])
    d = field(rho + h * c[0], theta + h * c[1])
    return tuple(x + h / 6 * (p + 2 * q + 2 * s + t) for x, p, q, s, t in zip((rho, theta), a, b, c, d, strict=True))


def test_wrong_sign_of_the_slope_is_no_longer_monotone():
    wrong = moved(slope=-1)
    outcome = linear.monotone_check(wrong)
    assert outcome.status is Status.REFUTED
    a, r = (Fraction(outcome.witness[name]) for name in ("ratio", "rate"))
    # Independently: with a = λ/η, ρ* = κ/η and ρ large, φ falls as η rises by a millionth.
    with mpmath.workdps(40):
        phi = sp.lambdify([RHO, THETA, RATIO, SADDLE_RHO, RATE], wrong, "mpmath")
        a, r = (mpmath.mpf(x.numerator) / x.denominator for x in (a, r))
        grow = 1 + mpmath.mpf(10) ** -6
        rho = mpmath.mpf(10) ** 12
        assert phi(rho, 0, a / grow, 1 / grow, r) < phi(rho, 0, a, 1, r)


def test_margin_that_is_not_linear_is_not_split():
    with pytest.raises(ValueError, match="not of the form"):
        linear.monotone_check(scaled_margin() + RHO**2 * RATIO)


def in_growth(margin, decay=linear.DECAY0):
    """A margin in (λ, η, κ, μ), as the symbolic checks take it."""
    return linear.rational(linear.unscaled(margin), decay)


@pytest.mark.parametrize(
    "check, wrong",
    [
        (linear.box.check, in_growth(moved(offset=1 + HUNDREDTH), linear.DECAY)),
        (linear.box.check, in_growth(moved(slope=1 - HUNDREDTH), linear.DECAY)),
        (linear.sharp.check, in_growth(moved(offset=1 + HUNDREDTH))),
        (linear.monotone.check, in_growth(moved(slope=-1))),
        (linear.monotone.check, in_growth(moved(offset=-1))),
    ],
)
def test_symbolic_checks_refute_a_wrong_margin(check, wrong):
    outcome = check(wrong)
    assert outcome.status is Status.REFUTED
    assert outcome.witness["left"] != outcome.witness["right"]


@pytest.mark.parametrize("factor", [1 + sp.Rational(1, 10**9), 1 - sp.Rational(1, 10**9)])
def test_a_compiled_margin_that_is_not_its_expression_is_refuted(factor):
    wrong = compile_expressions([RHO, THETA, RATIO, SADDLE_RHO, RATE], [moved(offset=factor)])
    outcome = linear.inward_balls.check(wrong)
    assert outcome.status is Status.REFUTED and "found" in outcome.witness


def test_missing_python_flint_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    scans = [item for item in linear.CLAIMS if item.method == "branch and bound"]
    assert scans
    for item in scans:
        with pytest.raises(ModuleNotFoundError, match=r"python-flint: pip install -e '\.\[proof\]' in the clone"):
            item.check()
    assert linear.growth.check().status is Status.PROVED  # the symbolic claims need no balls
