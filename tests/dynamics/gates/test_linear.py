"""Laws of the linear gate, for both backends and dtypes, against 60-digit evaluations of the derived expressions."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dynamics import LinearGate
from dynamics.gates.linear import LINEAR, RHO, separatrix_slope
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from tests.support.any_gate import BACKENDS, DIGITS, close, magnitudes, number, thetas

PARAMETERS = [DECAY, COUPLING, COST, RATE]
PHI = (THETA - LINEAR.saddle[1]) - separatrix_slope() * (RHO - LINEAR.saddle[0])
exact_phi = sp.lambdify([RHO, THETA, *PARAMETERS], PHI, "mpmath")
exact_saddle = sp.lambdify(PARAMETERS, LINEAR.saddle, "mpmath")
exact_slope = sp.lambdify(PARAMETERS, separatrix_slope(), "mpmath")
exact_field = sp.lambdify([RHO, THETA, *PARAMETERS], LINEAR.field, "mpmath")

fast = settings(max_examples=40, deadline=None)
few = settings(max_examples=15, deadline=None)  # headroom: 66 margins each

moderate = st.tuples(
    magnitudes(1e-10, 10, zero=True), magnitudes(1e-5, 1e3), magnitudes(1e-10, 10), magnitudes(1e-4, 1e4)
)
extreme = st.tuples(
    magnitudes(1e-200, 10, zero=True), magnitudes(1e-60, 1e30), magnitudes(1e-200, 10), magnitudes(1e-4, 1e4)
)
states = st.tuples(magnitudes(1e-12, 1e6, zero=True), thetas)


def gate(parameters):
    names = ("decay", "coupling", "cost", "rate")
    return LinearGate(**dict(zip(names, parameters, strict=True)))


def exact_margin(parameters, state):
    """(margin, scale of its terms), by the unscaled φ of the derivation."""
    with mpmath.workdps(DIGITS + 400):
        given_ = [mpmath.mpf(x) for x in parameters]
        rho, theta = map(mpmath.mpf, state)
        phi = exact_phi(rho, theta, *given_)
        rho_star, theta_star = exact_saddle(*given_)
        slope = -exact_slope(*given_)
        scale = theta + theta_star + slope * (rho + rho_star)
        return (min(phi, 1 - theta_star) if theta_star > 1 else phi), scale


def away_from_switch(parameters):
    decay, coupling, cost, _ = map(mpmath.mpf, parameters)
    return abs(decay * cost / coupling**2 - 1) > 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
@fast
@given(parameters=moderate, state=states)
def test_margin_is_exact_to_rounding(backend, parameters, state):
    make, tolerance = BACKENDS[backend]
    assume(away_from_switch(parameters))
    margin = gate(parameters).margin(*map(make, state))
    assert margin.dtype == make(0.0).dtype
    exact, scale = exact_margin(parameters, state)
    assert close(number(margin), exact, scale, tolerance)
    if abs(exact) > tolerance * scale:
        assert bool(gate(parameters).certified(*map(make, state))) == (exact < 0)


@pytest.mark.parametrize("backend", ["numpy float64", "torch float64"])
@fast
@given(parameters=extreme, state=states)
def test_margin_at_extreme_constants(backend, parameters, state):
    make, tolerance = BACKENDS[backend]
    assume(away_from_switch(parameters))
    exact, scale = exact_margin(parameters, state)
    assert close(number(gate(parameters).margin(*map(make, state))), exact, scale, tolerance)


@few
@given(parameters=moderate, state=states)
def test_backends_agree(parameters, state):
    ours = gate(parameters)
    tensors = [torch.tensor(x, dtype=torch.float64) for x in state]
    _, scale = exact_margin(parameters, state)
    assert abs(number(ours.margin(*state)) - number(ours.margin(*tensors))) <= 1e-13 * scale
    for a, b in zip(ours.field(*state), ours.field(*tensors), strict=True):
        assert number(a) == pytest.approx(number(b), rel=1e-13)
    assert number(ours.headroom(*state)) == pytest.approx(number(ours.headroom(*tensors)), rel=1e-9)


def headroom_by_root(parameters, state):
    """The m at which θ + ρ√(rμ/(μ+λ)) = rκ/μ, through η² = μ(μ+λ)/r; at least the one with θ* = 1."""
    with mpmath.workdps(DIGITS):
        decay, coupling, cost, rate = map(mpmath.mpf, parameters)
        rho, theta = map(mpmath.mpf, state)

        def phi(log_mu):
            mu = mpmath.exp(log_mu)
            return theta + rho * mpmath.sqrt(rate * mu / (mu + decay)) - rate * cost / mu

        low, high = mpmath.mpf(-2000), mpmath.mpf(2000)
        assert phi(low) < 0 < phi(high)
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if phi(middle) < 0 else (low, middle)
        mu = mpmath.exp(low)
        return max(mpmath.sqrt(mu * (mu + decay) / rate), mpmath.sqrt(decay * cost)) / coupling


@few
@given(parameters=moderate, state=states)
def test_headroom_is_the_root(parameters, state):
    assume(state != (0.0, 0.0))
    exact = headroom_by_root(parameters, state)
    assume(2.0**-60 < exact < 2.0**60)
    assert number(gate(parameters).headroom(*state)) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@few
@given(parameters=moderate, state=states)
def test_certified_just_below_the_headroom_and_not_above(backend, parameters, state):
    make, _ = BACKENDS[backend]
    assume(state != (0.0, 0.0))
    state = tuple(map(make, state))
    ours = gate(parameters)
    headroom = number(ours.headroom(*state))
    assume(1e-15 < headroom < 1e15)
    assert bool(ours.with_coupling(0.999 * headroom * parameters[1]).certified(*state))
    assert not bool(ours.with_coupling(1.001 * headroom * parameters[1]).certified(*state))
    assume(abs(headroom - 1) > 1e-3)
    assert bool(ours.certified(*state)) == (headroom > 1)


def test_headroom_at_rest_without_pull_and_without_price():
    assert gate((0.1, 1.0, 0.5, 1.0)).headroom(0.0, 0.0) == np.inf
    assert gate((0.1, 0.0, 0.5, 1.0)).headroom(3.0, 1.0) == np.inf
    assert gate((0.1, 1.0, 0.0, 1.0)).headroom(0.5, 0.5) == 0.0
    assert gate((0.1, np.inf, 0.5, 1.0)).headroom(0.5, 0.5) == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_equals_its_elements(backend):
    make, tolerance = BACKENDS[backend]
    rng = np.random.default_rng(0)
    parameters = [10.0 ** rng.uniform(-5, 1, (3, 1)) for _ in range(4)]
    rho, theta = 10.0 ** rng.uniform(-3, 2, 5), rng.uniform(0, 1, 5)
    batch = gate([make(p) for p in parameters])
    for name in ("margin", "certified", "headroom"):
        together = getattr(batch, name)(make(rho), make(theta))
        assert tuple(together.shape) == (3, 5)
        for i, j in np.ndindex(3, 5):
            alone = gate([make(p[i, 0]) for p in parameters])
            single = getattr(alone, name)(make(rho[j]), make(theta[j]))
            assert number(together[i, j]) == pytest.approx(number(single), rel=tolerance, abs=tolerance)
    together = batch.field(make(rho), make(theta))
    alone = gate([make(p[1, 0]) for p in parameters]).field(make(rho[2]), make(theta[2]))
    for a, b in zip(together, alone, strict=True):
        assert tuple(a.shape) == (3, 5)
        assert number(a[1, 2]) == pytest.approx(number(b), rel=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
@fast
@given(parameters=moderate, state=states)
def test_field_is_the_projection_of_the_smooth_one(backend, parameters, state):
    """The limit of (P(x + hf) − x)/h: here the clipped step over h, for one small h."""
    make, tolerance = BACKENDS[backend]
    rho_dot, theta_dot = map(number, gate(parameters).field(*map(make, state)))
    exact = [float(f) for f in exact_field(*map(mpmath.mpf, (*state, *parameters)))]
    decay, coupling, cost, rate = parameters
    rho, theta = state
    assert abs(rho_dot - exact[0]) <= tolerance * (coupling * theta + decay * rho) + 1e-37
    step = 1e-3 / (1 + abs(exact[1]))
    limit = 0.0 if (theta + step * exact[1] < 0 and theta == 0) or (theta == 1 and exact[1] > 0) else exact[1]
    assert abs(theta_dot - limit) <= tolerance * rate * (coupling * rho + cost) + 1e-37


@fast
@given(parameters=moderate)
def test_saddle_is_an_equilibrium_with_one_eigenvalue_of_each_sign(parameters):
    ours = gate(parameters)
    rho, theta = map(number, ours.saddle)
    stable, unstable = map(number, ours.eigenvalues)
    assert stable < 0 < unstable
    decay, coupling, cost, rate = parameters
    assert stable + unstable == pytest.approx(-decay, rel=1e-9, abs=1e-9 * unstable)
    assert stable * unstable == pytest.approx(-rate * coupling**2, rel=1e-9)
    assume(theta <= 1)
    rho_dot, theta_dot = map(number, ours.field(rho, theta))
    assert abs(rho_dot) <= 1e-12 * decay * rho
    assert abs(theta_dot) <= 1e-12 * rate * cost


@fast
@given(parameters=moderate, shares=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)))
def test_the_box_is_certified(parameters, shares):
    ours = gate(parameters)
    rho, theta = (number(s) * share for s, share in zip(ours.saddle, shares, strict=True))
    assume(theta <= 1 and number(ours.saddle[1]) > 1e-300)
    if bool(ours.in_box(rho, theta)):
        assert bool(ours.certified(rho, theta))


@pytest.mark.parametrize("backend", BACKENDS)
@fast
@given(parameters=moderate, shares=st.tuples(*[st.sampled_from([0.0, 0.5, 0.99, 1.0, 1.01, 2.0])] * 2))
def test_the_box_is_bounded_in_both_directions(backend, parameters, shares):
    """A state is in the box exactly where both coordinates are below the saddle's, whatever the other one is."""
    make, _ = BACKENDS[backend]
    ours = gate(parameters)
    state = [number(s) * share for s, share in zip(ours.saddle, shares, strict=True)]
    assume(state[1] <= 1 and number(ours.saddle[0]) < 1e30 and (number(ours.saddle[1]) > 1e-30 or parameters[0] == 0))
    below = all(share < 1 for share in shares) and parameters[0] > 0
    assert bool(ours.in_box(*map(make, state))) == below


