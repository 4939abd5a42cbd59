"""Gates of any D: against closed forms, against a slow tracer and a slow simulation, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from dynamics import BilinearGate, LinearGate
from dynamics.claims import general as claims
from dynamics.gates.general import GeneralGate, smooth_gate
from dynamics.gates.ode import COUPLING
from dynamics.gates.separatrix import Separatrix
from dynamics.proofs.claim import Status

RHO, IN, OUT, C = sp.symbols("rho rho_in rho_out c")
LINEAR, BILINEAR = -COUPLING * RHO, -COUPLING * IN * OUT
#: One D of each kind: concave, convex, steep, bounded, rational, one that turns.
SHAPES = (-sp.log(1 + RHO), -RHO - RHO**2, -(RHO**3), -sp.tanh(RHO), -(RHO**2) / (1 + RHO**2), -sp.sin(RHO))

constant = st.floats(-2, 1).map(lambda e: 10.0**e)
constants = st.fixed_dictionaries({"decay": constant | st.just(0.0), "cost": constant, "rate": constant})
few = settings(max_examples=25, deadline=None)


def simulated(gate: GeneralGate, *state: np.ndarray, horizon: float = 200.0, step: float = 0.01) -> np.ndarray:
    """Slow reference: +1 where θ ends at 1, −1 where it ends at 0, 0 otherwise. Runge-Kutta 4, clipped to the strip."""
    now = [np.array(value, dtype=float) for value in state]

    def clipped(point: list[np.ndarray]) -> list[np.ndarray]:
        return [*(np.clip(w, 0, 1e3) for w in point[:-1]), np.clip(point[-1], 0, 1)]

    for _ in range(int(horizon / step)):
        k1 = gate.field(*now)
        k2 = gate.field(*clipped([x + step / 2 * k for x, k in zip(now, k1, strict=True)]))
        k3 = gate.field(*clipped([x + step / 2 * k for x, k in zip(now, k2, strict=True)]))
        k4 = gate.field(*clipped([x + step * k for x, k in zip(now, k3, strict=True)]))
        ks = zip(now, k1, k2, k3, k4, strict=True)
        now = clipped([x + step / 6 * (a + 2 * b + 2 * c + d) for x, a, b, c, d in ks])
    theta_dot = gate.field(*now)[-1]
    settled = theta_dot == 0
    return np.where(settled & (now[-1] == 0), -1, np.where(settled & (now[-1] == 1), 1, 0))


def traced(gate: GeneralGate, direction: int, time: float) -> np.ndarray:
    """Slow reference: the stable manifold as a path in time, backwards from a point on the eigenvector."""
    field = sp.lambdify([*gate.system.state, *gate.system.parameters], gate.system.field, "math")
    values = [float(gate.parameters[symbol.name]) for symbol in gate.system.parameters]
    saddle = np.array([float(v) for v in gate.saddle])
    jacobian = sp.lambdify([*gate.system.state, *gate.system.parameters], gate.system.jacobian, "numpy")
    eigenvalues, vectors = np.linalg.eig(np.array(jacobian(*saddle, *values), dtype=float))
    stable = vectors[:, np.argmin(eigenvalues)] * np.sign(vectors[0, np.argmin(eigenvalues)])
    path = solve_ivp(
        lambda _, y: [-v for v in field(*y, *values)],
        (0, time),
        saddle + direction * 1e-5 * stable,
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
    )
    return path.y


@few
@given(constants, constant, st.lists(st.floats(-9, 3), min_size=1, max_size=5), st.floats(0, 1))
def test_linear_margins_are_the_closed_form(values, coupling, exponents, theta):
    rho = values["cost"] / coupling * 10 ** np.array(exponents)
    expected = LinearGate(coupling=coupling, **values).margin(rho, theta)
    ours = GeneralGate(LINEAR, coupling=coupling, **values).margin(rho, theta)
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-8)


@few
@given(constants, constant, st.floats(-150, 3), st.floats(-150, 3), st.floats(0, 1))
def test_bilinear_margins_are_the_closed_form(values, coupling, first, second, theta):
    state = (10**first, 10**second, theta)
    expected = BilinearGate(coupling=coupling, **values).margin(*state)
    ours = GeneralGate(BILINEAR, coupling=coupling, **values).margin(*state)
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("difference", SHAPES, ids=str)
def test_the_curve_is_the_path_traced_backwards_in_time(difference):
    gate = GeneralGate(difference, decay=0.5, cost=0.3, rate=0.8)
    for direction in (-1, 1):
        rho, theta = traced(gate, direction, 12.0)
        inside = (rho > 1e-3) & (rho < 1.4) & (theta >= 0) & (theta <= 1)
        assert inside.sum() > 10
        np.testing.assert_allclose(gate.margin(rho[inside], theta[inside]), 0, atol=1e-8)


@pytest.mark.parametrize(
    ("difference", "decay", "cost"),
    [(-sp.tanh(RHO), 0.5, 0.3), (-RHO - RHO**2, 1.0, 0.5), (-(RHO**3), 3.0, 0.3)],  # the last: from the face
    ids=str,
)
def test_simulated_fates_agree(difference, decay, cost):
    gate = GeneralGate(difference, decay=decay, cost=cost, rate=1.0)
    rho, theta = (axis.ravel() for axis in np.meshgrid(np.linspace(0.01, 2.0, 20), np.linspace(0, 1, 11)))
    margin = gate.margin(rho, theta)
    clear = np.abs(margin) > 0.02
    ends = simulated(gate, rho, theta, horizon=40.0, step=0.02)
    assert (ends[clear & (margin < 0)] == -1).all()
    assert (ends[clear & (margin > 0)] == 1).all()
    assert (margin < 0).any() and (margin > 0).any()


def test_asymmetric_products_are_never_wrong():
    rng = np.random.default_rng(0)
    gate = GeneralGate(-sp.log(1 + IN * OUT), decay=0.3, cost=0.4, rate=1.0)
    state = (*rng.uniform(0, 2, (2, 300)), rng.uniform(0, 1, 300))
    certified = gate.certified(*state)
    assert 20 < certified.sum() < 280
    assert (simulated(gate, *state, horizon=40.0, step=0.02)[certified] == -1).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), constants, st.floats(0, 3), st.floats(0, 1), st.floats(1, 3))
def test_laws_of_the_certificate(difference, values, rho, theta, factor):
    try:
        gate = GeneralGate(difference, **values)
        dearer = GeneralGate(difference, **{**values, "cost": values["cost"] * factor})
    except ValueError as error:
        assert "must not rise" in str(error)
        return
    margin = gate.margin(rho, theta)
    assert bool(gate.certified(rho, theta)) == bool(margin < 0)
    if margin < -1e-8:  # the region is closed downwards and grows with the price
        assert gate.certified(rho / factor, theta)
        assert gate.certified(rho, theta / factor)
        assert dearer.certified(rho, theta)


@pytest.mark.parametrize("difference", [-RHO - RHO**2, -(RHO**3), -sp.log(1 + RHO)], ids=str)
def test_margin_rises_with_size_and_theta_and_falls_with_cost(difference):
    rho, theta = np.geomspace(1e-3, 30, 60)[:, None], np.linspace(0, 1, 5)
    costs = [0.05, 0.1, 0.3, 1.0, 2.0]
    margins = np.stack([GeneralGate(difference, decay=1.5, cost=k, rate=0.4).margin(rho, theta) for k in costs])
    margins = np.maximum(margins, -5)  # far above the strip the curve is cut off
    assert (np.diff(margins, axis=0) <= 1e-9).all()
    # Between z* and z₁ the margin is measured against the nullcline, which need not rise; its sign does.
    assert (np.diff(np.sign(margins), axis=1) >= 0).all()
    assert (np.diff(margins, axis=2) >= 0).all()


def test_a_batch_is_its_elements():
    rng = np.random.default_rng(1)
    slopes, costs = rng.uniform(0.1, 2, 6), np.array([0.3, 0.5, 0.3, 0.0, 0.5, 1.0])
    rho, theta = rng.uniform(0, 2, (4, 6)), rng.uniform(0, 1, (4, 6))
    fixed = {"curvature": 0.5, "decay": 0.4, "rate": 1.0}
    batch = smooth_gate(slope=slopes, cost=costs, **fixed)
    margin, headroom = batch.margin(rho, theta), batch.headroom(rho[0], theta[0])
    for i in range(6):
        gate = smooth_gate(slope=slopes[i], cost=costs[i], **fixed)
        np.testing.assert_allclose(margin[:, i], gate.margin(rho[:, i], theta[:, i]), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(headroom[i], gate.headroom(rho[0, i], theta[0, i]), rtol=1e-9)
        np.testing.assert_allclose([v[i] for v in batch.saddle], gate.saddle, rtol=1e-13)
        np.testing.assert_allclose([v[i] for v in batch.eigenvalues], gate.eigenvalues, rtol=1e-12)
    assert batch.margin(np.zeros((0, 6)), 0.5).shape == (0, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_is_numpy(dtype):
    rho, theta = torch.rand(7, dtype=dtype), torch.rand(7, dtype=dtype)
    gate = smooth_gate(slope=1.0, curvature=2.0, decay=0.5, cost=torch.tensor(0.4), rate=1.0)
    margin = gate.margin(rho, theta)
    assert isinstance(margin, torch.Tensor) and margin.dtype == dtype
    plain = smooth_gate(slope=1.0, curvature=2.0, decay=0.5, cost=float(torch.tensor(0.4)), rate=1.0)
    np.testing.assert_allclose(margin.numpy(), plain.margin(rho.double().numpy(), theta.double().numpy()), rtol=1e-5)
    assert gate.headroom(rho[:1], theta[:1]).dtype == dtype
    assert plain.margin(rho.numpy(), theta.numpy()).dtype == rho.numpy().dtype


def test_headroom_multiplies_the_coupling_or_all_of_d():
    values = {"decay": 1.0, "cost": 1.0, "rate": 1.0}
    expected = LinearGate(coupling=2.0, **values).headroom(0.1, 0.3)
    for gate in (GeneralGate(LINEAR, coupling=2.0, **values), GeneralGate(-2 * RHO, **values)):
        assert gate.headroom(0.1, 0.3) == pytest.approx(expected, rel=1e-9)
        found = float(gate.headroom(0.1, 0.3)) * float(gate.coupling)
        assert gate.with_coupling(0.999 * found).certified(0.1, 0.3)
        assert not gate.with_coupling(1.001 * found).certified(0.1, 0.3)
    assert gate.headroom(0.0, 0.0) == np.inf
    assert GeneralGate(-2 * RHO, decay=1.0, cost=0.0, rate=1.0).headroom(0.1, 0.3) == 0


def test_degenerate_constants_take_the_safe_side():
    assert (GeneralGate(-RHO, decay=1.0, cost=0.0, rate=1.0).margin([0.0, 1.0], 0.0) == np.inf).all()
    unpulled = GeneralGate(LINEAR, coupling=0.0, decay=1.0, cost=0.1, rate=1.0)
    assert (unpulled.margin([0.0, 9.0], 1.0) == -np.inf).all() and np.isinf(unpulled.saddle).all()
    # A gain that never reaches the price pulls nowhere, whatever its shape beyond.
    assert GeneralGate(-sp.tanh(RHO), decay=0.1, cost=1.1, rate=1.0).certified(50.0, 1.0)
    assert GeneralGate(-RHO * sp.exp(-RHO), decay=0.1, cost=0.4, rate=1.0).certified(50.0, 1.0)
    assert not GeneralGate(LINEAR, coupling=np.inf, decay=1.0, cost=0.1, rate=1.0).certified(0.1, 0.0)
    # One that reaches it only in the limit, to within rounding, is left undecided: not certified.
    for cost in (1 - 1e-12, 1.0, 1.0 + 1e-12):
        assert not GeneralGate(-sp.tanh(RHO), decay=0.1, cost=cost, rate=1.0).certified(0.1, 0.1)


def test_beyond_a_turn_of_d_nothing_is_certified():
    gate = GeneralGate(-RHO + C * RHO**2 / 2, (RHO,), c=0.5, decay=3.0, cost=0.8, rate=1.0)
    assert gate.certified(1.8, 0.0) and not gate.certified(2.2, 0.0)


def test_the_curve_does_not_depend_on_the_order_of_questions():
    gate = smooth_gate(slope=1.0, curvature=0.5, decay=0.5, cost=0.4, rate=1.0)
    names, values = tuple(gate.parameters), tuple(float(v) for v in gate.parameters.values())
    whole, pieces = (Separatrix(gate.reduced, dict(zip(names, values, strict=True))) for _ in range(2))
    sizes = np.linspace(-30, 5, 50)
    together = whole.height(sizes)
    np.random.default_rng(2).shuffle(sizes)
    one_by_one = {x: pieces.height(np.array([x]))[0] for x in sizes}
    np.testing.assert_allclose(together, [one_by_one[x] for x in sorted(one_by_one)], rtol=1e-13)


def test_equilibria_are_all_there():
    gate = GeneralGate(-(RHO**2) / (1 + RHO**2), decay=0.3, cost=0.5, rate=1.0)
    found = gate.equilibria()
    assert [(e.kind, e.face) for e in found] == [("sink", 0), ("saddle", None), ("sink", 1)]
    assert found[1].state == pytest.approx((1.0, 0.6))
    assert found[1].eigenvalues == pytest.approx([float(v) for v in gate.eigenvalues])
    for e in found:  # nothing moves there
        assert np.abs(gate.field(*e.state)).max() < 1e-12
    steep = GeneralGate(-(RHO**3), decay=3.0, cost=0.3, rate=1.0).equilibria()
    assert [(e.kind, e.face) for e in steep] == [("sink", 0), ("saddle", 1)]
    assert steep[1].state == pytest.approx((1.0, 1.0))
    transcendental = GeneralGate(-sp.tanh(RHO), decay=0.3, cost=0.5, rate=1.0).equilibria()
    assert [(e.kind, e.face) for e in transcendental] == [("sink", 0), ("saddle", None), ("sink", 1)]
    with pytest.raises(ValueError, match="equilibria takes one gate"):
        smooth_gate(slope=np.ones(2), curvature=1.0, decay=1.0, cost=1.0, rate=1.0).equilibria()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"difference": -RHO - 1}, "must vanish at zero weights"),
        ({"difference": -C * RHO - C}, "must be a function of their product"),
        ({"difference": -C * RHO * IN}, "weights cannot be inferred"),
        ({"difference": sp.Integer(0)}, "weights cannot be inferred"),
        ({"difference": -C * RHO, "weights": (RHO,)}, "parameter c of the difference needs a value"),
        ({"difference": -RHO, "c": 1.0}, "c does not occur"),
        ({"difference": -C * RHO, "c": np.nan}, "c must be finite"),
        ({"difference": -RHO * sp.Symbol("theta")}, "got theta"),
        ({"difference": -sp.Max(RHO, C), "c": 0.0}, "must be smooth"),
        ({"difference": -IN * OUT - IN}, "must be a function of their product"),
        ({"difference": -RHO + 2 * RHO**2 - RHO**3, "cost": 0.3}, "must not rise with the weights"),
        ({"difference": -C * RHO, "c": np.ones(2), "cost": np.ones(3)}, "shapes do not broadcast"),
        ({"difference": -RHO, "cost": -1.0}, "cost must be finite and ≥ 0"),
        ({"difference": -RHO, "coupling": np.nan}, "coupling must be ≥ 0"),
    ],
)
def test_bad_input_is_named_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        GeneralGate(**({"decay": 1.0, "cost": 1.0, "rate": 1.0} | arguments))
    assert "\n" not in str(caught.value)


def test_smooth_gate_refuses_negative_bounds():
    with pytest.raises(ValueError, match="curvature must be ≥ 0; got -1"):
        smooth_gate(slope=1.0, curvature=-1.0, decay=1.0, cost=1.0, rate=1.0)


def test_wrong_margins_are_found_out():
    for kind, system in ((LinearGate, claims.LINEAR), (BilinearGate, claims.BILINEAR)):
        good = claims.agreement(kind, system, lowest=-5, gates=5)
        assert good.status is Status.HELD
        bad = claims.agreement(kind, system, lowest=-5, gates=5, distort=lambda margin: margin + 1e-7)
        assert bad.status is Status.REFUTED
    assert claims.tangency(gates=5).status is Status.HELD
    assert claims.tangency(gates=5, distort=lambda margin: margin + 0.01).status is Status.REFUTED


@pytest.mark.parametrize("moved", [0.02, -0.02])
def test_a_moved_separatrix_is_refuted_by_simulation(moved):
    assert claims.fates_agree(500, distort=lambda margin: margin + moved).status is Status.REFUTED


@pytest.mark.parametrize("share", [0.9, 1.1, 1.4])
def test_the_growth_of_a_product_must_not_fall_either(share):
    """D = −(1 − e^(−cP)) falls throughout, P D'(P) turns at cP = 1, where D = −(1 − 1/e).

    Before D reaches −κ: refused. After it: nothing of a larger S is certified, since with unequal norms P < S, and
    P f'(P) may then exceed S f'(S), the growth that the reduced system allows for. One weight needs less.
    """
    product, single, turn = 1 - sp.exp(-C * IN * OUT), 1 - sp.exp(-C * RHO), 1.0
    constants = {"decay": 0.3, "cost": share * (1 - np.exp(-turn)), "rate": 1.0, "c": 1.7}
    assert GeneralGate(-single, (RHO,), **constants).certified(1e-3, 0.05)
    if share > 1:
        with pytest.raises(ValueError, match=r"nor, of two weights, P D'\(P\)"):
            GeneralGate(-product, (IN, OUT), **constants)
        return
    gate = GeneralGate(-product, (IN, OUT), **constants)
    norm = np.sqrt(turn / 1.7 * np.array([1.2, 2.0, 5.0]))
    for theta in (0.0, 0.5, 1.0):
        assert (gate.margin(norm, norm, theta) == np.inf).all()
        assert (gate.margin(norm * 1.4, norm * 0.2, theta) == np.inf).all()  # the same S
    assert gate.certified(1e-3, 1e-3, 0.05)
