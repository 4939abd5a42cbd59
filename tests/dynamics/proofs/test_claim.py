"""A check that looked at nothing is an error, and a refutation names its witness."""

import pytest

from dynamics.proofs.claim import Status, held, proved, refuted


@pytest.mark.parametrize("outcome", [held, proved])
def test_nothing_checked_is_no_success(outcome):
    with pytest.raises(ValueError, match="nothing was checked"):
        outcome("no box at all", cases=0)
    assert outcome("one case", cases=1).cases == 1


def test_a_proof_without_cases_is_symbolic_and_a_refutation_has_a_witness():
    assert proved().cases is None
    assert refuted("all", {"x": 1}).status is Status.REFUTED
    with pytest.raises(ValueError, match="witness"):
        refuted("all", {})
