"""The linear gate's closed form against the adaptive flow and against its own derivation."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics import BilinearGate, LinearGate
from dynamics.gates.linear import LINEAR, RATIO, RHO, SADDLE_RHO
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.exact_linear import ROOT, amplitudes, eigenvalues, root, solve
from dynamics.integrators.fate import Fate

positive = st.floats(0.01, 10)
constants = st.fixed_dictionaries(
    {"decay": positive, "coupling": positive, "cost": positive, "rate": st.floats(0.01, 100)}
)
no_decay = {"decay": st.just(0.0), "coupling": positive, "cost": positive, "rate": positive}
no_cost = {"decay": positive, "coupling": st.sampled_from([0.0, 1.0]), "cost": st.just(0.0), "rate": positive}
gates = constants | st.fixed_dictionaries(no_decay) | st.fixed_dictionaries(no_cost)
exact_values = {
    DECAY: sp.Rational(1, 3),
    COUPLING: sp.Rational(3, 2),
    COST: sp.Rational(2, 5),
    RATE: sp.Rational(7, 4),
}


def test_eigenvalues_are_those_of_the_system():
    ours = [e.subs(ROOT, root()).subs(RATIO, DECAY / COUPLING) for e in eigenvalues()]
    for a, b in zip(ours, LINEAR.eigenvalues, strict=True):
        assert sp.simplify((a - b).subs(exact_values)) == 0


def test_amplitudes_add_up_to_the_distance_from_the_saddle():
    a, b = (e.subs(ROOT, root()).subs({RATIO: DECAY / COUPLING, SADDLE_RHO: COST / COUPLING}) for e in amplitudes())
    slow, fast = LINEAR.eigenvalues
    state = {RHO: sp.Rational(2, 7), THETA: sp.Rational(3, 8)}
    distance = THETA - LINEAR.saddle[1]
    speed = LINEAR.field[1]  # θ' = a μ₊ + b μ₋
    for residue in (a + b - distance, a * fast + b * slow - speed):
        assert abs(sp.N(residue.subs(state).subs(exact_values), 40)) < 1e-35


@given(values=gates, rho=st.floats(0, 10), theta=st.sampled_from([0.0, 1.0]) | st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_agrees_with_the_adaptive_flow(values, rho, theta):
    gate = LinearGate(**values)
    times = [0.01, 0.1, 1.0, 3.0]
    exact = solve(gate, rho, theta, times=times)
    adaptive = integrate(gate, rho, theta, rtol=1e-11, atol=1e-14, times=times)
    if abs(float(gate.margin(rho, theta))) < 1e-6 or abs(float(gate.saddle[1]) - 1) < 1e-6:
        return  # rounding decides
    assert Fate(int(exact.outcome)) == Fate(int(adaptive.outcome))
    if exact.outcome == Fate.ZERO:
        assert float(exact.time) == pytest.approx(float(adaptive.time), rel=1e-5, abs=1e-8)
        assert float(exact.state[0]) == pytest.approx(float(adaptive.state[0]), rel=1e-5, abs=1e-8)
    assert exact.path is not None and adaptive.path is not None
    for a, b in zip(exact.path, adaptive.path, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rate", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("decay", [0.0, 1e-8, 1.0, 1e4])
@pytest.mark.parametrize("cost", [1e-12, 0.3])
@pytest.mark.parametrize("coupling", [1e-6, 1.0])
def test_extreme_constants(rate, decay, cost, coupling):
    gate = LinearGate(decay=decay, coupling=coupling, cost=cost, rate=rate)
    rng = np.random.default_rng(2)
    rho, theta = rng.uniform(0, 2, 200) * cost / coupling, rng.uniform(0, 1, 200)
    flow = solve(gate, rho, theta, horizon=1e300)
    margin = gate.margin(rho, theta)
    clear = np.abs(margin) > 1e-12
    assert ((flow.outcome == Fate.ZERO) == (margin < 0))[clear].all()
    assert np.isin(flow.outcome, (Fate.ZERO, Fate.ALIVE, Fate.DIVERGED))[clear].all()
    assert ((flow.state[1] == 0) | (flow.state[1] == 1))[clear].all()


def test_the_saddle_is_undecided():
    gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=2.0)  # every number here is exact in binary
    flow = solve(gate, 0.5, 0.25, horizon=10.0)
    assert flow.outcome == Fate.UNDECIDED and flow.time == 10.0


def test_horizon_cuts_a_trajectory():
    gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
    cut = solve(gate, 0.1, 0.3, horizon=0.2)
    whole = solve(gate, 0.1, 0.3, times=[0.2])
    assert cut.outcome == Fate.UNDECIDED and whole.path is not None
    assert [float(part) for part in cut.state] == [float(part[0]) for part in whole.path]


def test_only_the_linear_gate():
    with pytest.raises(ValueError, match="only the linear gate has an exact solution; got BilinearGate"):
        solve(BilinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0), 0.1, 0.1)
