"""The basin claims hold, and a separatrix moved by one percent is refuted by the same checks."""

from __future__ import annotations

import pytest

from dynamics.claims import basins
from dynamics.proofs.claim import Status


def moved(gate, factor):
    """The margin to a separatrix whose height is `factor` times the true one."""

    def margin(*state):
        true = gate.margin(*state)
        return true - (factor - 1) * (state[-1] - true)

    return margin


@pytest.mark.parametrize("factor", [0.99, 1.01])
@pytest.mark.parametrize(
    ("gates", "norms"),
    [(basins.linear_gates(), basins.around_saddle), (basins.bilinear_gates(), basins.symmetric)],
    ids=["linear", "bilinear"],
)
def test_a_moved_separatrix_is_refuted(gates, norms, factor):
    for gate in gates:
        if float(gate.saddle[-1]) < 1:  # above the strip there is none to move
            outcome = basins.exact_basin([gate], norms, lambda g: moved(g, factor), count=2000)
            assert outcome.status is Status.REFUTED, gate.parameters
            assert outcome.witness


def test_a_raised_separatrix_is_wrong_for_unequal_norms():
    gate, norms = basins.asymmetric_case(20_000)
    outcome = basins.never_wrong(gate, norms, moved(gate, 1.01), "raised")
    assert outcome.status is Status.REFUTED
    assert outcome.witness["ended"] != "ZERO"
