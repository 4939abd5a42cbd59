"""Closed-form models, the projected path, SGD beside them, and wrong variants that must be refuted."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics import LinearGate
from dynamics.claims import closed_form as claims
from dynamics.integrators.event_driven import projected_path
from dynamics.integrators.sgd import fit_order, sgd_paths, sup_distance
from dynamics.models.closed_form import gated_regression, teacher_student
from dynamics.proofs.claim import Status

MODELS = claims.models()
both = pytest.mark.parametrize("name", MODELS)
seeds = st.integers(0, 2**32 - 1)


def random_state(model, seed):
    rng = np.random.default_rng(seed)
    return np.r_[rng.standard_normal(len(model.weights)), rng.uniform(0, 1, model.gates)]


def objective_by_enumeration(model, state):
    """J by plain loops over masks and samples, from the branches alone."""
    p = len(model.weights)
    branches = sp.lambdify([*model.weights, *model.inputs], model.branches)
    theta, total = state[p:], 0.0
    for row, target in zip(model.x, model.y, strict=True):
        f = branches(*state[:p], *row)
        for mask in itertools.product((0, 1), repeat=model.gates):
            chance = math.prod(t if m else 1 - t for t, m in zip(theta, mask, strict=True))
            output = sum(m * v for m, v in zip(mask, f, strict=True))
            total += chance * (target - output) ** 2 / 2 / len(model.y)
    return total + model.decay / 2 * (state[:p] ** 2).sum() + np.dot(model.cost, theta)


@both
def test_objective_equals_enumeration(name):
    for seed in range(3):
        state = random_state(MODELS[name], seed)
        assert float(MODELS[name].objective(state)) == pytest.approx(objective_by_enumeration(MODELS[name], state))


@both
@settings(max_examples=25)
@given(seed=seeds)
def test_field_is_minus_the_gradient(name, seed):
    model = MODELS[name]
    state = random_state(model, seed)
    numeric = np.empty_like(state)
    for i in range(len(state)):
        ahead, behind = state.copy(), state.copy()
        ahead[i], behind[i] = state[i] + 1e-6, state[i] - 1e-6
        numeric[i] = (float(model.objective(ahead)) - float(model.objective(behind))) / 2e-6
    np.testing.assert_allclose(model.gradient(state), numeric, atol=1e-6 * (1 + np.abs(numeric).max()))


@both
@given(seed=seeds)
def test_objective_is_affine_in_each_gate(name, seed):
    model = MODELS[name]
    state = random_state(model, seed)
    for k in range(model.gates):
        at = []
        for value in (0.0, 0.5, 1.0):
            state[len(model.weights) + k] = value
            at.append(float(model.objective(state)))
        assert at[1] == pytest.approx((at[0] + at[2]) / 2, rel=1e-12)


def test_regression_in_moments():
    """The same field from a known covariance C = LLᵀ of the inputs, by hand."""
    root = np.tril(np.random.default_rng(0).standard_normal((4, 4)))
    teacher, covariance = np.array([1.0, -2.0, 0.5, 0.0]), root @ root.T
    model = gated_regression(2 * root.T, 2 * root.T @ teacher, decay=0.1, cost=0.2, rate=3.0)
    state = random_state(model, 1)
    w, theta = state[:4], state[4:]
    cross = covariance @ teacher
    pull = covariance @ (theta * w) - cross
    spread = np.diag(covariance) * (1 - theta) * w
    by_hand = -np.r_[
        theta * (pull + spread) + model.decay * w,
        model.rate * (w * pull + (0.5 - theta) * np.diag(covariance) * w**2 + model.cost),
    ]
    np.testing.assert_allclose(model.field(state), by_hand, rtol=1e-12)


@both
def test_a_state_does_not_depend_on_its_batch(name):
    model = MODELS[name]
    batch = np.array([random_state(model, seed) for seed in range(4)])
    for function in (model.field, model.objective):
        np.testing.assert_allclose(function(batch), [function(state) for state in batch], rtol=1e-13)


def test_one_branch_without_noise_is_the_gate_of_the_theory():
    """At w = 0 the gate changes nothing: the weight's pull is θ·mean(xy), the gate's −rκ."""
    model = gated_regression(np.array([[2.0]]), np.array([3.0]), decay=0.1, cost=0.2, rate=5.0)
    np.testing.assert_allclose(model.field(np.array([0.0, 0.4])), [0.4 * 6.0, -1.0])


def test_path_is_held_and_let_go_at_the_right_times():
    """θ' = t − 1 from ¼: down to 0 at 1 − √½, held until t = 1, then (t − 1)²/2; mirrored at the other face."""
    times = np.array([0.1, 1 - math.sqrt(0.5), 0.7, 1.0, 1.5, 2.0])
    exact = np.where(times < 0.5, 0.25 - times + times**2 / 2, np.maximum(times - 1, 0) ** 2 / 2)
    exact[1] = 0.0
    down = projected_path(lambda z: np.array([1.0, z[0] - 1]), np.array([0.0, 0.25]), slice(1, 2), 2.0)
    up = projected_path(lambda z: np.array([1.0, 1 - z[0]]), np.array([0.0, 0.75]), slice(1, 2), 2.0)
    np.testing.assert_allclose(down(times)[:, 1], exact, atol=1e-9)
    np.testing.assert_allclose(up(times)[:, 1], 1 - exact, atol=1e-9)
    np.testing.assert_allclose(down.ends, [1 - math.sqrt(0.5), 1.0, 2.0], atol=1e-9)


