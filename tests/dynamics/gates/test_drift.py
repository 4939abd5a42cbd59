"""The gate of which only the growth of the norm is bounded: region, deadline, headroom, and wrong variants refuted."""

from __future__ import annotations

import numpy as np
import pytest

from dynamics.claims import drift
from dynamics.gates import DriftGate
from dynamics.gates.drift import lowest_theta
from dynamics.gates.ode import THETA
from dynamics.proofs.claim import Status
from tests.support.any_gate import BACKENDS, number

good = {"growth": 0.1, "coupling": 1.0, "cost": 1.0, "rate": 0.2}


@pytest.mark.parametrize("theta, dies", [(0.2499, True), (0.2501, False)])
def test_the_region_ends_where_the_fastest_path_misses_zero(theta, dies):
    gate, rho = DriftGate(**good), 0.5
    assert bool(gate.certified(rho, theta)) == dies
    times = np.linspace(0, 10, 100_001)
    path = theta + 0.2 * ((0.5 - 1) * times + 0.1 * times**2 / 2)
    assert (path.min() < 0) == dies
    if dies:
        assert times[np.argmax(path <= 0)] == pytest.approx(float(gate.time_to_zero(rho, theta)), abs=1e-3)
    else:
        assert gate.time_to_zero(rho, theta) == np.inf


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_headroom_is_where_the_certificate_is_lost(backend):
    make, _ = BACKENDS[backend]
    gate, state = DriftGate(**good), (make(0.5), make(0.2))
    headroom = number(gate.headroom(*state))
    assert gate.with_coupling(headroom * 0.999).certified(*state)
    assert not gate.with_coupling(headroom * 1.001).certified(*state)


def test_edges():
    assert DriftGate(**{**good, "coupling": 0.0}).certified(0.5, 1.0)
    assert DriftGate(**{**good, "coupling": 0.0}).time_to_zero(0.5, 0.6) == pytest.approx(3.0)
    assert DriftGate(**{**good, "growth": 0.0}).time_to_zero(0.5, 1.0) == pytest.approx(10.0)
    assert not DriftGate(**{**good, "growth": 0.0}).certified(1.0, 0.5)
    assert not DriftGate(**{**good, "coupling": np.inf}).certified([0.0, 0.5], 0.0).any()
    assert not DriftGate(**{**good, "cost": 0.0}).certified(0.0, 0.0)
    assert DriftGate(**good).headroom(0.0, 0.0) == np.inf


@pytest.mark.parametrize("name", good)
@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_bad_constants_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be .*; got (-1.0|nan)$"):
        DriftGate(**{**good, name: value})


@pytest.mark.parametrize("state, name", [((np.nan, 0.1), "rho"), ((0.1, 1.1), "theta"), ((0.1, np.nan), "theta")])
def test_bad_states_are_named(state, name):
    with pytest.raises(ValueError, match=rf"^{name} must be "):
        DriftGate(**good).certified(*state)


def test_a_lowest_point_moved_by_a_percent_is_refuted():
    assert drift.sharp_check(THETA + 1.01 * (lowest_theta() - THETA)).status is Status.REFUTED


class TooWide(DriftGate):
    """Certifies with a region that is two percent higher."""

    def certified(self, rho, theta):
        return super().certified(rho, np.asarray(theta) / 1.02)


def test_a_wider_region_is_refuted():
    assert drift.drifting_check(TooWide, count=600).status is Status.REFUTED
