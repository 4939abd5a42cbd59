"""The expected objective is affine in each gate; plugging the mean gates into the loss is not the same thing."""

import itertools

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.claims import objective as claims
from dynamics.gates.ode import DECAY
from dynamics.models import objective
from dynamics.models.objective import GatedResidualNet, conditional, difference, expectation, gate_symbols, loss_table
from dynamics.proofs.claim import Status


def doubled(loss, theta):
    """Wrong: every gate squared in its probability."""
    return expectation(loss, [t**2 for t in theta])


def unequal(loss, theta):
    """Wrong: a probability that is no product, P(ξ_0 = 1) = θ_0 + θ_0(1−θ_0)/2."""
    return expectation(loss, [theta[0] + theta[0] * (1 - theta[0]) / 2, *theta[1:]])


def test_mean_gates_in_the_loss_are_refuted():
    """ℓ(E ξ) in place of E ℓ(ξ), the usual relaxation, is neither affine nor a mean of vertices."""
    net = GatedResidualNet(units=2, samples=1)
    relaxed = net.loss(net.theta)
    for check in (claims.check_affine, claims.check_mixture, claims.check_constant_lines):
        outcome = check(relaxed, net.theta, "relaxed")
        assert outcome.status == Status.REFUTED and outcome.witness


@pytest.mark.parametrize("wrong", [doubled, unequal])
def test_wrong_expectations_are_refuted(wrong):
    theta = gate_symbols(2)
    assert claims.check_affine(wrong(loss_table(2), theta), theta, "wrong").status == Status.REFUTED
    assert claims.check_difference(wrong).status == Status.REFUTED
    assert claims.check_total(wrong).status == Status.REFUTED


def test_exchanged_sides_are_refuted():
    def crossed(loss, theta, gate, value):
        return conditional(loss, theta, gate, 1 - value)

    def mirrored(loss, theta):
        return expectation(loss, [1 - t for t in theta])

    assert claims.check_total(expectation, crossed).status == Status.REFUTED
    assert claims.check_deterministic(mirrored).status == Status.REFUTED


def test_a_value_below_every_vertex_is_refuted():
    outcome = claims.check_vertices(lambda loss, theta: expectation(loss, theta) - sum(t * (1 - t) for t in theta))
    assert outcome.status == Status.REFUTED and outcome.witness["below the best vertex by"] > 0


@given(st.integers(1, 4), st.data())
@settings(max_examples=30, deadline=None)
def test_expectation_is_the_sampled_mean(gates, data):
    """Against probabilities multiplied by hand with floats."""
    losses = data.draw(st.lists(st.floats(-5, 5), min_size=2**gates, max_size=2**gates))
    theta = data.draw(st.lists(st.floats(0, 1), min_size=gates, max_size=gates))
    table = dict(zip(itertools.product((0, 1), repeat=gates), losses, strict=True))
    by_hand = sum(
        value * np.prod([t if x else 1 - t for x, t in zip(xi, theta, strict=True)]) for xi, value in table.items()
    )
    assert float(expectation(table.__getitem__, theta)) == pytest.approx(by_hand, abs=1e-12)


@given(st.integers(1, 4), st.data())
@settings(max_examples=15, deadline=None)
def test_expectation_splits_by_any_gate(gates, data):
    theta, loss, g = gate_symbols(gates), loss_table(gates), data.draw(st.integers(0, gates - 1))
    without = conditional(loss, theta, g, 0)
    assert sp.expand(expectation(loss, theta) - without - theta[g] * difference(loss, theta, g)) == 0
    assert sp.expand(without - expectation(loss, theta).subs(theta[g], 0)) == 0


def test_a_constant_has_itself_as_mean_and_no_gates_are_allowed():
    assert sp.expand(expectation(lambda xi: sp.Integer(7), gate_symbols(3))) == 7
    assert expectation(lambda xi: sp.Integer(7), ()) == 7


def test_net_adds_decay_and_pressure_to_the_loss():
    net = GatedResidualNet(units=1, samples=1)
    theta_unit, theta_layer = net.theta
    (x,), (y,), (u,), (v,) = net.inputs, net.targets, net.fan_in, net.fan_out
    open_loss, shut_loss = (y - x - v * sp.tanh(u * x)) ** 2 / 2, (y - x) ** 2 / 2
    both = theta_unit * theta_layer
    # One unit, one branch, no parameters but the pairs': each gate carries the whole complexity.
    price = objective.NU * ((1 - objective.ALPHA) * theta_unit + objective.ALPHA * theta_layer)
    by_hand = both * open_loss + (1 - both) * shut_loss + DECAY * (u**2 + v**2) / 2 + price
    assert sp.expand(net.objective() - by_hand) == 0


def test_an_interior_stationary_point_is_not_a_minimum():
    """ℓ = 1 where the two gates agree: J = 1 − θ0 − θ1 + 2 θ0 θ1 is stationary at (½, ½), a saddle."""
    theta = gate_symbols(2)
    value = expectation(lambda xi: sp.Integer(xi[0] == xi[1]), theta)
    middle = dict.fromkeys(theta, sp.Rational(1, 2))
    assert all(sp.diff(value, t).subs(middle) == 0 for t in theta)
    assert value.subs(dict(zip(theta, (0, 1), strict=True))) < value.subs(middle)
    assert sp.expand(value.subs({theta[1]: sp.Rational(1, 2)})) == value.subs(middle)  # constant along the line


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expectation(loss_table(1), gate_symbols(21)), "theta must have at most 20 gates .* got 21"),
        (lambda: conditional(loss_table(2), gate_symbols(2), 2, 1), "gate must be in 0 … 1; got 2"),
        (lambda: conditional(loss_table(2), gate_symbols(2), -1, 1), "gate must be in 0 … 1; got -1"),
        (lambda: conditional(loss_table(2), gate_symbols(2), 0, 2), "value must be 0 or 1; got 2"),
        (lambda: GatedResidualNet(units=0), "units must be ≥ 1; got 0"),
        (lambda: GatedResidualNet(samples=0), "samples must be ≥ 1; got 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_unit_that_acts_outside_its_branch_refutes_the_nested_claim():
    assert claims.check_nested().status == Status.PROVED
    outcome = claims.check_nested(unit_outside=True)
    assert outcome.status == Status.REFUTED and outcome.witness["remainder"] != "0"
