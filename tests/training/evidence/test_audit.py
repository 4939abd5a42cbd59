"""Rules and audit: paths of known fate, and a slow reference that looks at one gate at a time."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.certificates.fates import ALIVE, DEAD, REVIVED, SETTLED, fates, settled
from training.certificates.rules import RULES, first_flags
from training.evidence.audit import as_text, audit
from training.reports.gate_paths import gate_paths

THRESHOLDS = (0.5, 0.1, 0.05, 0.01)


def history(theta, margin=None, in_box=None, is_branch=None, every=10, parent=None, cost=1.0):
    theta = np.asarray(theta, dtype=np.float32)
    shape, dims = theta.shape, ("step", "gate")
    margin = np.ones(shape, np.float32) if margin is None else np.asarray(margin, np.float32)
    return xr.Dataset(
        {
            "theta": (dims, theta),
            "rho": (dims, np.ones(shape, np.float32)),
            "margin": (dims, margin),
            "margin_bilinear": (dims, margin + np.float32(0.5)),
            "in_box": (dims, np.zeros(shape, bool) if in_box is None else in_box),
        },
        coords={
            "step": every * np.arange(1, shape[0] + 1),
            "is_branch": ("gate", np.zeros(shape[1], bool) if is_branch is None else is_branch),
            "parent": ("gate", np.full(shape[1], -1) if parent is None else np.asarray(parent)),
            "cost": (("step", "gate"), np.full(shape, cost)),
            "gate": [f"g{i}" for i in range(shape[1])],
        },
    )


def slow_first_flag(name, data, gate, warmup):
    for i, step in enumerate(data.step.values.tolist()):
        if step < warmup:
            continue
        flagged = {
            "box": bool(data.in_box[i, gate]),
            "half-plane": bool(data.margin[i, gate] < 0),
            "bilinear": bool(data.margin_bilinear[i, gate] < 0),
            **{f"θ < {level:g}": bool(data.theta[i, gate] < level) for level in THRESHOLDS},
        }
        if flagged[name]:
            return step
    return -1


def slow_verdict(flag, steps, theta):
    """(verdict, lead) of one flagged gate."""
    came_back, at_zero = False, False
    for step, value in zip(steps, theta, strict=True):
        if at_zero and value > np.float32(REVIVED):
            came_back, at_zero = came_back or step > flag, False
        at_zero = at_zero or value <= np.float32(DEAD)
    if came_back or theta[-1] >= np.float32(ALIVE):
        return "wrong", None
    if theta[-1] > np.float32(DEAD):
        return "undecided", None
    death = len(theta)
    while death and theta[death - 1] <= np.float32(DEAD):
        death -= 1
    return "caught", steps[death] - flag


paths = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(
            np.float32, shape, elements=st.sampled_from([0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 0.97, 0.98, 1.0])
        ),
        hnp.arrays(np.float32, shape, elements=st.sampled_from([-1, -0.2, 0, 0.3])),
        hnp.arrays(bool, shape),
        hnp.arrays(bool, shape[1]),
        st.integers(0, 10 * shape[0]),
    )
)


@given(paths)
@settings(max_examples=30)
def test_audit_against_one_gate_at_a_time(made):
    theta, margin, in_box, is_branch, warmup = made
    data = history(theta, margin, in_box, is_branch)
    steps = data.step.values.tolist()
    tables = audit(data, warmup)
    for kind, chosen in (("units", ~is_branch), ("layers", is_branch)):
        assert [row.rule for row in tables[kind]] == [r.name for r in RULES if kind == "units" or not r.units_only]
        for row in tables[kind]:
            verdicts, judged = [], []
            for gate in np.flatnonzero(chosen):
                flag = slow_first_flag(row.rule, data, gate, warmup)
                if flag >= 0:
                    assert flag >= warmup
                    verdicts.append(slow_verdict(flag, steps, theta[:, gate]))
                    judged.append((gate, flag, verdicts[-1][0]))
            count = {word: sum(verdict == word for verdict, _ in verdicts) for word in ("caught", "wrong", "undecided")}
            high = [flag >= 0 and word == "undecided" and theta[-1, gate] > 0.5 for gate, flag, word in judged]
            assert row.leaning == sum(high)
            leads = [lead for verdict, lead in verdicts if verdict == "caught"]
            assert row.gates == chosen.sum()
            assert row.dead == sum(theta[-1, chosen] <= np.float32(DEAD))
            assert row.flagged == len(verdicts) == row.caught + row.wrong + row.undecided
            assert (row.caught, row.wrong, row.undecided) == tuple(count.values())
            assert row.lead == (np.median(leads) if leads else None)
            assert row.caught <= row.dead


@given(paths)
def test_lower_thresholds_flag_fewer_gates_and_later(made):
    theta, margin, in_box, is_branch, warmup = made
    first = first_flags(history(theta, margin, in_box, is_branch), warmup)
    assert ((first == -1) | (first >= warmup)).all()
    levels = first[-len(THRESHOLDS) :]
    for higher, lower in itertools.pairwise(levels):
        assert ((lower == -1) | ((higher >= 0) & (higher <= lower))).all()


@given(paths)
def test_thresholds_above_death_lead_it_unless_the_warm_up_came_between(made):
    theta, margin, in_box, is_branch, warmup = made
    data = history(theta, margin, in_box, is_branch)
    fate, first = fates(data.step.values, theta), first_flags(data, warmup)
    for flag in first[3:6]:  # θ < 0.5, 0.1, 0.05
        late = fate.dead & (fate.death >= warmup)
        assert (flag[late] >= 0).all() and (flag[late] <= fate.death[late]).all()


KNOWN = {  # path at steps 10, 20, …, 80 → (caught, wrong, undecided) by a certificate given at step 30
    "dies": ([0.9, 0.6, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0], (1, 0, 0)),
    "dies late": ([0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.01], (1, 0, 0)),
    "touches zero and comes back": ([0.9, 0.6, 0.3, 0.0, 0.0, 0.2, 0.3, 0.3], (0, 1, 0)),
    "comes back and dies again": ([0.9, 0.6, 0.3, 0.0, 0.2, 0.1, 0.0, 0.0], (0, 1, 0)),
    "trembles near zero": ([0.9, 0.6, 0.3, 0.0, 0.1, 0.0, 0.05, 0.0], (1, 0, 0)),
    "came back before it was flagged": ([0.0, 0.2, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0], (1, 0, 0)),
    "came back long before it was flagged, and was on its way down": (
        [0.0, 0.9, 0.6, 0.4, 0.2, 0.0, 0.0, 0.0],
        (1, 0, 0),
    ),
    "comes back again": ([0.0, 0.9, 0.6, 0.0, 0.05, 0.2, 0.0, 0.0], (0, 1, 0)),
    "stays alive": ([0.9, 0.9, 0.8, 0.8, 0.9, 1.0, 1.0, 1.0], (0, 1, 0)),
    "undecided": ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.4], (0, 0, 1)),
    "just dead": ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1, 0.02], (1, 0, 0)),
    "not quite dead": ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1, 0.021], (0, 0, 1)),
    "not quite alive": ([0.9, 0.8, 0.7, 0.8, 0.9, 0.9, 0.97, 0.979], (0, 0, 1)),
    "just alive": ([0.9, 0.8, 0.7, 0.8, 0.9, 0.9, 0.97, 0.98], (0, 1, 0)),
}
DEATHS = {"dies": 50, "dies late": 80, "comes back and dies again": 70, "trembles near zero": 80}
DEATHS |= {"came back before it was flagged": 50, "just dead": 80, "comes back again": 70}
DEATHS |= {"came back long before it was flagged, and was on its way down": 60}


@pytest.mark.parametrize("name", KNOWN)
def test_known_fates(name):
    path, verdict = KNOWN[name]
    theta = np.array(path)[:, None]
    margin = np.where(np.arange(8) == 2, -1.0, 1.0)[:, None]
    row = next(row for row in audit(history(theta, margin), 0)["units"] if row.rule == "half-plane")
    assert (row.flagged, (row.caught, row.wrong, row.undecided)) == (1, verdict)
    assert row.dead == (name in DEATHS)
    assert row.lead == (DEATHS[name] - 30 if verdict[0] else None)


@given(hnp.arrays(np.float32, 6, elements=st.floats(0, 1, width=32)))
def test_a_gate_is_settled_exactly_where_it_is_dead_or_alive(theta):
    fate = fates(np.array([10]), theta[None])
    assert (settled(theta) == (fate.dead | fate.alive)).all()
    assert (settled(theta) == (np.minimum(theta, np.float32(1) - theta) <= SETTLED + 1e-7)).all()


@pytest.mark.parametrize("warmup", [25, 30])
def test_no_rule_flags_in_the_warm_up(warmup):
    theta = np.zeros((4, 1))
    data = history(theta, margin=-np.ones((4, 1)), in_box=np.ones((4, 1), bool))
    assert first_flags(data, warmup).tolist() == [[30]] * len(RULES)
    assert all(row.lead == -20 for row in audit(data, warmup)["units"])  # dead since step 10: no rule was early


@pytest.mark.parametrize("records", [0, 3])
def test_a_run_without_records_after_its_warm_up_is_refused(records):
    with pytest.raises(ValueError, match="nothing to audit"):
        audit(history(np.zeros((records, 2))), 31)


def test_nothing_caught_prints_a_dash():
    rows = audit(history(np.ones((3, 1))), 0)["units"]
    table = as_text(rows).splitlines()
    assert len(table) == 2 + len(RULES) and all(line.endswith("| – |") for line in table[2:])


@given(st.integers(1, 40), st.integers(2, 20))
def test_thinned_paths_keep_first_and_last(records, most):
    theta = np.linspace(1, 0, records)[:, None] * np.ones(2)
    kept = gate_paths(history(theta), 0, most)
    assert len(kept["steps"]) == min(records, most) or records > most >= len(kept["steps"])
    assert (kept["steps"][0], kept["steps"][-1]) == (10, 10 * records)
    assert kept["theta"] == [[round(float(theta[s // 10 - 1, 0]), 4)] * 2 for s in kept["steps"]]
    assert kept["certified"] == [-1, -1]


def test_a_unit_is_flagged_with_its_branch_under_every_rule():
    """Gate 0 lies in the branch of gate 1, which falls below every threshold in the second record."""
    theta = np.array([[0.9, 0.9], [0.9, 0.005], [0.9, 0.005]])
    margin = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, -1.0]])
    made = {"margin": margin, "in_box": margin < 0, "is_branch": [False, True], "parent": [1, -1]}
    assert (first_flags(history(theta, **made), 0)[:, 0] == history(theta, **made).step.values[1]).all()
    assert (first_flags(history(theta, **made | {"parent": [-1, -1]}), 0)[:, 0] == -1).all()
    assert (first_flags(history(theta, cost=0.0, **made), 0)[:, 0] == -1).all(), "without a price a unit stays"