good = {"decay": 0.1, "coupling": 1.0, "cost": 0.5, "rate": 1.0}


@pytest.mark.parametrize("name", good)
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, np.array([1.0, -2.0]), torch.tensor([1.0, float("nan")])])
def test_bad_constants_are_named(name, value):
    if name == "coupling" and np.isscalar(value) and value == np.inf:
        assert not LinearGate(**{**good, name: value}).certified(0.1, 0.1)  # no bound known
        return
    with pytest.raises(ValueError, match=rf"^{name} must be .*; got (-1.0|nan|inf|-2.0)$"):
        LinearGate(**{**good, name: value})


def test_rate_zero_is_refused():
    with pytest.raises(ValueError, match=r"^rate must be > 0; got 0.0$"):
        LinearGate(**{**good, "rate": 0.0})


@pytest.mark.parametrize("method", ["margin", "certified", "headroom", "field", "in_box"])
@pytest.mark.parametrize(
    "state, message",
    [
        ((-0.1, 0.5), r"^rho must be finite and ≥ 0; got -0.1$"),
        ((np.nan, 0.5), r"^rho must be finite and ≥ 0; got nan$"),
        ((np.inf, 0.5), r"^rho must be finite and ≥ 0; got inf$"),
        ((0.1, 1.5), r"^theta must be in \[0, 1\]; got 1.5$"),
        ((0.1, np.nan), r"^theta must be in \[0, 1\]; got nan$"),
        ((torch.ones(2), -torch.ones(2)), r"^theta must be in \[0, 1\]; got -1.0$"),
        ((np.ones(3), np.ones(2)), r"^shapes do not broadcast: .*rho \(3,\), theta \(2,\)$"),
    ],
)
def test_bad_states_are_named(method, state, message):
    with pytest.raises(ValueError, match=message):
        getattr(LinearGate(**good), method)(*state)
