"""The claims about momentum come out as they must, and wrong variants of them are refuted."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from dynamics.claims import heavy_ball
from dynamics.gates.heavy_ball import (
    GROWTH,
    MOMENTUM,
    VELOCITY,
    HeavyBallGate,
    coefficients,
    escape_deviations,
    linear_form,
)
from dynamics.gates.linear import RHO
from dynamics.proofs.claim import Status

HUNDREDTH = sp.Rational(1, 100)


@pytest.mark.parametrize("part", [RHO, VELOCITY])
def test_a_coefficient_moved_by_one_percent_is_refuted(part):
    wrong = linear_form() + HUNDREDTH * sp.diff(linear_form(), part) * part
    assert heavy_ball.growth_check(wrong).status is Status.REFUTED


@pytest.mark.parametrize("factor", [0, 1 - MOMENTUM, 1 + HUNDREDTH])
def test_another_allowance_for_the_clip_is_refuted(factor):
    assert heavy_ball.clip_check(factor * coefficients()[2]).status is Status.REFUTED


def test_another_allowance_is_no_part_of_what_is_monotone():
    wrong = (1 - MOMENTUM) * coefficients()[2]
    assert heavy_ball.monotone_check(wrong).status is Status.REFUTED


def test_a_noise_bound_that_leaves_the_buffer_out_is_refuted():
    dependent, independent = escape_deviations()
    assert heavy_ball.noise_check((dependent * (1 + GROWTH), independent)).status is Status.REFUTED


class HalfPlane(HeavyBallGate):
    """Certifies with the margin of the ODE, whatever the buffer."""

    def margin(self, rho, theta, velocity):
        p = self.parameters
        rate = p["gate_lr"] * (1 - p["momentum"]) / p["lr"]
        flow = heavy_ball.LinearGate(decay=p["decay"], coupling=p["coupling"], cost=p["cost"], rate=rate)
        return flow.margin(rho, theta)


def test_the_half_plane_certifies_states_that_live():
    outcome = heavy_ball.basin_check(heavy_ball.states(12, 20, 1, HalfPlane))
    assert outcome.status is Status.REFUTED
    found = dict(outcome.witness)
    state = (found.pop("rho"), found.pop("theta"), found.pop("velocity"))
    gate, highest = HeavyBallGate(**found), 0.0
    assert not gate.certified(*state)
    for _ in range(3000):
        state = gate.step(*state)
        highest = max(highest, float(state[1]))
    assert np.isclose(highest, 1.0)
