"""The branch-and-bound engine on inequalities whose truth is known, and the steps of symbolic proofs."""

from __future__ import annotations

import math
from fractions import Fraction

import flint
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.proofs import steps
from dynamics.proofs.boxes import Axis, all_positive, balls, centred, joined, prove_positive
from dynamics.proofs.claim import Status, held, proved

X, Y = sp.symbols("x y", real=True)
WIDE = Axis(-1.0, 1.0, log=False)


@pytest.mark.parametrize("evaluator", [balls, centred])
def test_true_inequality_is_proved_with_a_bound(evaluator):
    outcome = prove_positive(evaluator(X**2 - X * Y + Y**2 + sp.Rational(1, 10)), {"x": WIDE, "y": WIDE})
    assert outcome.status is Status.PROVED
    assert 0 < outcome.margin <= 0.1
    assert outcome.cases >= 1
    assert "x in [-1, 1]" in outcome.scope


def test_logarithmic_axis_with_logarithm():
    outcome = prove_positive(balls(X - sp.log(X) - sp.Rational(99, 100)), {"x": Axis(1e-3, 1e3)})
    assert outcome.status is Status.PROVED
    assert 0 < outcome.margin <= 0.01


def test_false_inequality_is_refuted_by_an_exact_witness():
    outcome = prove_positive(balls(X**2 + Y - sp.Rational(1, 4)), {"x": WIDE, "y": Axis(0.1, 1.0)})
    assert outcome.status is Status.REFUTED
    x, y = Fraction(outcome.witness["x"]), Fraction(outcome.witness["y"])
    assert -1 <= x <= 1 and Fraction(0.1) <= y <= 1
    assert x**2 + y - Fraction(1, 4) <= 0
    assert float(x**2 + y - Fraction(1, 4)) <= outcome.margin <= 0 or math.isclose(
        float(x**2 + y - Fraction(1, 4)), outcome.margin
    )


def test_small_violation_is_found():
    outcome = prove_positive(balls((X - sp.Rational(1, 3)) ** 2 - sp.Rational(1, 10**10)), {"x": WIDE}, budget=500)
    assert outcome.status is Status.REFUTED
    assert (Fraction(outcome.witness["x"]) - Fraction(1, 3)) ** 2 <= Fraction(1, 10**10)


def test_equality_at_a_float_refutes_a_strict_inequality():
    outcome = prove_positive(balls(X**2), {"x": WIDE})
    assert outcome.status is Status.REFUTED
    assert outcome.witness == {"x": 0.0}


@pytest.mark.parametrize("budget, why", [(30, "left open after 30"), (1000, "resolution of floats")])
def test_equality_out_of_reach_stays_undecided(budget, why):
    # 1/3 is no float: its neighbourhood can neither be proved nor refuted, whatever the budget.
    outcome = prove_positive(balls((X - sp.Rational(1, 3)) ** 2), {"x": WIDE}, budget=budget)
    assert outcome.status is Status.UNDECIDED
    assert 1 <= outcome.cases <= budget
    assert why in outcome.scope


def test_resolution_of_floats_ends_the_search():
    outcome = prove_positive(balls(X - X), {"x": Axis(1.0, math.nextafter(1.0, 2))})
    assert outcome.status is Status.REFUTED  # 0 is not positive
    nothing = prove_positive(lambda values: flint.arb("nan"), {"x": Axis(1.0, math.nextafter(1.0, 2))})
    assert nothing.status is Status.UNDECIDED
    assert "resolution" in nothing.scope


def test_undefined_values_are_never_proved():
    outcome = prove_positive(balls(sp.log(X) ** 2 + 1), {"x": Axis(-1.0, -0.5, log=False)}, budget=50)
    assert outcome.status is Status.UNDECIDED


def test_nothing_to_check_is_an_error():
    with pytest.raises(ValueError, match="no axes"):
        prove_positive(balls(X), {})
    with pytest.raises(ValueError, match="budget must be ≥ 1; got 0"):
        prove_positive(balls(X), {"x": WIDE}, budget=0)
    with pytest.raises(ValueError, match="nothing to check"):
        all_positive({}, {"x": WIDE})
    with pytest.raises(ValueError, match="no outcomes"):
        joined()


