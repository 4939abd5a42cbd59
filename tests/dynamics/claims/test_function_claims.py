"""`in_box` and `headroom` are what is proved of them, and wrong ones are refuted."""

import pytest

from dynamics import BilinearGate, LinearGate
from dynamics.claims import functions as claims
from dynamics.proofs.claim import Status


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.name)
def test_claims_hold(claim):
    outcome = claim.check()
    assert outcome.status is Status.HELD and outcome.cases >= 6000, outcome


class NoTheta(LinearGate):
    def in_box(self, *state):
        return state[0] < self.saddle[0]


class NoRho(LinearGate):
    def in_box(self, *state):
        return state[1] < self.saddle[1]


class Empty(LinearGate):
    def in_box(self, *state):
        return state[0] < -1


@pytest.mark.parametrize("wrong", [NoTheta, NoRho, Empty])
def test_other_boxes_are_refuted(wrong):
    assert claims.box_is_exact(wrong).status is Status.REFUTED


@pytest.mark.parametrize("base", [LinearGate, BilinearGate])
@pytest.mark.parametrize("factor", [1 + 1e-6, 1 - 1e-6, 0.0])
def test_other_headrooms_are_refuted(base, factor):
    class Wrong(base):
        def headroom(self, *state):
            return factor * base.headroom(self, *state)

    assert claims.headroom_is_exact(Wrong, count=100).status is Status.REFUTED
