"""The projected flow against a slow reference, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics import BilinearGate, LinearGate
from dynamics.gates.general import GeneralGate, smooth_gate
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.exact_linear import solve
from dynamics.integrators.fate import Fate
from tests.support.reference_integrator import follow

LINEAR = {"decay": 1.0, "coupling": 2.0, "cost": 1.0, "rate": 1.0}
KINDS = (LinearGate, BilinearGate)
#: One of each kind of behaviour: plain, saddle above the strip, slow gate, fast gate, no decay, no cost, no pull.
CONSTANTS = [
    LINEAR,
    {"decay": 2.0, "coupling": 1.0, "cost": 1.0, "rate": 5.0},
    {"decay": 0.5, "coupling": 1.0, "cost": 0.4, "rate": 0.03},
    {"decay": 0.3, "coupling": 1.5, "cost": 0.4, "rate": 40.0},
    {"decay": 0.0, "coupling": 1.0, "cost": 0.5, "rate": 1.0},
    {"decay": 0.5, "coupling": 1.0, "cost": 0.0, "rate": 1.0},
    {"decay": 0.5, "coupling": 0.0, "cost": 0.5, "rate": 1.0},
]
positive = st.floats(0.01, 10)
constants = st.fixed_dictionaries(
    {"decay": positive, "coupling": positive, "cost": positive, "rate": st.floats(0.01, 100)}
)


def states(gate, count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = rng.uniform(0, 1, count)
    theta[::7], theta[1::7] = 0.0, 1.0
    return [*(rng.uniform(0, 2, count) for _ in gate.system.weights), theta]


def flat(flow) -> list[np.ndarray]:
    return [flow.outcome, flow.time, flow.steps, *flow.state]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", CONSTANTS, ids=lambda values: "-".join(f"{v:g}" for v in values.values()))
def test_agrees_with_the_reference(kind, values):
    gate = kind(**values)
    state = states(gate, 14)
    flow = integrate(gate, *state, horizon=60.0, rtol=1e-9, atol=1e-12)
    for i, start in enumerate(np.transpose(state)):
        end = follow(gate, start, 60.0, rtol=1e-11)
        if end.where == "zero":
            assert flow.outcome[i] == Fate.ZERO
            assert flow.time[i] == pytest.approx(end.time, rel=1e-6, abs=1e-7)
            np.testing.assert_allclose([part[i] for part in flow.state], end.state, rtol=1e-6, atol=1e-7)
        elif end.where == "one":
            assert flow.outcome[i] in (Fate.ALIVE, Fate.DIVERGED)
        elif flow.outcome[i] == Fate.UNDECIDED:
            np.testing.assert_allclose([part[i] for part in flow.state], end.state, rtol=1e-5, atol=1e-7)
        else:
            assert flow.outcome[i] in (Fate.ALIVE, Fate.DIVERGED)
            assert end.state[-1] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", CONSTANTS[:4])
def test_paths_agree_with_the_reference(kind, values):
    gate = kind(**values)
    state = states(gate, 7, seed=3)
    times = np.array([0.0, 0.3, 1.0, 2.5, 4.0])
    path = integrate(gate, *state, rtol=1e-9, atol=1e-12, times=times).path
    assert path is not None
    for i, start in enumerate(np.transpose(state)):
        for row, time in enumerate(times[1:], 1):
            expected = follow(gate, start, time, rtol=1e-11, settle=False).state
            np.testing.assert_allclose([part[row, i] for part in path], expected, rtol=2e-6, atol=1e-7)
        assert [part[0, i] for part in path] == list(start)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_does_not_depend_on_its_batch(kind):
    gate = kind(**LINEAR)
    state = states(gate, 5000)
    together = flat(integrate(gate, *state))
    for chosen in (slice(0, 1), slice(4095, 4099), slice(17, None, 613)):
        alone = flat(integrate(gate, *(part[chosen] for part in state), threads=1))
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b[chosen])
    backwards = flat(integrate(gate, *(part[::-1] for part in state)))
    for a, b in zip(backwards, together, strict=True):
        np.testing.assert_array_equal(a, b[::-1])


def test_parameters_broadcast_with_the_states():
    rng = np.random.default_rng(5)
    coupling, rho, theta = rng.uniform(0.5, 3, (3, 1)), rng.uniform(0, 2, 4), rng.uniform(0, 1, (3, 4))
    wide = integrate(LinearGate(**LINEAR | {"coupling": coupling}), rho, theta)
    assert wide.outcome.shape == (3, 4)
    for i in range(3):
        row = integrate(LinearGate(**LINEAR | {"coupling": float(coupling[i, 0])}), rho, theta[i])
        np.testing.assert_array_equal(row.time, wide.time[i])
        np.testing.assert_array_equal(row.outcome, wide.outcome[i])


@pytest.mark.parametrize("curvature", [0.3, 2.0])  # below the decay: bounded growth; above: unbounded
def test_a_smooth_gate_agrees_with_the_reference(curvature):
    gate = smooth_gate(slope=1.0, curvature=curvature, decay=1.0, cost=0.75, rate=1.0)
    state = states(gate, 20)
    flow = integrate(gate, *state, rtol=1e-9, atol=1e-12)
    for i, start in enumerate(np.transpose(state)):
        end = follow(gate, start, 60.0)
        expected = Fate.ZERO if end.where == "zero" else Fate.ALIVE if curvature < 1 else Fate.DIVERGED
        assert flow.outcome[i] == expected
        if end.where == "zero":
            assert flow.time[i] == pytest.approx(end.time, rel=1e-6, abs=1e-7)


def test_a_gate_that_turns_up_again_is_followed_on_both_faces():
    """D falls, then rises: no comparison argument applies, and θ may leave the face θ = 0 after a while."""
    rho, g = sp.symbols("rho g")
    gate = GeneralGate(-g * rho * sp.exp(-rho), decay=0.2, cost=0.2, rate=1.0, g=1.0)
    state = [np.array([6.0, 3.5, 0.1, 1.5, 8.0, 0.5]), np.array([0.0, 0.0, 0.0, 0.9, 0.3, 0.2])]
    flow = integrate(gate, *state, rtol=1e-9, atol=1e-12, times=[0.5, 2.0, 6.0, 15.0])
    assert flow.path is not None
    for i, start in enumerate(np.transpose(state)):
        for row, time in enumerate([0.5, 2.0, 6.0, 15.0]):
            end = follow(gate, start, time, settle=False)
            np.testing.assert_allclose([part[row, i] for part in flow.path], end.state, rtol=1e-5, atol=1e-6)
    assert flow.outcome[0] == Fate.ALIVE  # dead at first, then revived
    assert flow.outcome[2] == Fate.ZERO and flow.state[0][2] < 1e-9  # certain only once its norm is below ε


def test_numpy_and_torch_agree():
    gate = BilinearGate(**LINEAR)
    state = states(gate, 50)
    ours = integrate(gate, *state)
    theirs = integrate(gate, *(torch.tensor(part) for part in state))
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


@given(values=constants, norms=st.tuples(positive, positive), theta=st.floats(0, 1), time=st.floats(0.01, 5))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
def test_theta_stays_in_the_strip_and_time_shifts(kind, values, norms, theta, time):
    gate = kind(**values)
    start = (*norms[: len(gate.system.weights)], theta)
    tight = {"rtol": 1e-10, "atol": 1e-13}
    whole = integrate(gate, *start, times=[time, 2 * time], **tight)
    assert whole.path is not None
    seen = whole.path[-1]
    assert ((seen >= 0) & (seen <= 1)).all()
    halfway = [part[0] for part in whole.path]
    again = integrate(gate, *halfway, times=[time], **tight)
    assert again.path is not None
    for a, b in zip(again.path, whole.path, strict=True):
        if abs(float(gate.margin(*halfway))) > 1e-4:  # elsewhere any rounding decides
            np.testing.assert_allclose(a[0], b[1], rtol=1e-4, atol=1e-6)


@given(values=constants, norms=st.tuples(positive, positive), theta=st.sampled_from([0.0, 1.0, 0.3, 0.999]))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
def test_the_field_is_the_derivative_of_the_projected_path(kind, values, norms, theta):
    gate = kind(**values)
    start = (*norms[: len(gate.system.weights)], theta)
    field = np.array([float(part) for part in gate.field(*start)])
    size = 1 + np.abs(field).max() + sum(values.values())
    h = 1e-6 / size**2
    path = integrate(gate, *start, times=[h], rtol=1e-12, atol=1e-14).path
    assert path is not None
    flowed = np.array([(part[0] - x) / h for part, x in zip(path, start, strict=True)])
    np.testing.assert_allclose(flowed, field, atol=1e-3 * size, rtol=1e-3)


@given(values=constants, norms=st.tuples(positive, positive), theta=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
def test_certified_states_go_to_zero(kind, values, norms, theta):
    gate = kind(**values)
    state = (*norms[: len(gate.system.weights)], theta)
    if float(gate.margin(*state)) < -1e-6:
        assert integrate(gate, *state, rtol=1e-9, atol=1e-12).outcome == Fate.ZERO


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [1e-4, 1e-2, 1e2, 1e4])
@pytest.mark.parametrize("decay", [0.0, 1e-8, 1e-2, 1.0])
@pytest.mark.parametrize("cost", [1e-12, 1e-4, 0.3])
def test_extreme_constants(kind, rate, decay, cost):
    gate = kind(decay=decay, coupling=1.0, cost=cost, rate=rate)
    rng = np.random.default_rng(1)
    scale = np.array([*[float(part) * 2 for part in gate.saddle[:-1]]])
    state = [rng.uniform(0, 1, 12) * s for s in scale] + [rng.uniform(0, 1, 12)]
    if kind is BilinearGate:
        state[1] = state[0]
    # 10⁵ is some hundred relaxation times even of the slowest gate here; the budget is what may end first.
    flow = integrate(gate, *state, horizon=1e9, rtol=1e-8, atol=1e-16, max_steps=20_000)
    margin = gate.margin(*state)
    decided = flow.outcome != Fate.UNDECIDED
    clear = np.abs(margin) > 1e-5
    assert not (flow.outcome == Fate.FAILED).any()
    assert ((flow.outcome == Fate.ZERO) == (margin < 0))[decided & clear].all()
    assert (decided | (flow.steps >= 20_000) | (flow.time >= 1e9)).all()


def test_the_saddle_is_undecided():
    for gate in (LinearGate(**LINEAR), BilinearGate(decay=0.25, coupling=1.0, cost=1.0, rate=1.0)):
        flow = integrate(gate, *gate.saddle, horizon=100.0)
        assert flow.outcome == Fate.UNDECIDED and flow.time == 100.0


def test_a_slow_passage_is_undecided_until_it_ends():
    gate = LinearGate(**LINEAR)
    rho, theta = (float(part) for part in gate.saddle)
    assert integrate(gate, rho, theta - 1e-9, horizon=5.0).outcome == Fate.UNDECIDED
    assert integrate(gate, rho, theta - 1e-9, horizon=100.0).outcome == Fate.ZERO
    assert integrate(gate, rho, theta - 1e-9, max_steps=3).outcome == Fate.UNDECIDED


def test_dead_is_not_frozen():
    """At θ = 0 with D < −κ the gate moves again, and may end alive."""
    gate = LinearGate(**LINEAR)
    assert integrate(gate, 2.0, 0.0).outcome == Fate.ALIVE
    assert integrate(gate, 0.4, 0.0).time == 0  # absorbed at once
    leaves_and_returns = integrate(gate, 0.55, 0.0)
    assert leaves_and_returns.outcome == Fate.ZERO and leaves_and_returns.time > 0


def test_face_of_ones_is_left_again():
    """With the saddle above the strip a gate slides along θ = 1, is released, and dies."""
    gate = LinearGate(decay=2.0, coupling=1.0, cost=1.0, rate=5.0)
    flow = integrate(gate, 3.0, 0.9, times=[0.3, 5.0])
    assert flow.path is not None
    assert flow.outcome == Fate.ZERO and flow.path[1][0] == 1 and flow.path[1][1] == 0


def test_growth_without_bound_is_diverged_not_alive():
    assert integrate(LinearGate(**LINEAR | {"decay": 0.0}), 2.0, 0.5).outcome == Fate.DIVERGED
    assert integrate(BilinearGate(**LINEAR), 2.0, 1.0, 0.9).outcome == Fate.DIVERGED
    assert integrate(LinearGate(**LINEAR), 2.0, 0.5, bound=0.1).outcome == Fate.DIVERGED


def test_a_field_that_is_not_finite_fails():
    flow = integrate(BilinearGate(**LINEAR), [1e200, 0.1], [1e200, 0.1], 0.1)
    assert flow.outcome.tolist() == [Fate.FAILED, Fate.ZERO]
    unbounded = LinearGate(**LINEAR | {"coupling": np.inf})
    assert integrate(unbounded, 0.1, 0.1).outcome == Fate.FAILED
    assert solve(unbounded, 0.1, 0.1).outcome == Fate.FAILED


@pytest.mark.parametrize(
    ("state", "options", "message"),
    [
        ((np.nan, 0.5), {}, "rho must be finite and ≥ 0; got nan"),
        ((-1.0, 0.5), {}, "rho must be finite and ≥ 0; got -1.0"),
        ((1.0, 1.5), {}, r"theta must be in \[0, 1\]; got 1.5"),
        ((1.0, 0.5), {"horizon": np.inf}, "horizon must be finite and > 0; got inf"),
        ((1.0, 0.5), {"rtol": 1e-16}, "rtol must be in"),
        ((1.0, 0.5), {"max_steps": 0}, "max_steps must be in"),
        ((1.0, 0.5), {"times": [1.0, 0.5]}, "times must increase"),
        ((1.0, 0.5), {"times": [np.nan]}, "times must increase"),
        (([1.0, 2.0], [0.5, 0.1, 0.2]), {}, "shapes do not broadcast"),
    ],
)
def test_bad_input_is_named(state, options, message):
    with pytest.raises(ValueError, match=message):
        integrate(LinearGate(**LINEAR), *state, **options)
