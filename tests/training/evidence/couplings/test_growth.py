"""Growth of couplings against a loop over gates and records, and the accessor of what was measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.support.simulated_run import FACTOR, shadow_run
from training.evidence.couplings.growth import HEADROOMS, QUANTILES, future_max, growth, ratios
from training.evidence.measurements import acting, has_measurements, share_on

values = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 8), st.integers(1, 3)), elements=st.sampled_from([-1, 0, 0.5, 1, 2, 7])
)


def made(couplings, bounds):
    """Layers with constant weights; the first row of couplings belongs to the first record."""
    states = np.full((*couplings.shape, 2), 0.5)
    return shadow_run(states, couplings[1:], bounds, np.full(couplings[1:].shape, 0.1))


@given(values, st.integers(0, 99))
@settings(max_examples=30)
def test_ratios_against_one_gate_and_record_at_a_time(couplings, seed):
    bounds = np.random.default_rng(seed).choice([0.0, 0.5, 2.0, np.inf], couplings.shape)
    found = ratios(made(couplings, bounds))
    for k, g in np.ndindex(*couplings.shape):
        later = [max(0.0, float(c)) for c in couplings[k + 1 :, g]]
        now = bounds[k, g] / FACTOR
        if not later or np.isinf(now):
            assert np.isnan(found[k, g])
        elif now == 0:
            assert found[k, g] == (np.inf if max(later) > 0 else 0)
        else:
            assert found[k, g] == pytest.approx(max(later) / now)
            # At least what the very next interval brings, and no less than from the next record on.
            assert found[k, g] >= later[0] / now * (1 - 1e-12)


@given(values)
def test_what_is_still_to_come_only_shrinks_with_time(couplings):
    later = future_max(couplings)
    assert np.isnan(later[-1]).all()
    assert (np.diff(later[:-1], axis=0) <= 0).all() and (later[:-1] >= 0).all()
    assert (later[:-1] >= couplings[1:]).all()


@given(values, st.integers(1, 3))
@settings(max_examples=20)
def test_tables_are_monotone_and_count_every_gate_and_record_once(couplings, copies):
    run = made(np.abs(couplings), 2.0)
    rows = growth([run] * copies)
    assert sum(row["count"] for row in rows) == copies * couplings[:-1].size
    assert all(row["count"] == 0 for row in rows if row["kind"] == "units")
    for row in rows:
        if row["count"]:
            assert list(row["quantiles"].values()) == sorted(row["quantiles"].values())
            assert [row["beyond"][f"{m:g}"] for m in HEADROOMS] == sorted(row["beyond"].values(), reverse=True)
            assert len(row["quantiles"]) == len(QUANTILES)


def test_ages_are_fractions_of_the_run_and_the_warm_up_counts_for_nothing():
    run = made(np.ones((10, 1)), 2.0)  # records at 10, 20, …, 100 of 100 steps; the last has no later one
    count = {row["from"]: row["count"] for row in growth([run]) if row["kind"] == "layers"}
    assert count == {0.0: 0, 0.1: 1, 0.2: 1, 0.3: 2, 0.5: 2, 0.7: 2, 0.9: 1}
    late = {row["from"]: row["count"] for row in growth([_with_warmup(run, 45)]) if row["kind"] == "layers"}
    assert late == {0.0: 0, 0.1: 0, 0.2: 0, 0.3: 0, 0.5: 2, 0.7: 2, 0.9: 1}


def _with_warmup(run, warmup):
    return type(run)(**{**run.__dict__, "warmup": warmup})


def nested(pull, difference, error, theta_branch):
    """A unit of weight ½ in the branch that is gate 1, in the columns of the tracker: given that the branch is on."""
    branch = np.stack([np.full(len(pull), 0.5), theta_branch], axis=1)
    states = np.stack([np.full((len(pull), 2), 0.5), branch], axis=1)
    run = shadow_run(states, np.zeros((len(pull) - 1, 2)), 1.0, np.full((len(pull) - 1, 2), 0.1), parent=[1, -1])
    columns = {"pull": pull, "difference": difference, "error": error}
    both = {name: np.stack([values, np.zeros(len(pull))], axis=1) for name, values in columns.items()}
    return run.history.assign({name: (("step", "gate"), values) for name, values in both.items()})


def test_what_acts_on_a_unit_is_what_was_measured_with_its_branch_on_times_how_often_it_was_on():
    on = np.array([0.8, 0.4, 0.0, 0.0])
    history = nested([1.0, 1.0, np.inf, 1.0], [-0.6, -0.6, np.nan, np.nan], [0.1, 0.1, np.nan, np.nan], on)
    share = [0.8, 0.6, 0.2, 0.0]
    assert share_on(history)[:, 0].tolist() == pytest.approx(share) and (share_on(history)[:, 1] == 1).all()
    found = acting(history)
    np.testing.assert_allclose(found.value[:, 0], [1.6, 1.2, np.nan, 0.0])  # over the norm ½
    np.testing.assert_allclose(found.lower[:, 0], [0.64, 0.48, np.nan, 0.0])  # 0.6 − 2 · 0.1
    without = acting(history.drop_vars("pull"))
    np.testing.assert_allclose(without.value[:, 0], [1.2, 1.2, np.nan, np.nan])  # an older history: D̂ over all samples


def test_a_history_without_measurements_is_known_as_such():
    history = made(np.full((3, 1), 0.4), 2.0).history
    assert has_measurements(history) and not has_measurements(history.drop_vars("error"))


def test_what_was_not_measured_does_not_grow():
    assert future_max(np.array([[1.0], [np.nan], [0.5], [np.nan]]))[:, 0].tolist()[:3] == [0.5, 0.5, 0.0]


def test_zero_weights_feel_no_coupling_and_branches_have_no_bilinear_one():
    run = made(np.full((3, 1), 0.4), 2.0)
    run.history["rho"][:] = 0.0
    assert (acting(run.history).value == 0).all()
    assert np.isnan(acting(run.history, "bilinear").value).all()
