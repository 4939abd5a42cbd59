"""The noise bound of certificates: what it is made of, in the tracker, in stored histories and as a rule."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics import LinearGate
from dynamics.noise import escape_probability
from tests.support.tracked_run import tracked
from training.certificates.fates import first_step
from training.certificates.noise_bound import escape_bound
from training.certificates.rules import rule
from training.errors import InputError
from training.evidence.noise_table import escape_at, escape_flags

CONSTANTS = {"decay": 0.5, "rate": 1.0}
RUN = tracked(3, 1.0)


def bound(rho, theta, error, parent=(-1,), cost=0.5, coupling=1.0, **changed):
    state = {"rho": rho, "theta": theta, "error": error, "cost": cost, "coupling": coupling}
    arrays = {name: np.broadcast_to(np.array(value, float), (len(parent),)).copy() for name, value in state.items()}
    return escape_bound(**arrays, parent=np.array(parent), **(CONSTANTS | {"every": 4, "step": 0.01} | changed))


@given(st.floats(0.01, 0.6), st.floats(0.0, 0.4), st.floats(1e-3, 10), st.sampled_from([1, 4, 50]))
def test_one_step_s_noise_is_that_of_the_interval_times_the_root_of_its_steps(rho, theta, error, every):
    gate = LinearGate(**CONSTANTS, coupling=1.0, cost=0.5)
    sigma = error * every**0.5
    noise = {"sigma_theta": sigma, "sigma_rho": sigma / rho, "independent": False}
    expected = float(escape_probability(gate, rho, theta, step=0.01, **noise))
    assert bound(rho, theta, error, every=every)[0] == pytest.approx(expected, rel=1e-12)


@given(st.floats(0.05, 20), st.floats(0.1, 0.6), st.floats(0.01, 0.3), st.floats(0.03, 3.0))
def test_the_bound_written_plainly(rate, rho, theta, error):
    """At every rate: P ≤ exp(−φ²(a² − 1)/(2h²σ²)) with σ = rσ_θ + |s|σ_θ/ρ, both noises being the same samples'."""
    every, h, decay, coupling, cost = 4, 0.01, CONSTANTS["decay"], 1.0, 0.5
    slope = (math.sqrt(decay**2 + 4 * rate * coupling**2) - decay) / (2 * coupling)  # |s|
    phi = theta - decay * cost / coupling**2 + slope * (rho - cost / coupling)
    sigma_theta = error * math.sqrt(every)
    sigma = rate * sigma_theta + slope * sigma_theta / rho
    growth = (1 + h * coupling * slope) ** 2 - 1
    expected = math.exp(-(phi**2) * growth / (2 * h**2 * sigma**2)) if phi < 0 else 1.0
    assert bound(rho, theta, error, rate=rate)[0] == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_nothing_is_bounded_that_is_not_certified_or_not_measured():
    assert bound(2.0, 0.9, 0.1)[0] == 1 and bound(0.3, 0.1, 0.1)[0] < 1e-3
    for changed in ({"error": np.nan}, {"coupling": np.inf}, {"coupling": np.nan}, {"rho": 0.0}):
        assert bound(**({"rho": 0.3, "theta": 0.1, "error": 0.1} | changed))[0] == 1


def test_a_unit_feels_its_noise_through_its_branch_and_has_its_branch_s_bound():
    """Gate 0 is a unit of the branch of gate 1, which is not certified, and then is."""
    unit = {"rho": [0.3, 2.0], "error": [2.0, 2.0], "parent": (1, -1)}
    alone = bound(0.3, 0.1, 2.0)[0]
    half = bound(theta=[0.1, 0.5], **unit)
    assert half[0] == pytest.approx(bound(0.3, 0.1, 1.0)[0]) and half[0] < alone and half[1] == 1
    branch = bound([2.0, 0.3], [0.9, 0.0], [2.0, 0.05], (1, -1))
    assert branch[0] == branch[1] < 1e-3
    free = bound([2.0, 0.3], [0.9, 0.0], [2.0, 0.05], (1, -1), cost=[0.0, 0.5])
    assert free[0] == 1, "without a price a unit does not go with its branch"


def test_a_stored_history_gives_what_the_tracker_recorded():
    recorded = RUN.history.escape.values
    assert (recorded < 1).any() and (recorded == 1).any()
    np.testing.assert_allclose(escape_at(RUN), recorded, rtol=1e-9)


def test_flags_are_those_of_the_rule_and_the_certificate_s_without_noise():
    risks = (1.0, 0.5, 1e-3)
    steps = RUN.history.step.values
    expected = [first_step(steps, rule(f"half-plane, escape ≤ {risk:g}").flags(RUN.history)) for risk in risks]
    np.testing.assert_array_equal(escape_flags(RUN, risks), expected)
    np.testing.assert_array_equal(expected[0], first_step(steps, rule("half-plane").flags(RUN.history)))
    strict = rule("half-plane, escape ≤ 1e-9").flags(RUN.history)
    assert (strict != rule("half-plane").flags(RUN.history)).any() and strict.any()


@pytest.mark.parametrize("name", ["θ < 2", "θ < 0", "half-plane, escape ≤ 0", "half-plane, escape <= 1.5"])
def test_levels_that_make_no_sense_are_refused(name):
    with pytest.raises(InputError, match=r"must be in \(0, 1\]"):
        rule(name)


@pytest.mark.parametrize("name", ["θ < ", "θ < nan", "half-plane, escape", "escape ≤ 0.1", "θ <= 0.1", "θ < 1e", ""])
def test_what_is_no_rule_is_refused_with_the_list_of_rules(name):
    with pytest.raises(InputError, match=r"bilinear.*escape"):
        rule(name)
    assert rule("θ < .25").name == "θ < 0.25"