@pytest.mark.parametrize("low, high, log", [(1, 0, False), (math.nan, 1, False), (0, math.inf, False), (0, 1, True)])
def test_bad_axis(low, high, log):
    with pytest.raises(ValueError, match="axis must be"):
        Axis(low, high, log)


def test_unknown_function_is_refused():
    with pytest.raises(TypeError, match="no ball arithmetic for sin"):
        balls(sp.sin(X))


def test_joined_takes_the_weakest():
    both = joined(proved("a", cases=2, margin=0.5), proved("b", cases=3, margin=0.25))
    assert (both.cases, both.margin, both.scope) == (5, 0.25, "a | b")
    assert joined(proved("a", cases=2, margin=0.5), held("b", cases=1)).status is Status.HELD


ends = st.floats(1e-3, 1e3)


@settings(max_examples=80, deadline=None)
@given(a=ends, b=ends, log=st.booleans())
def test_halves_cover_without_a_gap(a, b, log):
    axis = Axis(min(a, b), max(a, b), log)
    left, right = axis.halves()
    assert (left.low, right.high) == (axis.low, axis.high)
    assert left.high == right.low == axis.middle
    assert axis.low <= axis.middle <= axis.high


@settings(max_examples=80, deadline=None)
@given(a=ends, b=ends, share=st.fractions(0, 1))
def test_enclosures_contain_the_exact_values(a, b, share):
    """Interval and mean-value form, against exact rationals at a point of the interval."""
    low, high = Fraction(min(a, b)), Fraction(max(a, b))
    x = low + share * (high - low)
    expression = X**3 - 7 * X / 3 + 1 / (X + 2) - X * (X - 1)
    exact = x**3 - 7 * x / 3 + 1 / (x + 2) - x * (x - 1)
    ball = flint.arb(float(low)).union(flint.arb(float(high)))
    for evaluator in (balls, centred):
        assert evaluator(expression)({"x": ball}).contains(flint.fmpq(exact.numerator, exact.denominator))


@settings(max_examples=60, deadline=None)
@given(p=st.integers(-20, 20), q=st.integers(-20, 20))
def test_verdicts_are_never_wrong(p, q):
    """x² + px + q on [−3, 3] against its exact minimum."""
    vertex = max(-3, min(3, Fraction(-p, 2)))
    minimum = vertex**2 + p * vertex + q
    outcome = prove_positive(balls(X**2 + p * X + q), {"x": Axis(-3.0, 3.0, log=False)}, budget=400)
    if outcome.status is Status.PROVED:
        assert outcome.margin <= minimum and minimum > 0
    elif outcome.status is Status.REFUTED:
        assert minimum <= 0
    else:
        assert minimum == 0  # only an equality is undecidable here


U = sp.Symbol("u", positive=True)
V = sp.Symbol("v", positive=True)


def test_steps_prove_refute_and_leave_open():
    assert steps.prove(steps.nonnegative("square", U**2 - 2 * U * V + V**2, (U - V) ** 2)).status is Status.PROVED
    not_strict = steps.prove(steps.positive("square", U**2 - 2 * U * V + V**2, (U - V) ** 2))
    assert not_strict.status is Status.UNDECIDED  # zero at u = v
    assert steps.prove(steps.positive("u(u+v)", U**2 + U * V, U * (U + V))).status is Status.PROVED
    wrong = steps.prove(steps.equal("binomial", (U + V) ** 2, U**2 + V**2))
    assert wrong.status is Status.REFUTED
    u, v = Fraction(wrong.witness["u"]), Fraction(wrong.witness["v"])
    assert (u + v) ** 2 != u**2 + v**2
    wrong_sign = steps.prove(steps.negative("u − 1", U - 2, U - 2), steps.positive("−u", -U, -U))
    assert wrong_sign.status is Status.REFUTED
    assert Fraction(wrong_sign.witness["u"]) > 0
    open_sign = steps.prove(steps.positive("u − v + 1", U - V + 1, U - V + 1))
    assert open_sign.status is Status.UNDECIDED  # true on (0, 1)², where the trials lie, but not everywhere
    with pytest.raises(ValueError, match="at least one step"):
        steps.prove()
