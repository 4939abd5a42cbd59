"""Gates that follow the bounding ODE, with assumptions that hold, or break by a known factor at a known step."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dynamics import BilinearGate, LinearGate
from tests.support.simulated_run import follow, layer_run, shadow_run
from training.certificates.rules import RULES, flag_masks
from training.evidence.promises.as_json import as_json
from training.evidence.promises.decide import VERDICTS
from training.evidence.promises.judge import judge
from training.evidence.promises.limits import seen_broken, withdrawn
from training.evidence.promises.motion import LEAP

BOX, HALF_PLANE, BILINEAR = RULES[:3]
BOUND, COST = 1.0, 0.5
START = (0.3, 0.1)  # inside the half-plane (and the box) of these constants
EDGE = (0.4, 0.3)  # just inside the half-plane, outside the box
STEPS = 30


def judged(run, rule=HALF_PLANE, kind="layers"):
    found = as_json(judge(run, rule))
    return found[kind], found["gates"]


def verdicts(counts):
    return {name: count for name, count in counts["verdicts"].items() if count}


@given(
    st.tuples(st.floats(0.01, 0.75), st.floats(0.01, 0.99)),
    st.lists(st.just(0.0) | st.floats(1e-3, 1), min_size=4, max_size=20),
    st.lists(st.floats(1, 3), min_size=20, max_size=20),
)
@settings(max_examples=40)
def test_a_gate_that_obeys_the_ode_under_its_bound_breaks_nothing(within, shares, dearer):
    """η̂ anywhere below the bound, κ never falling, from anywhere in the half-plane."""
    rho, share = within
    base = float(LinearGate(decay=0.5, coupling=BOUND, cost=COST, rate=1.0).margin(rho, 0.0))  # the margin is θ + base
    state = (rho, share * min(1.0, -base))
    costs = [COST, *(COST * factor for factor in sorted(dearer)[: len(shares) - 1])]
    states = follow(state, np.array(shares) * BOUND, costs)
    for rule in (BOX, HALF_PLANE):
        counts, gates = judged(layer_run(states, np.array(shares) * BOUND, BOUND, costs), rule)
        if rule is HALF_PLANE:
            assert counts["flagged"] == 1
        assert sum(counts["broken"].values()) == 0
        # Alive it may be, if there was no time to die; that is not held against the theorem.
        assert set(verdicts(counts)) <= {"not due"} and len(gates) == counts["wrong"]


@given(st.floats(2.5, 20), st.integers(1, 3), st.floats(0, 0.4))
@settings(max_examples=25)
def test_a_coupling_that_breaks_its_bound_is_reported_with_its_factor_and_step(factor, when, error):
    couplings = BOUND * np.where(np.arange(STEPS) < when, 0.9, factor)
    costs = np.full(STEPS, COST)
    states = follow(EDGE, couplings, costs)
    assume(states[-1, 1] >= 0.98)
    run = layer_run(states, couplings, BOUND, costs, error=error * factor)
    counts, (gate,) = judged(run)
    certain = factor * (1 - 2 * error) > 1
    assert verdicts(counts) == {"coupling, certainly" if certain else "coupling, measured": 1}
    (promise,) = gate["promises"]
    assert promise["ratio"] == pytest.approx(factor, rel=1e-9)
    assert promise["coupling"] == run.history.step.values[when + 1]
    assert promise["certain"] == (promise["coupling"] if certain else -1)
    assert promise["gain"] == pytest.approx(np.max(couplings * states[1:, 0]) / COST)
    assert promise["motion"] == -1, "what follows a broken coupling is no fault of the motion"


def test_a_cost_that_falls_is_reported_with_its_ratio():
    costs = COST * np.where(np.arange(STEPS) < 2, 1.0, 0.25)
    couplings = np.full(STEPS, BOUND)
    states = follow(EDGE, couplings, costs)
    assert states[-1, 1] >= 0.98
    run = layer_run(states, couplings, BOUND, costs)
    counts, (gate,) = judged(run)
    assert verdicts(counts) == {"cost": 1}
    (promise,) = gate["promises"]
    assert (promise["cost"], promise["cost_ratio"]) == (run.history.step.values[3], 0.25)
    assert promise["coupling"] == -1


def test_an_alive_gate_with_no_assumption_broken_is_a_refutation():
    """It follows the ODE under its bound, away from zero: what was called a certificate was none."""
    couplings, costs = np.full(STEPS, BOUND), np.full(STEPS, COST)
    states = follow((1.5, 0.9), couplings, costs)
    assert states[-1, 1] == 1.0
    counts, gates = judged(layer_run(states, couplings, BOUND, costs))
    assert counts["flagged"] == 0 and not gates
    counts, (gate,) = judged(layer_run(states, couplings, BOUND, costs, margin=-0.5))
    assert verdicts(counts) == {"refutation": 1} and gate["verdict"] == "refutation"
    (promise,) = gate["promises"]
    assert promise["fate"] in ("ALIVE", "DIVERGED") and promise["ratio"] == pytest.approx(1.0)


def test_a_false_certificate_is_a_refutation_even_of_a_gate_that_died():
    couplings, costs = np.where(np.arange(STEPS) < 1, BOUND, 0.0), np.full(STEPS, COST)
    states = follow((1.2, 0.6), couplings, costs)
    assert states[-1, 1] == 0.0
    counts, (gate,) = judged(layer_run(states, couplings, BOUND, costs, margin=-0.5))
    assert (counts["caught"], counts["wrong"], verdicts(counts)) == (1, 0, {"refutation": 1})
    assert gate["outcome"] == "caught"


def test_margins_told_from_zero_by_storage_alone_refute_nothing():
    couplings, costs = np.full(STEPS, BOUND), np.full(STEPS, COST)
    states = follow((1.5, 0.9), couplings, costs)
    counts, gates = judged(layer_run(states[:1].repeat(2, 0), couplings[:1], BOUND, costs[:1], margin=-1e-6))
    assert counts["flagged"] == 1 and not gates


@pytest.mark.parametrize("leap, name", [(0.3, "step"), (0.03, "drift")])
def test_a_state_that_leaves_the_ode_is_seen_in_one_record_or_little_by_little(leap, name):
    """The coupling stays within its bound; θ is pushed up beyond what the ODE allows."""
    couplings, costs = np.full(60, 0.1), np.full(60, 0.02)
    states = [np.array([0.05, 0.1])]
    for _ in range(60):
        nxt = follow(states[-1], [0.1], [0.02])[-1]
        states.append(np.array([nxt[0], min(1.0, nxt[1] + leap)]))
    counts, (gate,) = judged(layer_run(np.array(states), couplings, 0.1, costs))
    assert verdicts(counts) == {name: 1}
    (promise,) = gate["promises"]
    assert promise["leap"] == pytest.approx(leap, abs=1e-6) and (leap > LEAP) == (name == "step")
    assert promise["motion"] == 20 and promise["excess"] == pytest.approx(leap, abs=1e-6)
    assert {what: sum(counts[what].values()) for what in ("step", "drift")} == {"step": 0, "drift": 0} | {name: 1}


def test_a_coupling_that_breaks_later_is_no_excuse_for_an_earlier_jump():
    """θ is thrown to 1 while the coupling keeps its bound; from the last records on it does not."""
    couplings, costs = np.where(np.arange(STEPS) < STEPS - 3, 0.9 * BOUND, 9.0), np.full(STEPS, COST)
    before = follow(EDGE, couplings[:1], costs[:1])
    states = np.concatenate([before, follow((before[-1, 0], 1.0), couplings[1:], np.zeros(STEPS - 1))])
    assert states[-1, 1] == 1.0
    counts, (gate,) = judged(layer_run(states[:-1], couplings, BOUND, costs))
    assert verdicts(counts) == {"step": 1} and counts["step"]["wrong"] == counts["coupling"]["wrong"] == 1
    (promise,) = gate["promises"]
    assert 0 < promise["motion"] < promise["certain"]


def test_only_what_happened_up_to_the_first_return_is_judged():
    """It comes back within its bound, is thrown to zero, and would break its coupling only after that."""
    couplings, costs = np.where(np.arange(STEPS) < 20, 0.5 * BOUND, 9.0), np.full(STEPS, COST)
    theta = np.zeros(STEPS + 1)
    theta[:2], theta[8:10], theta[22:] = START[1], 0.9, 0.9  # comes back twice
    states = np.stack([np.full(STEPS + 1, START[0]), theta], axis=1)
    counts, (gate,) = judged(layer_run(states, couplings, BOUND, costs))
    assert verdicts(counts) == {"step": 1}
    (promise,) = gate["promises"]
    assert promise["coupling"] == -1 and promise["ratio"] == pytest.approx(0.5)


def test_a_promise_that_had_no_time_is_not_due():
    couplings, costs = np.full(2, 1e-3), np.full(2, 1e-3)
    states = follow((0.01, 1.0), couplings, costs)
    counts, (gate,) = judged(layer_run(states, couplings, 1e-3, costs))
    assert verdicts(counts) == {"not due": 1}
    assert gate["promises"][0]["left"] == pytest.approx(states[-1, 1], abs=1e-9)


def test_a_broken_assumption_does_not_stop_a_gate_from_dying():
    couplings, costs = BOUND * np.where(np.arange(STEPS) == 1, 1.5, 0.5), np.full(STEPS, COST)
    counts, gates = judged(layer_run(follow(START, couplings, costs), couplings, BOUND, costs))
    assert (counts["caught"], counts["broken"]["caught"], counts["wrong"], gates) == (1, 1, 0, [])


@given(st.floats(0.2, 1.0), st.floats(0.2, 1.0), st.floats(2.5, 8))
@settings(max_examples=15)
def test_the_bilinear_promise_is_kept_under_its_bound_and_broken_by_its_factor(rho_in, rho, factor):
    state = (rho_in, rho, 0.3)
    assume(float(BilinearGate(decay=0.5, coupling=BOUND, cost=COST, rate=1.0).margin(*state)) < -1e-3)
    costs = np.full(STEPS, COST)
    for last in (0.9, factor):
        couplings = BOUND * np.where(np.arange(STEPS) < 2, 0.9, last)
        states = follow(state, couplings, costs)[:, None]
        run = shadow_run(states, couplings[:, None], BOUND, costs[:, None], bilinear=True)
        counts, gates = judged(run, BILINEAR, "units")
        outcome = next(name for name in ("wrong", "caught", "undecided") if counts[name])
        assert counts["flagged"] == 1 and counts["broken"][outcome] == (last > 1)
        if counts["wrong"]:
            assert gates[0]["promises"][0]["ratio"] == pytest.approx(factor)
            assert verdicts(counts) == {"coupling, certainly": 1}


def nested(branch, unit, branch_couplings, unit_couplings, costs, bound=BOUND):
    """Gate 0 is a unit in the branch of gate 1; its own bound certifies nothing."""
    states = np.stack([unit, branch], axis=1)
    couplings = np.stack([unit_couplings, branch_couplings], axis=1)
    return shadow_run(states, couplings, [np.inf, bound], np.stack([costs, costs], axis=1), parent=[1, -1])


def test_a_unit_that_came_with_its_branch_is_judged_by_the_branch():
    costs = np.full(STEPS, COST)
    couplings = BOUND * np.where(np.arange(STEPS) < 2, 0.9, 5.0)
    branch = follow(EDGE, couplings, costs)
    unit = follow((2.0, 1.0), np.full(STEPS, 4.0), costs)
    counts, (gate, of_branch) = judged(nested(branch, unit, couplings, np.full(STEPS, 4.0), costs), kind="units")
    assert (gate["gate"], of_branch["gate"], of_branch["kind"]) == ("g0", "g1", "layers")
    assert verdicts(counts) == {"coupling, certainly": 1}
    (promise,) = gate["promises"]
    assert promise["subject"] == "g1" and promise["ratio"] == pytest.approx(5.0)


def test_a_unit_whose_branch_kept_its_promise_is_judged_by_its_own_motion():
    """The branch dies and nothing pulls at the unit any more, but it does not fall: only the ODE broke."""
    costs, couplings = np.full(STEPS, COST), np.full(STEPS, 0.9 * BOUND)
    branch = follow(START, couplings, costs)
    assert branch[-1, 1] == 0
    stuck = np.tile([1.0, 1.0], (STEPS + 1, 1))
    counts, _ = judged(nested(branch, stuck, couplings, np.zeros(STEPS), costs), kind="units")
    assert verdicts(counts) == {"step": 1}
    pulled, _ = judged(nested(branch, stuck, couplings, np.full(STEPS, 0.7), costs), kind="units")
    assert verdicts(pulled) == {"coupling, certainly": 1}, "a pull while the branch is at zero breaks the nesting"
    falling = follow((1.0, 1.0), np.zeros(STEPS), costs)
    counts, gates = judged(nested(branch, falling, couplings, np.zeros(STEPS), costs), kind="units")
    assert counts["caught"] == 1 and not gates


def test_before_its_branch_is_at_zero_nothing_is_due_of_a_unit():
    couplings, costs = np.full(3, 1e-3), np.full(3, 1e-3)
    branch = follow((0.01, 1.0), couplings, costs)
    assert branch[-1, 1] > 0.99
    run = nested(branch, np.tile([1.0, 1.0], (4, 1)), couplings, np.full(3, 0.5), costs, bound=1e-3)
    counts, _ = judged(run, kind="units")
    assert (counts["wrong"], verdicts(counts)) == (1, {"not due": 1})


def test_of_two_promises_the_one_with_the_least_excuse_counts():
    """The unit's own bound is broken, its branch's is not: the branch's promise still stands."""
    costs = np.full(STEPS, COST)
    branch = follow(START, np.full(STEPS, 0.9), costs)
    stuck = np.tile([0.3, 0.99], (STEPS + 1, 1))
    stuck[0] = START
    states = np.stack([stuck, branch], axis=1)
    couplings = np.stack([np.r_[9.0, np.zeros(STEPS - 1)], np.full(STEPS, 0.9)], axis=1)
    run = shadow_run(states, couplings, BOUND, np.stack([costs, costs], axis=1), parent=[1, -1])
    counts, (gate,) = judged(run, kind="units")
    assert [promise["subject"] for promise in gate["promises"]] == ["g0", "g1"]
    assert gate["promises"][0]["verdict"] == "coupling, certainly"
    assert gate["verdict"] == gate["promises"][1]["verdict"] == "step"
    assert counts["broken"]["wrong"] == 0


