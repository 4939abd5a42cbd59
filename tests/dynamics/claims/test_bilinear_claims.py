"""The bilinear gate's claims come out proved, and wrong variants of them refuted, each witness checked otherwise."""

from __future__ import annotations

import sys

import mpmath
import pytest
import sympy as sp

from dynamics.claims import bilinear
from dynamics.gates.bilinear import ENERGY, EXCESS, LOG_RATIO, SADDLE_ENERGY
from dynamics.gates.ode import RATE
from dynamics.numeric import compile_expressions
from dynamics.proofs.claim import Status


@pytest.mark.parametrize("factor", [sp.Rational(101, 100), sp.Rational(99, 100)], ids=["1% higher", "1% lower"])
def test_separatrix_moved_by_one_percent_is_refuted(factor):
    outcome = bilinear.inward_check(lambda sigma: factor * bilinear.branch(sigma))
    assert outcome.status is Status.REFUTED
    # Independently: the reduced flow of λ = 1/2, η = κ = r = 1 through the witness, in 40 digits, crosses the curve.
    with mpmath.workdps(40):
        energy = mpmath.mpf(outcome.witness["S"])
        start = (energy, curve(energy, factor))
        before, after = (gap(*runge_kutta(*start, step), factor) for step in (-1e-4, 1e-4))
    if "outwards" in outcome.scope:
        assert before < 0 < after
    else:
        assert after < 0 < before


@pytest.mark.parametrize("witness", [0.6, 1.3])
def test_the_true_separatrix_is_not_crossed(witness):
    """The same independent look at the right curve: crossed to fourth order only, i.e. not at all."""
    with mpmath.workdps(40):
        start = (mpmath.mpf(witness), curve(mpmath.mpf(witness), 1))
        moved = runge_kutta(*start, 1e-4)
        assert abs(gap(*moved, 1)) < 1e-18


def curve(energy, factor):
    """The separatrix times a factor, retyped on purpose: an independent check shares no code with what it checks."""
    height = mpmath.sqrt(energy - 1 - mpmath.log(energy))
    return mpmath.mpf(sp.Rational(factor).p) / sp.Rational(factor).q * (0.5 + mpmath.sign(1 - energy) * height)


def gap(energy, theta, factor):
    return theta - curve(energy, factor)


def runge_kutta(energy, theta, step):
    """One step of S' = 2(θ − 1/2)S, θ' = S − 1."""

    def field(x, y):
        return 2 * (y - mpmath.mpf("0.5")) * x, x - 1

    h = mpmath.mpf(step)
    a = field(energy, theta)
    b = field(energy + h / 2 * a[0], theta + h / 2 * a[1])
    c = field(energy + h / 2 * b[0], theta + h / 2 * b[1])
    d = field(energy + h * c[0], theta + h * c[1])
    return tuple(x + h / 6 * (p + 2 * q + 2 * s + t) for x, p, q, s, t in zip((energy, theta), a, b, c, d, strict=True))


def test_another_level_of_the_first_integral_is_refuted():
    """Its two halves obey V' = kV as well, but they do not meet at the saddle: the flow passes between them."""

    def shifted(sigma):
        return bilinear.SADDLE_THETA + sigma * sp.sqrt(
            bilinear.compiled_height().subs(bilinear.AT_SADDLE) + sp.Rational(1, 50)
        )

    assert bilinear.inward_check(shifted).status is not Status.PROVED
    assert bilinear.separatrix_check(bilinear.compiled_height() + sp.Rational(1, 50)).status is Status.REFUTED


@pytest.mark.parametrize(
    "check, wrong",
    [
        (bilinear.separatrix_check, bilinear.compiled_height() * sp.Rational(101, 100)),
        (bilinear.separatrix_check, bilinear.compiled_height().subs(ENERGY, ENERGY * sp.Rational(101, 100))),
        (bilinear.monotone.check, RATE * (ENERGY - SADDLE_ENERGY + SADDLE_ENERGY * sp.log(ENERGY / SADDLE_ENERGY))),
        (bilinear.monotone_balls.check, RATE * (ENERGY + SADDLE_ENERGY)),
    ],
)
def test_wrong_heights_are_refuted(check, wrong):
    outcome = check(wrong)
    assert outcome.status is Status.REFUTED
    assert outcome.witness


def test_ball_scan_refutes_a_moved_separatrix():
    """The curve stretched by 5% along S: the flow is no longer inwards on every level 0.01 to 10 below it."""

    def moved(sigma):
        return bilinear.branch(sigma).subs(ENERGY, ENERGY * sp.Rational(95, 100))

    outcome = bilinear.inward_balls.check(moved)
    assert outcome.status is Status.REFUTED
    with mpmath.workdps(30):  # independently, by differences: λ = η = κ = r = 1
        energy, depth = mpmath.mpf(outcome.witness["S"]), mpmath.mpf(outcome.witness["gap"])

        def level(x):
            y = x * mpmath.mpf("0.95")
            return 1 + (1 if energy < 1 else -1) * mpmath.sqrt(y - 1 - mpmath.log(y)) - depth

        theta = level(energy)
        step = mpmath.mpf(10) ** -8
        drift = (energy - 1) - mpmath.diff(level, energy, h=step) * 2 * (theta - 1) * energy
        assert drift > 0


@pytest.mark.parametrize("share", [sp.Rational(1, 100), -sp.Rational(1, 100)])
def test_a_compiled_height_that_is_not_its_expression_is_refuted(share):
    """S − S*, or the logarithm, a hundredth too large."""
    excess = EXCESS * (1 + share) if share > 0 else EXCESS
    logarithm = LOG_RATIO * (1 - share) if share < 0 else LOG_RATIO
    wrong = compile_expressions([EXCESS, SADDLE_ENERGY, LOG_RATIO, RATE], [RATE * (excess - SADDLE_ENERGY * logarithm)])
    outcome = bilinear.inward_balls.check(bilinear.branch, wrong)
    assert outcome.status is Status.REFUTED and "found" in outcome.witness


def test_missing_python_flint_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    scans = [item for item in bilinear.CLAIMS if item.method == "branch and bound"]
    assert scans
    for item in scans:
        with pytest.raises(ModuleNotFoundError, match=r"python-flint: pip install -e '\.\[proof\]' in the clone"):
            item.check()
