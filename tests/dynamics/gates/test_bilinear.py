"""Laws of the bilinear gate, for both backends and dtypes, against 60-digit evaluations of the derived expressions."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dynamics import BilinearGate
from dynamics.gates.bilinear import BILINEAR, ENERGY, RHO_IN, RHO_OUT, SADDLE_ENERGY, squared_height
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from tests.support.any_gate import BACKENDS, DIGITS, as_float32, close, magnitudes, number, thetas

# Logarithms apart: SymPy's simplified form S*^S*/S^S* rounds to 1 for small S*.
exact_squared = sp.lambdify([ENERGY, SADDLE_ENERGY, RATE], sp.expand_log(squared_height(), force=True), "mpmath")
exact_field = sp.lambdify([RHO_IN, RHO_OUT, THETA, DECAY, COUPLING, COST, RATE], BILINEAR.field, "mpmath")

fast = settings(max_examples=40, deadline=None)
few = settings(max_examples=15, deadline=None)  # headroom: 66 margins each

moderate = st.tuples(
    magnitudes(1e-10, 10, zero=True), magnitudes(1e-5, 1e3), magnitudes(1e-10, 10), magnitudes(1e-4, 1e4)
)
norms = st.one_of(magnitudes(1e-12, 1e6), magnitudes(1e-36, 1e18))
states = st.tuples(norms, norms, thetas)
extreme = st.tuples(
    magnitudes(1e-200, 10, zero=True), magnitudes(1e-60, 1e30), magnitudes(1e-200, 10), magnitudes(1e-4, 1e4)
)
far_states = st.tuples(magnitudes(1e-300, 1e150), magnitudes(1e-300, 1e150), thetas)


def gate(parameters):
    names = ("decay", "coupling", "cost", "rate")
    return BilinearGate(**dict(zip(names, parameters, strict=True)))


def exact_margin(parameters, state):
    """(margin, scale of its terms) from the squared height that the first integral gives."""
    with mpmath.workdps(DIGITS):
        decay, coupling, cost, rate = map(mpmath.mpf, parameters)
        rho_in, rho_out, theta = map(mpmath.mpf, state)
        if max(rho_in, rho_out) == 0:
            return -mpmath.inf, mpmath.mpf(1)
        energy, saddle = (rho_in**2 + rho_out**2) / 2, cost / coupling
        squared = exact_squared(energy, saddle, rate)
        assert squared > -(mpmath.mpf(10) ** -40) * rate * saddle
        height = mpmath.sign(saddle - energy) * mpmath.sqrt(abs(squared))
        theta_star = decay / coupling
        margin = theta - theta_star - height
        scale = theta + theta_star + abs(height) + mpmath.sqrt(rate * saddle)
        return (min(margin, 1 - theta_star) if theta_star > 1 else margin), scale


def away_from_switch(parameters):
    return abs(parameters[0] / parameters[1] - 1) > 1e-4


def f32(*values):
    return tuple(map(as_float32, values))


@pytest.mark.parametrize("backend", BACKENDS)
@fast
@given(parameters=moderate, state=states)
@example(parameters=f32(0.01, 1, 0.5, 1e4), state=f32(0.7072, 0.7071, 0.3))  # next to S*: cancellation
@example(parameters=f32(0.01, 1, 0.5, 1), state=f32(0.70710678, 0.70710678, 0.01))  # at S*
@example(parameters=f32(0.01, 1, 0.5, 1e-4), state=f32(1e-23, 1e-23, 0.9))  # S underflows in float32
@example(parameters=f32(0.001, 1, 0.5, 1), state=f32(1e20, 1e20, 0.0))  # S overflows in float32
@example(parameters=f32(0.001, 1, 1e-37, 1), state=f32(10, 10, 0.0))  # S/S* overflows in float32
def test_margin_is_exact_to_rounding(backend, parameters, state):
    make, tolerance = BACKENDS[backend]
    assume(away_from_switch(parameters))
    margin = gate(parameters).margin(*map(make, state))
    assert margin.dtype == make(0.0).dtype
    exact, scale = exact_margin(parameters, state)
    assert close(number(margin), exact, scale, tolerance)
    if abs(exact) > tolerance * scale:
        assert bool(gate(parameters).certified(*map(make, state))) == (exact < 0)


@pytest.mark.parametrize("backend", BACKENDS)
@fast
@given(parameters=moderate, offset=magnitudes(1e-6, 0.5), sign=st.sampled_from([-1, 1]), theta=thetas)
def test_margin_next_to_the_saddle(backend, parameters, offset, sign, theta):
    """S* (1 ± offset): here S − S* − S* ln(S/S*) loses all its digits when summed as it stands."""
    make, tolerance = BACKENDS[backend]
    assume(away_from_switch(parameters))
    rho = as_float32(float(np.sqrt(parameters[2] / parameters[1] * (1 + sign * offset))))
    exact, scale = exact_margin(parameters, (rho, rho, theta))
    assert close(number(gate(parameters).margin(make(rho), make(rho), make(theta))), exact, scale, tolerance)


@pytest.mark.parametrize("backend", ["numpy float64", "torch float64"])
@fast
@given(parameters=extreme, state=far_states)
@example(parameters=(0.01, 1.0, 0.5, 1e-4), state=(1e-170, 1e-170, 0.9))  # S underflows
@example(parameters=(0.01, 1.0, 0.5, 1e-4), state=(1e-300, 0.0, 0.5))
@example(parameters=(0.001, 1.0, 0.5, 1.0), state=(1e200, 1e200, 0.0))  # S overflows
@example(parameters=(0.001, 1.0, 1e-310, 1.0), state=(1.0, 1.0, 0.0))  # S/S* overflows
def test_margin_at_extremes(backend, parameters, state):
    make, tolerance = BACKENDS[backend]
    assume(away_from_switch(parameters))
    exact, scale = exact_margin(parameters, state)
    got = number(gate(parameters).margin(*map(make, state)))
    assert close(got, exact, scale, tolerance)


@fast
@given(parameters=moderate, state=states)
def test_backends_agree(parameters, state):
    ours = gate(parameters)
    tensors = [torch.tensor(x, dtype=torch.float64) for x in state]
    _, scale = exact_margin(parameters, state)
    assert abs(number(ours.margin(*state)) - number(ours.margin(*tensors))) <= 1e-12 * scale
    for a, b in zip(ours.field(*state), ours.field(*tensors), strict=True):
        assert number(a) == pytest.approx(number(b), rel=1e-13)


@fast
@given(parameters=moderate, state=states)
def test_only_the_energy_counts(parameters, state):
    rho_in, rho_out, theta = state
    ours = gate(parameters)
    assert number(ours.margin(rho_in, rho_out, theta)) == number(ours.margin(rho_out, rho_in, theta))


@pytest.mark.parametrize("backend", BACKENDS)
@few
@given(parameters=moderate, state=states)
def test_certified_just_below_the_headroom_and_not_above(backend, parameters, state):
    make, _ = BACKENDS[backend]
    state = tuple(map(make, state))
    ours = gate(parameters)
    headroom = number(ours.headroom(*state))
    assume(1e-15 < headroom < 1e15)
    assert bool(ours.with_coupling(0.999 * headroom * parameters[1]).certified(*state))
    assert not bool(ours.with_coupling(1.001 * headroom * parameters[1]).certified(*state))
    assume(abs(headroom - 1) > 1e-3)
    assert bool(ours.certified(*state)) == (headroom > 1)


def headroom_by_root(parameters, state):
    """The m with θ = θ_sep(S) at coupling mη, by bisection in 60 digits; at least the one with θ* = 1."""
    decay, coupling, cost, rate = parameters
    with mpmath.workdps(DIGITS):
        low, high = mpmath.mpf(-300), mpmath.mpf(300)
        for _ in range(100):
            middle = (low + high) / 2
            scaled = (decay, mpmath.mpf(coupling) * mpmath.exp(middle), cost, rate)
            margin, _ = exact_margin(scaled, state)
            low, high = (middle, high) if margin < 0 else (low, middle)
        return mpmath.exp(low)


@few
@given(parameters=moderate, state=st.tuples(magnitudes(1e-3, 1e3), magnitudes(1e-3, 1e3), thetas))
def test_headroom_is_the_root(parameters, state):
    exact = headroom_by_root(parameters, state)
    assume(2.0**-60 < exact < 2.0**60)
    assert number(gate(parameters).headroom(*state)) == pytest.approx(float(exact), rel=1e-8)


def test_headroom_without_weights_pull_or_price():
    assert gate((0.1, 1.0, 0.5, 1.0)).headroom(0.0, 0.0, 1.0) == np.inf
    assert gate((0.1, 0.0, 0.5, 1.0)).headroom(3.0, 1.0, 1.0) == np.inf
    assert gate((0.1, 1.0, 0.0, 1.0)).headroom(0.5, 0.5, 0.5) == 0.0
    assert gate((0.1, np.inf, 0.5, 1.0)).headroom(0.5, 0.5, 0.5) == 0.0


def test_small_weights_are_certified_whatever_theta():
    ours = gate((0.1, 1.0, 0.5, 1.0))
    assert bool(ours.certified(1e-3, 1e-3, 1.0))
    assert not bool(ours.certified(0.6, 0.6, 1.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_equals_its_elements(backend):
    make, tolerance = BACKENDS[backend]
    rng = np.random.default_rng(0)
    parameters = [10.0 ** rng.uniform(-5, 1, (3, 1)) for _ in range(4)]
    rho_in, rho_out, theta = 10.0 ** rng.uniform(-3, 2, 4), 10.0 ** rng.uniform(-3, 2, 4), rng.uniform(0, 1, 4)
    batch = gate([make(p) for p in parameters])
    for name in ("margin", "certified", "headroom"):
        together = getattr(batch, name)(make(rho_in), make(rho_out), make(theta))
        assert tuple(together.shape) == (3, 4)
        for i, j in np.ndindex(3, 4):
            alone = gate([make(p[i, 0]) for p in parameters])
            single = getattr(alone, name)(make(rho_in[j]), make(rho_out[j]), make(theta[j]))
            assert number(together[i, j]) == pytest.approx(number(single), rel=tolerance, abs=tolerance)
    together = batch.field(make(rho_in), make(rho_out), make(theta))
    alone = gate([make(p[1, 0]) for p in parameters])
    for a, b in zip(together, alone.field(make(rho_in[2]), make(rho_out[2]), make(theta[2])), strict=True):
        assert tuple(a.shape) == (3, 4)
        assert number(a[1, 2]) == pytest.approx(number(b), rel=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
@fast
@given(parameters=moderate, state=st.tuples(magnitudes(1e-6, 1e3), magnitudes(1e-6, 1e3), thetas))
def test_field_is_the_projection_of_the_smooth_one(backend, parameters, state):
    make, tolerance = BACKENDS[backend]
    decay, coupling, cost, rate = parameters
    rho_in, rho_out, theta = state
    got = [number(f) for f in gate(parameters).field(*map(make, state))]
    exact = [float(f) for f in exact_field(*map(mpmath.mpf, (*state, *parameters)))]
    assert abs(got[0] - exact[0]) <= tolerance * (coupling * theta * rho_out + decay * rho_in) + 1e-37
    assert abs(got[1] - exact[1]) <= tolerance * (coupling * theta * rho_in + decay * rho_out) + 1e-37
    stopped = (theta == 0 and exact[2] < 0) or (theta == 1 and exact[2] > 0)
    wanted = 0.0 if stopped else exact[2]
    assert abs(got[2] - wanted) <= tolerance * rate * (coupling * rho_in * rho_out + cost) + 1e-37


@fast
@given(parameters=moderate)
def test_saddle_is_an_equilibrium_with_one_unstable_direction(parameters):
    ours = gate(parameters)
    rho_in, rho_out, theta = map(number, ours.saddle)
    decay, coupling, cost, rate = parameters
    *stable, unstable = map(number, ours.eigenvalues)
    assert unstable == pytest.approx(float(np.sqrt(2 * rate * coupling * cost)), rel=1e-12)
    assert sorted(stable) == pytest.approx(sorted((-2 * decay, -unstable)), rel=1e-9)
    assume(theta <= 1)
    dots = [number(f) for f in ours.field(rho_in, rho_out, theta)]
    assert max(abs(dots[0]), abs(dots[1])) <= 1e-12 * decay * rho_in
    assert abs(dots[2]) <= 1e-12 * rate * cost


good = {"decay": 0.1, "coupling": 1.0, "cost": 0.5, "rate": 1.0}


@pytest.mark.parametrize("method", ["margin", "certified", "headroom", "field"])
@pytest.mark.parametrize(
    "state, message",
    [
        ((-0.1, 1.0, 0.5), r"^rho_in must be finite and ≥ 0; got -0.1$"),
        ((1.0, np.nan, 0.5), r"^rho_out must be finite and ≥ 0; got nan$"),
        ((1.0, torch.tensor(float("inf")), 0.5), r"^rho_out must be finite and ≥ 0; got inf$"),
        ((0.1, 0.1, 1.5), r"^theta must be in \[0, 1\]; got 1.5$"),
        ((np.ones(3), 1.0, np.ones(2)), r"^shapes do not broadcast: .*rho_in \(3,\), rho_out \(\), theta \(2,\)$"),
    ],
)
def test_bad_states_are_named(method, state, message):
    with pytest.raises(ValueError, match=message):
        getattr(BilinearGate(**good), method)(*state)


def test_a_missing_coordinate_is_named():
    with pytest.raises(TypeError, match=r"takes a state \(rho_in, rho_out, theta\); got 2 values"):
        BilinearGate(**good).margin(0.1, 0.5)
