"""Without a price (κ = 0) nothing moves θ down, so no gate of any kind may be certified, pulled or not."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamics import BilinearGate, GeneralGate, LinearGate
from dynamics.gates.ode import COUPLING
from dynamics.noise import escape_probability
from tests.support.any_gate import BACKENDS, magnitudes, number, thetas

RHO, IN, OUT = sp.symbols("rho rho_in rho_out")


def general(**constants):
    return GeneralGate(-COUPLING * RHO, (RHO,), **constants)


def product(**constants):
    return GeneralGate(-COUPLING * sp.log(1 + IN * OUT), (IN, OUT), **constants)


KINDS = {"linear": (LinearGate, 1), "bilinear": (BilinearGate, 2), "general": (general, 1), "product": (product, 2)}
couplings = st.one_of(st.sampled_from([0.0, -0.0, float("inf")]), magnitudes(1e-3, 1e3))
norms = magnitudes(1e-6, 1e3, zero=True)
#: (λ, η, r): κ is 0.
priceless = st.tuples(magnitudes(1e-3, 10, zero=True), couplings, magnitudes(1e-3, 1e3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=15)
@given(constants=priceless, state=st.tuples(norms, norms, thetas))
@example(constants=(0.1, 0.0, 1.0), state=(0.5, 0.5, 0.5))
@example(constants=(0.1, -0.0, 1.0), state=(0.0, 0.0, 0.0))
def test_without_a_price_nothing_is_certified(kind, backend, constants, state):
    make, count = KINDS[kind]
    decay, coupling, rate = constants
    gate = make(decay=decay, coupling=coupling, cost=0.0, rate=rate)
    at = [BACKENDS[backend][0](value) for value in (*state[:count], state[2])]
    assert not bool(gate.certified(*at)) and number(gate.margin(*at)) >= 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coupling", [0.0, -0.0, 0.7, float("inf")])
def test_without_a_price_there_is_no_headroom(kind, coupling):
    make, count = KINDS[kind]
    theta = np.array([0.0, 0.3, 1.0])
    gate = make(decay=0.1, coupling=coupling, cost=0.0, rate=1.0)
    for norm in (0.0, 0.5):
        assert (gate.headroom(*[np.full(3, norm)] * count, theta) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(decay=magnitudes(1e-3, 10, zero=True), state=st.tuples(norms, norms, thetas))
def test_without_price_and_pull_it_stays_where_it_is(kind, decay, state):
    """Why: with η = κ = 0 the field leaves every θ where it is, so a certificate would promise what cannot happen."""
    make, count = KINDS[kind]
    gate = make(decay=decay, coupling=0.0, cost=0.0, rate=1.0)
    *_, theta_dot = gate.field(*state[:count], state[2])
    assert float(theta_dot) == 0


@given(constants=priceless, rho=norms, theta=thetas)
def test_without_a_price_no_box_and_no_bound_on_escape(constants, rho, theta):
    decay, coupling, rate = constants
    gate = LinearGate(decay=decay, coupling=coupling, cost=0.0, rate=rate)
    assert not gate.in_box(rho, theta)
    assert escape_probability(gate, rho, theta, step=1e-3, sigma_rho=1e-6, sigma_theta=1e-6) == 1


def test_a_price_makes_the_difference():
    """The same gates with a price, however small, are certified where nothing pulls: the tests above are not empty."""
    for make, count in KINDS.values():
        assert make(decay=0.1, coupling=0.0, cost=1e-6, rate=1.0).certified(*[0.5] * count, 0.5)