def test_two_gates_that_reach_the_face_together_are_both_held():
    path = projected_path(lambda z: np.array([-1.0, -1.0, 2.0]), np.array([0.5, 0.5, 0.5]), slice(0, 3), 2.0)
    assert path.end.tolist() == [0.0, 0.0, 1.0]


def test_a_component_at_rest_on_a_face_stays_there():
    for value in (0.0, 1.0):
        assert projected_path(np.zeros_like, np.array([value]), slice(0, 1), 5.0).end.tolist() == [value]


def test_path_agrees_with_a_small_step_reference():
    gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)

    def smooth(z):
        return np.array([2.0 * z[1] - z[0], 2.0 * z[0] - 1.0])

    for start in ([0.1, 0.3], [0.9, 0.5], [0.2, 1.0]):
        z, h = np.array(start), 1e-4
        for _ in range(30_000):
            z = z + h * np.array([float(v) for v in smooth(z)])
            z[1] = min(max(z[1], 0.0), 1.0)
        path = projected_path(smooth, np.array(start), slice(1, 2), 3.0)
        np.testing.assert_allclose(path.end, z, atol=2e-3 * (1 + np.abs(z).max()))
        assert (path.end[1] == 0) == bool(gate.certified(*start))


@both
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_the_flow_stays_in_the_cube_and_the_objective_falls(name, seed):
    model = MODELS[name]
    p = len(model.weights)
    path = projected_path(model.field, random_state(model, seed), slice(p, None), 5.0, rtol=1e-9, atol=1e-11)
    states = path(np.linspace(0, 5, 200))
    assert states[:, p:].min() >= -1e-9 and states[:, p:].max() <= 1 + 1e-9
    assert np.diff(model.objective(states)).max() <= 1e-8


def sgd_reference(model, start, step, n, rng, batch, momentum):
    """One run, written with plain loops; draws in the same order as `sgd_paths` with runs=1."""
    p = len(model.weights)
    sample = sp.lambdify(
        [*model.weights, *model.masks, *model.inputs, sp.Symbol("y", real=True)], model.sample_gradient
    )
    w, theta, v, out = start[:p].copy(), start[p:].copy(), np.zeros(p), [start]
    for _ in range(n):
        masks, rows = rng.random((1, batch, model.gates))[0] < theta, rng.integers(0, len(model.y), (1, batch))[0]
        gradients = [
            sample(*w, *(float(m) for m in mask), *model.x[row], model.y[row])
            for mask, row in zip(masks, rows, strict=True)
        ]
        mean = np.mean(gradients, axis=0)
        v = momentum * v + mean[:p] + model.decay * w
        w = w - step * (1 - momentum) * v
        theta = np.clip(theta - step * model.rate * (mean[p:] + model.cost), 0, 1)
        out.append(np.r_[w, theta])
    return np.array(out)


@both
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_vectorised_sgd_is_the_plain_loop(name, momentum):
    model = MODELS[name]
    start = claims.start_of(model)
    values = {"step": 0.05, "batch": 3, "momentum": momentum}
    times, states = sgd_paths(model, start, horizon=2.0, runs=1, rng=np.random.default_rng(4), **values)
    plain = sgd_reference(model, start, n=40, rng=np.random.default_rng(4), **values)
    assert times[-1] == pytest.approx(2.0)
    np.testing.assert_allclose(states[:, 0], plain, rtol=1e-9, atol=1e-12)


def test_sgd_stays_in_the_cube_even_with_large_steps():
    model = MODELS["regression"]
    _, states = sgd_paths(model, claims.start_of(model), step=0.3, horizon=30.0, runs=5, rng=np.random.default_rng(0))
    assert states[..., 4:].min() >= 0 and states[..., 4:].max() <= 1


@given(slope=st.floats(-2, 2), seed=seeds)
@settings(max_examples=20)
def test_fit_order_finds_the_slope_and_covers_it(slope, seed):
    rng = np.random.default_rng(seed)
    h = np.array([0.1, 0.05, 0.02, 0.01])
    noise = np.exp(0.2 * rng.standard_normal((4, 200)))
    order = fit_order(h, h[:, None] ** slope * noise, rng, resamples=300)
    assert order.low <= order.slope <= order.high
    assert order.slope == pytest.approx(slope, abs=0.1)


def faster_gates(model):
    """The ODE with its gate rate off by a tenth."""
    speed = np.r_[np.ones(len(model.weights)), np.full(model.gates, 1.1)]
    return lambda state: speed * model.field(state)