@given(st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.5, 1))
@settings(max_examples=20)
def test_the_audit_sees_the_same_broken_couplings_and_costs_without_the_constants_of_the_ode(of_unit, of_branch, cheap):
    """A unit whose own certificate is the deeper one, one that has its branch's, and the branch."""
    costs = COST * np.where(np.arange(STEPS) < 5, 1.0, cheap)
    branch = follow(START, np.full(STEPS, 0.9), np.full(STEPS, COST))
    deep, shallow = np.tile([0.01, 0.02], (STEPS + 1, 1)), np.tile([2.0, 1.0], (STEPS + 1, 1))
    states = np.stack([deep, shallow, branch], axis=1)
    later = (np.arange(STEPS) > 2)[:, None]
    couplings = np.where(later, [of_unit, 9.0, of_branch], 0.1)
    run = shadow_run(states, couplings, BOUND, np.stack([costs] * 3, axis=1), parent=[2, 2, -1])
    seen = seen_broken(run.history, HALF_PLANE, flag_masks(run.history, 0, [HALF_PLANE])[0])
    cheaper, rest = cheap < 1 - 1e-6, 1 + 1e-6
    assert seen.tolist() == [of_unit > rest or cheaper, of_branch > rest or cheaper, of_branch > rest or cheaper]


def test_withdrawn_means_flagged_once_and_not_flagged_at_a_later_record():
    mask = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]], dtype=bool)
    when = withdrawn(np.array([10, 20, 30]), mask)
    assert (when >= 0).tolist() == [False, True, False, False] and when[1] == 20


@given(st.lists(st.floats(0, 4), min_size=6, max_size=20), st.floats(0.05, 0.9), st.floats(0.01, 1))
@settings(max_examples=25)
def test_every_wrong_gate_gets_exactly_one_verdict_and_none_is_a_refutation(shares, rho, theta):
    couplings, costs = BOUND * np.where(np.array(shares) < 1e-3, 0, shares), np.full(len(shares), COST)
    run = layer_run(follow((rho, theta), couplings, costs), couplings, BOUND, costs)
    counts, gates = judged(run)
    assert sum(counts["verdicts"].values()) == counts["wrong"] == len(gates)
    assert counts["verdicts"]["refutation"] == 0 and list(counts["verdicts"]) == list(VERDICTS)
    assert counts["flagged"] == counts["caught"] + counts["wrong"] + counts["undecided"]
