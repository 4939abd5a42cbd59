"""Regions applied to a network's gates: without a price nothing is certified, by no margin, box, branch or bound."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.certificates.noise_bound import escape_bound
from training.certificates.regions import certify, own_certificates

PARENT = np.array([2, 2, -1])  # two units and the branch that they lie in
IS_BRANCH = PARENT < 0
gates = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(np.array)


def certificates(*, theta, rho, coupling, cost):
    states = {"theta": theta, "rho": rho, "rho_in": rho, "coupling": coupling, "coupling_bilinear": coupling}
    own = own_certificates(decay=0.5, rate=1.0, cost=cost, is_branch=IS_BRANCH, **states)
    return certify(own, PARENT, cost)


@given(gates, gates, st.lists(st.sampled_from([0.0, -0.0, 0.3, np.inf]), min_size=3, max_size=3).map(np.array))
@settings(max_examples=25)
def test_gates_without_a_price_are_never_certified(theta, rho, coupling):
    """With η = κ = 0 a gate stays where it is; with η > 0 it rises."""
    free = np.zeros(3)
    found = certificates(theta=theta, rho=rho, coupling=coupling, cost=free)
    assert not (found.margin < 0).any() and not (found.margin_bilinear < 0).any() and not found.in_box.any()
    finite = np.where(np.isfinite(coupling), coupling, 0.3)
    state = {"rho": rho + 0.1, "theta": theta, "coupling": finite, "cost": free, "error": np.full(3, 1e-6)}
    assert (escape_bound(decay=0.5, rate=1.0, every=1, step=1e-3, parent=PARENT, **state) == 1).all()


@pytest.mark.parametrize("priced", list(itertools.product([0.0, 0.4], repeat=3)))
def test_a_price_decides_gate_by_gate(priced):
    """Nothing pulls at anything: the gates with a price are certified, the others are not, whatever their branch is."""
    cost, full = np.array(priced), np.full(3, 0.5)
    found = certificates(theta=full, rho=full, coupling=np.zeros(3), cost=cost)
    assert ((found.margin < 0) == (cost > 0)).all()
    assert ((found.margin_bilinear < 0) == (cost > 0))[~IS_BRANCH].all()
    state = {"rho": full, "theta": full, "coupling": np.zeros(3), "cost": cost, "error": np.full(3, 1e-6)}
    found = escape_bound(decay=0.5, rate=1.0, every=1, step=1e-3, parent=PARENT, **state)
    assert ((found == 0) == (cost > 0)).all() and ((found == 1) == (cost == 0)).all()