@both
def test_a_gate_rate_that_is_off_by_a_tenth_is_refuted(name):
    model, steps = MODELS[name], (0.04, 0.02, 0.01, 0.005)
    rng = np.random.default_rng(1)
    outcome = claims.compare_order(name, model, rng, faster_gates(model), runs=16, batch=64, steps=steps)
    assert outcome.status is Status.REFUTED


def test_against_a_wrong_ode_the_distance_stops_shrinking():
    model, rng = MODELS["regression"], np.random.default_rng
    steps = (0.01, 0.0025)
    right = claims.distances(model, rng(1), batch=64, steps=steps).mean(1)
    wrong = claims.distances(model, rng(1), faster_gates(model), batch=64, steps=steps).mean(1)
    assert right[1] < 0.6 * right[0]
    assert wrong[1] > 0.9 * wrong[0]


@both
def test_the_derivative_by_the_mask_is_not_the_gate_gradient(name):
    """E ∂ℓ/∂ξ_k differs from ∂E ℓ/∂θ_k by (½ − θ_k) f_k²: taking one for the other is seen."""
    model = MODELS[name]
    p = len(model.weights)
    squares = sp.lambdify([*model.weights, *model.inputs], [f**2 for f in model.branches])

    def field(state):
        mean = np.mean([squares(*state[:p], *row) for row in model.x], axis=0)
        speed = model.field(state)
        speed[p:] += model.rate * (0.5 - state[p:]) * mean
        return speed

    assert claims.compare_drift(name, model, np.random.default_rng(2), field).status is Status.REFUTED


def test_an_objective_that_is_convex_in_theta_has_limits_inside():
    model = MODELS["regression"]

    def field(state):
        speed = model.field(state)
        speed[4:] -= 20.0 * (state[4:] - 0.5)
        return speed

    outcome = claims.compare_limits("convex", model, np.random.default_rng(0), 3, field)
    assert outcome.status is Status.REFUTED


DATA = {"x": np.ones((3, 2)), "y": np.ones(3), "decay": 0.1, "cost": 0.1, "rate": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones(3)}, "x must have shape"),
        ({"y": np.ones(4)}, r"y must have shape \(3,\); got \(4,\)"),
        ({"y": np.array([1.0, np.nan, 1.0])}, "y must be finite; got nan"),
        ({"decay": -1.0}, "decay must be finite and ≥ 0; got -1.0"),
        ({"cost": [0.1]}, "cost must have one entry a gate, 2; got 1"),
        ({"cost": math.nan}, "cost must be finite and ≥ 0; got nan"),
        ({"rate": 0.0}, "rate must be finite and > 0; got 0.0"),
    ],
)
def test_bad_models(change, message):
    with pytest.raises(ValueError, match=message):
        gated_regression(**{**DATA, **change})


def test_bad_student():
    with pytest.raises(ValueError, match="units must be at least 1; got 0"):
        teacher_student(**DATA, units=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0.0}, "step must be positive"),
        ({"step": 2.0}, "at most the horizon; got step 2.0"),
        ({"horizon": math.inf}, "got step 0.1, horizon inf"),
        ({"runs": 0}, "runs and batch must be at least 1; got 0"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\); got 1.0"),
        ({"start": np.zeros(3)}, r"start must have shape \(8,\)"),
        ({"start": np.full(8, 2.0)}, r"start must be finite, with θ in \[0, 1\]"),
    ],
)
def test_bad_sgd(change, message):
    model = MODELS["regression"]
    values = {"start": claims.start_of(model), "step": 0.1, "horizon": 1.0, "runs": 1, **change}
    with pytest.raises(ValueError, match=message):
        sgd_paths(model, rng=np.random.default_rng(0), **values)


def test_bad_path_and_order():
    still = np.zeros_like
    with pytest.raises(ValueError, match="start must be finite"):
        projected_path(still, np.array([1.5]), slice(0, 1), 1.0)
    with pytest.raises(ValueError, match="horizon must be positive and finite; got 0"):
        projected_path(still, np.array([0.5]), slice(0, 1), 0)
    path = projected_path(still, np.array([0.5]), slice(0, 1), 1.0)
    with pytest.raises(ValueError, match="times must be in"):
        path(np.array([1.5]))
    with pytest.raises(ValueError, match="distances must be positive"):
        fit_order(np.array([0.1, 0.2]), np.zeros((2, 3)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least two different ones"):
        fit_order(np.array([0.1, 0.1]), np.ones((2, 3)), np.random.default_rng(0))


def test_sup_distance_of_the_path_itself_is_zero():
    path = projected_path(lambda z: -z, np.array([0.5]), slice(0, 1), 1.0)
    times = np.linspace(0, 1, 11)
    assert sup_distance(times, path(times)[:, None], path).tolist() == [0.0]


def test_sup_distance_is_the_largest_of_the_run():
    """One state of eleven is three off in one weight and four in another: five, however near the others are."""
    path = projected_path(lambda z: 0 * z, np.array([1.0, 1.0, 0.5]), slice(2, 3), 1.0)
    times = np.linspace(0, 1, 11)
    states = path(times)[:, None].repeat(2, axis=1)
    states[4, 1, :2] += 3.0, 4.0
    assert sup_distance(times, states, path).tolist() == [0.0, 5.0]
