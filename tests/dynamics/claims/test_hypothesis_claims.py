"""Gates within the theorems' hypotheses die in time; gates beyond them, wrong margins and shorter times are refuted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynamics import BilinearGate, LinearGate
from dynamics.claims import hypotheses as claims
from dynamics.proofs.claim import Status

KINDS = {
    "linear": (claims.linear_population, LinearGate.time_to_zero, LinearGate),
    "bilinear": (claims.bilinear_population, claims.bilinear_deadline, BilinearGate),
}


@pytest.mark.parametrize("claim", [claims.linear_times, claims.bilinear_times], ids=lambda claim: claim.name)
def test_deadlines_hold(claim):
    outcome = claim.check()
    assert outcome.status is Status.HELD and outcome.cases > 30_000, outcome


@pytest.mark.parametrize("kind", KINDS)
def test_one_sided_gates_die(kind):
    population, deadline, _ = KINDS[kind]
    outcome = claims.one_sided(population(200, 1), deadline, steps=250)
    assert outcome.status is Status.HELD and outcome.cases > 90, outcome


@pytest.mark.parametrize("kind", KINDS)
def test_a_pull_two_percent_beyond_the_bound_is_refuted(kind):
    population, deadline, _ = KINDS[kind]
    outcome = claims.one_sided(replace(population(200, 1), excess=1.02), deadline, steps=250)
    assert outcome.status is Status.REFUTED
    assert outcome.witness["theta at the deadline"] > 0 or outcome.witness["rise of the margin"] > claims.ROUNDING


@pytest.mark.parametrize("kind", KINDS)
def test_a_separatrix_two_percent_higher_is_refuted(kind):
    """The starts are then certified by the raised one."""
    population, deadline, base = KINDS[kind]

    class Raised(base):
        def margin(self, *state):
            true = base.margin(self, *state)
            return true - 0.02 * (state[-1] - true)

    assert claims.one_sided(population(200, 1, kind=Raised), deadline, steps=250).status is Status.REFUTED


def test_a_shorter_time_is_refuted():
    """The linear deadline is sharp; the bilinear one leaves a tenth."""
    for kind, factor in (("linear", 0.99), ("bilinear", 0.8)):
        population, deadline, _ = KINDS[kind]
        cases = population(4000, 2)

        def shorter(*state, deadline=deadline, factor=factor):
            return factor * deadline(*state)

        assert claims.within_deadline(claims._starts(cases), deadline).status is Status.HELD
        outcome = claims.within_deadline(claims._starts(cases), shorter)
        assert outcome.status is Status.REFUTED and outcome.witness["time over deadline"] > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_populations_keep_to_the_hypotheses(kind):
    """D ≥ −ηρ and ⟨∇D, w⟩ ≥ −ηρ at random states and times, by differences of D; and D does depend on the direction."""
    population = KINDS[kind][0](300, 5)
    rng, count = np.random.default_rng(6), 300
    weights = tuple(rng.standard_normal((count, 4)) for _ in population.weights)
    time = rng.uniform(0, 10, count)
    value, gradients = population.difference(time, weights)
    norms = np.prod([np.linalg.norm(w, axis=1) for w in weights], axis=0)
    bound = -population.gate.parameters["coupling"] * norms
    assert (value > bound).all()
    for place, gradient in enumerate(gradients):
        w = weights[place]
        assert ((gradient * w).sum(1) > bound).all()
        along = rng.standard_normal(w.shape)
        h = 1e-6
        ahead, behind = (
            population.difference(time, tuple(v + s * h * along if i == place else v for i, v in enumerate(weights)))[0]
            for s in (1, -1)
        )
        np.testing.assert_allclose((ahead - behind) / (2 * h), (gradient * along).sum(1), rtol=1e-5, atol=1e-5)
        across = gradient - (gradient * w).sum(1)[:, None] * w / (w**2).sum(1)[:, None]
        assert np.median(np.linalg.norm(across, axis=1)) > 0.05
