"""The flattening hyper-prior, and the cost it stands for."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from dynamics.claims import hyperprior as claims
from dynamics.models import hyperprior
from dynamics.models.hyperprior import GAMMA, PI, THETA, cost_from_gamma, gamma_from_cost, log_gamma_from_cost
from dynamics.proofs.claim import Status

COSTS = st.floats(0, 1e-2, allow_subnormal=False)
SAMPLES = st.integers(1, 50_000)
OPTIMAL = sp.lambdify([THETA, GAMMA], hyperprior.optimal_pi())
OBJECTIVE = sp.lambdify([PI, THETA, GAMMA], hyperprior.prior_objective())


def test_a_wrong_slope_is_refuted():
    slope = sp.diff(hyperprior.minimised_objective(), THETA)
    assert claims.check_vanishes(slope + sp.log(GAMMA)).status == Status.PROVED
    for wrong in (slope - sp.log(GAMMA), slope + sp.log(GAMMA) + THETA, slope + 2 * sp.log(GAMMA)):
        outcome = claims.check_vanishes(wrong)
        assert outcome.status == Status.REFUTED and outcome.witness


def test_a_flat_prior_would_not_be_flat_in_theta(monkeypatch):
    """With the uniform hyper-prior π* = θ and nothing is charged; the claims then come out refuted."""
    monkeypatch.setattr(hyperprior, "density", lambda: sp.Integer(1))
    by_name = {claim.name: claim for claim in claims.CLAIMS}
    for name in (
        "hyperprior-normalised",
        "hyperprior-optimal-pi",
        "hyperprior-flat",
        "hyperprior-cost",
        "hyperprior-numeric",
    ):
        assert by_name[name].check().status == Status.REFUTED, name
    assert claims.numeric.check().status == Status.REFUTED


@pytest.mark.parametrize(
    ("gamma_of", "cost_of"),
    [
        (lambda cost, samples: hyperprior.gamma_from_cost(cost * 1.001, samples), hyperprior.cost_from_gamma),
        (lambda cost, samples: hyperprior.gamma_from_cost(cost, samples + 1), hyperprior.cost_from_gamma),
        (hyperprior.gamma_from_cost, lambda gamma, samples: 2 * hyperprior.cost_from_gamma(gamma, samples)),
        (  # inverse to one another, and wrong
            lambda cost, samples: hyperprior.gamma_from_cost(2 * cost, samples),
            lambda gamma, samples: hyperprior.cost_from_gamma(gamma, samples) / 2,
        ),
    ],
)
def test_wrong_exchanges_of_cost_and_gamma_are_refuted(gamma_of, cost_of):
    assert claims.check_exchange(gamma_of, cost_of).status == Status.REFUTED


def test_an_unnormalised_density_is_refuted(monkeypatch):
    monkeypatch.setattr(hyperprior, "density", lambda: 1 / (GAMMA + (1 - GAMMA) * PI))
    assert claims.normalised.check().status == Status.REFUTED


@pytest.mark.parametrize("gamma", [1e-6, 0.1, 0.999, 1.001, 40.0])
def test_density_is_positive_with_mass_one(gamma):
    density = sp.lambdify(PI, hyperprior.density().subs(GAMMA, gamma))
    assert min(density(pi) for pi in np.linspace(0, 1, 101)) > 0
    assert quad(density, 0, 1, points=[min(gamma, 0.5)], limit=200)[0] == pytest.approx(1, rel=1e-7)


@given(st.floats(0.01, 0.99), st.floats(1e-4, 50).filter(lambda g: abs(g - 1) > 1e-3))
@settings(max_examples=50, deadline=None)
def test_optimal_pi_beats_its_neighbours(theta, gamma):
    best = OPTIMAL(theta, gamma)
    assert 0 < best < 1
    for other in (best * 0.99, best + (1 - best) * 0.01):
        assert OBJECTIVE(best, theta, gamma) <= OBJECTIVE(other, theta, gamma)


@given(COSTS, SAMPLES)
@settings(deadline=None)
def test_cost_and_gamma_round_trip(cost, samples):
    gamma = gamma_from_cost(cost, samples)
    assert isinstance(gamma, float) and gamma == pytest.approx(math.exp(-samples * cost), rel=1e-12)
    assert cost_from_gamma(gamma, samples) == pytest.approx(cost, rel=1e-9, abs=1e-15)
    assert log_gamma_from_cost(cost, samples) == -samples * cost


@given(st.lists(COSTS, min_size=2, max_size=2, unique=True).map(sorted), SAMPLES)
@settings(deadline=None)
def test_a_dearer_gate_has_the_smaller_gamma(costs, samples):
    low, high = costs
    assert gamma_from_cost(high, samples) <= gamma_from_cost(low, samples) <= 1


def test_free_gates():
    assert gamma_from_cost(0, 10) == 1.0
    assert math.copysign(1, cost_from_gamma(1, 10)) == 1 == math.copysign(1, log_gamma_from_cost(0.0, 10))


def test_gamma_that_underflows_keeps_its_logarithm():
    assert gamma_from_cost(0.1, 50_000) == 0.0
    assert log_gamma_from_cost(0.1, 50_000) == -5000.0


def test_arrays_and_tensors_have_one_entry_a_gate():
    costs = np.array([0.0, 1e-3, 2e-3])
    for function in (gamma_from_cost, log_gamma_from_cost):
        one_by_one = [function(float(cost), 100) for cost in costs]
        np.testing.assert_allclose(function(costs, 100), one_by_one, rtol=1e-15)
        found = function(torch.tensor(costs, dtype=torch.float32), 100)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), one_by_one, rtol=1e-6)
    np.testing.assert_allclose(cost_from_gamma(gamma_from_cost(costs, 100), 100), costs, atol=1e-15)


@pytest.mark.parametrize(
    ("function", "value", "samples", "message"),
    [
        (gamma_from_cost, -1e-9, 10, "cost must be ≥ 0 and finite; got -1e-09"),
        (gamma_from_cost, math.nan, 10, "cost must be ≥ 0 and finite; got nan"),
        (gamma_from_cost, math.inf, 10, "cost must be ≥ 0 and finite; got inf"),
        (log_gamma_from_cost, np.array([0.1, -2.0]), 10, "cost must be ≥ 0 and finite; got -2.0"),
        (gamma_from_cost, 0.1, 0, "samples must be an integer ≥ 1; got 0"),
        (gamma_from_cost, 0.1, 1.5, "samples must be an integer ≥ 1; got 1.5"),
        (gamma_from_cost, 0.1, math.nan, "samples must be an integer ≥ 1; got nan"),
        (gamma_from_cost, 0.1, True, "samples must be an integer ≥ 1; got True"),
        (cost_from_gamma, 0.0, 10, r"gamma must be in \(0, 1\]; got 0.0"),
        (cost_from_gamma, 1.5, 10, r"gamma must be in \(0, 1\]; got 1.5"),
        (cost_from_gamma, math.nan, 10, r"gamma must be in \(0, 1\]; got nan"),
        (cost_from_gamma, 0.5, -3, "samples must be an integer ≥ 1; got -3"),
    ],
)
def test_bad_input_is_refused_in_one_line(function, value, samples, message):
    with pytest.raises(ValueError, match=message) as raised:
        function(value, samples)
    assert "\n" not in str(raised.value)
