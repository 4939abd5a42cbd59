"""The gate with momentum: its growth rate, its limit without momentum, the counterexample of the ODE's half-plane."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from dynamics.gates import HeavyBallGate, LinearGate
from tests.support.any_gate import BACKENDS, number

good = {"decay": 5e-4, "coupling": 0.02, "cost": 0.012, "lr": 0.1, "gate_lr": 0.5, "momentum": 0.9}


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("decay", [0.0, 1e-3])
@pytest.mark.parametrize("gate_lr, coupling", [(1e-12, 1e-6), (0.5, 0.02), (10.0, 30.0)])
def test_growth_is_the_root_to_rounding(momentum, decay, gate_lr, coupling):
    gate = HeavyBallGate(**{**good, "decay": decay, "gate_lr": gate_lr, "coupling": coupling, "momentum": momentum})
    with mpmath.workdps(60):
        h, eta, lam, lr, m = map(mpmath.mpf, (gate_lr, coupling, decay, 0.1, momentum))

        def excess(log_growth):
            d = mpmath.exp(log_growth)
            return d**2 * (1 + d - m) / ((1 + d) * lr) + lam * d - h * eta**2

        low, high = mpmath.mpf(-200), mpmath.mpf(20)
        for _ in range(90):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) < 0 else (low, middle)
        exact = mpmath.exp(low)
        assert abs(mpmath.mpf(float(gate.growth)) / exact - 1) < 1e-13


def test_without_momentum_and_in_small_steps_it_is_the_half_plane():
    rng = np.random.default_rng(0)
    decay, coupling, cost, rate = 10 ** rng.uniform(-2, 1, (4, 2000))
    rho, theta = rng.uniform(0, 3, 2000), rng.uniform(0, 1, 2000)
    constants = {"decay": decay, "coupling": coupling, "cost": cost}
    heavy = HeavyBallGate(**constants, lr=1e-12, gate_lr=rate * 1e-12, momentum=0.0)
    flow = LinearGate(**constants, rate=rate).margin(rho, theta)
    assert np.all(np.abs(heavy.margin(rho, theta, 0.0) - flow) <= 1e-9 * (1 + np.abs(flow)))


def ends_at(gate, state):
    for _ in range(3000):
        state = gate.step(*state)
    return float(state[1])


def test_the_state_that_the_half_plane_wrongly_certifies():
    gate = HeavyBallGate(**good)
    state = (0.3, 0.2134, 0.02 * 0.2134 / 0.1)  # the buffer that its pull sustains
    flow = LinearGate(decay=5e-4, coupling=0.02, cost=0.012, rate=0.5)
    assert float(flow.margin(*state[:2])) == pytest.approx(-0.010, abs=5e-4)
    assert ends_at(gate, state) == 1.0
    assert not gate.certified(*state)
    assert gate.certified(0.3, 0.18, state[2]) and ends_at(gate, (0.3, 0.18, state[2])) == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree(backend):
    make, tolerance = BACKENDS[backend]
    gate = HeavyBallGate(**good)
    state = (0.3, 0.15, 0.02)
    assert number(gate.margin(*map(make, state))) == pytest.approx(float(gate.margin(*state)), abs=100 * tolerance)
    assert gate.margin(*map(make, state)).dtype == make(0.0).dtype


def test_a_step_multiplies_psi_off_the_clip():
    gate = HeavyBallGate(**good)
    state = (0.3, 0.5, 0.02)
    after = gate.step(*state)
    assert float(gate.psi(*after)) == pytest.approx((1 + float(gate.growth)) * float(gate.psi(*state)), rel=1e-12)


def test_the_headroom_is_where_the_certificate_is_lost():
    gate = HeavyBallGate(**good)
    headroom = float(gate.headroom(0.3, 0.15, 0.02))
    assert headroom > 1
    assert gate.with_coupling(0.02 * headroom * 0.999).certified(0.3, 0.15, 0.02)
    assert not gate.with_coupling(0.02 * headroom * 1.001).certified(0.3, 0.15, 0.02)


def test_edges():
    state = (0.3, 0.15, 0.02)
    assert HeavyBallGate(**{**good, "coupling": 0.0}).certified(*state)
    assert HeavyBallGate(**{**good, "coupling": 0.0}).headroom(*state) == np.inf
    assert not HeavyBallGate(**{**good, "coupling": np.inf}).certified(*state)
    assert not HeavyBallGate(**{**good, "cost": 0.0}).certified(*state)
    assert not HeavyBallGate(**{**good, "cost": 0.0, "coupling": 0.0}).certified(*state)
    assert not HeavyBallGate(**{**good, "decay": 10.0}).certified(*state)  # the weights swing: no theorem
    assert HeavyBallGate(**{**good, "coupling": 1e-3}).certified(3.0, 1.0, 0.0)  # θ* > 1


def test_the_escape_bound():
    gate, state, noise = HeavyBallGate(**good), (0.3, 0.1, 0.01), {"sigma_rho": 0.01, "sigma_theta": 0.02}
    growth, psi = float(gate.growth), float(gate.psi(*state))
    scale = 0.5 * 0.02 + growth / 0.02 * 0.01
    wanted = np.exp(-(psi**2) * ((1 + growth) ** 2 - 1) / (2 * scale**2))
    assert float(gate.escape_probability(*state, **noise)) == pytest.approx(wanted, rel=1e-9)
    assert gate.escape_probability(*state, **noise, independent=True) < wanted
    assert gate.escape_probability(0.3, 0.9, 0.2, **noise) == 1.0
    assert gate.escape_probability(*state, sigma_rho=0.0, sigma_theta=0.0) == 0.0


@pytest.mark.parametrize("name", good)
@pytest.mark.parametrize("value", [-1.0, np.nan, torch.tensor([0.5, float("nan")])])
def test_bad_constants_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be .*; got (-1.0|nan)$"):
        HeavyBallGate(**{**good, name: value})


@pytest.mark.parametrize("name, value", [("lr", 0.0), ("gate_lr", np.inf), ("momentum", 1.0)])
def test_edges_of_the_constants_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be "):
        HeavyBallGate(**{**good, name: value})


@pytest.mark.parametrize(
    "state, name",
    [
        ((np.nan, 0.1, 0.0), "rho"),
        ((-0.1, 0.1, 0.0), "rho"),
        ((0.1, np.nan, 0.0), "theta"),
        ((0.1, 0.1, np.nan), "velocity"),
    ],
)
@pytest.mark.parametrize("method", ["margin", "certified", "headroom", "psi"])
def test_bad_states_are_named(method, state, name):
    with pytest.raises(ValueError, match=rf"^{name} must be "):
        getattr(HeavyBallGate(**good), method)(*state)
