"""Couplings that grow more than their deadlines allow are found out; deadlines of states that are not certified."""

from __future__ import annotations

import numpy as np
import pytest

from dynamics.claims import growing
from dynamics.gates import LinearGate
from dynamics.proofs.claim import Status


def test_couplings_that_break_the_bound_refute():
    assert growing.deadline_check(excess=1.05).status is Status.REFUTED
    assert growing.growth_check(excess=6.0).status is Status.REFUTED


class Hasty(LinearGate):
    """Promises a third of the deadline."""

    def time_to_zero(self, rho, theta):
        return super().time_to_zero(rho, theta) / 3


def test_a_hasty_deadline_is_refuted():
    assert growing.deadline_check(kind=Hasty).status is Status.REFUTED


def test_deadlines_at_the_edges():
    gate = LinearGate(decay=[0.1, 0.1, 2.0], coupling=[1.0, 0.0, 1.0], cost=0.5, rate=1.0)
    assert gate.time_to_zero(0.4, 0.9)[0] == np.inf and gate.growth_headroom(0.4, 0.9)[0] == 0
    assert gate.time_to_zero(0.2, 0.1)[1] == pytest.approx(0.1 / 0.5)  # nothing pulls: θ' = −rκ
    assert gate.growth_headroom(0.2, 0.1)[1] == np.inf
    assert not LinearGate(decay=0.1, coupling=1.0, cost=0.0, rate=1.0).time_to_zero(0.2, 0.1) < np.inf
    above = LinearGate(decay=1.0, coupling=0.5, cost=0.5, rate=1.0)  # θ* = 2
    rho, theta, h = 3.0, 1.0, 1e-3
    for _ in range(int(float(above.time_to_zero(rho, theta)) / h) + 1):
        rho, theta = rho + h * (0.5 * theta - rho), float(np.clip(theta + h * (0.5 * rho - 0.5), 0, 1))
    assert theta == 0.0
