"""Intervals against enumeration: Clopper–Pearson over all outcomes, the bootstrap over all draws of runs."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import InputError
from training.evidence.pool import Flagged, best_threshold, median_lead, summary
from training.evidence.statistics import bootstrap, clopper_pearson


def mass(count, total, share):
    return math.comb(total, count) * share**count * (1 - share) ** (total - count)


@given(st.integers(1, 25), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_clopper_pearson_covers_every_share_at_least_as_often_as_it_says(total, share, level):
    covered = 0.0
    for count in range(total + 1):
        low, high = clopper_pearson(count, total, level)
        if low <= share <= high:
            covered += mass(count, total, share)
    assert covered >= level - 1e-9


@given(st.integers(1, 25), st.integers(0, 25), st.sampled_from([0.5, 0.9, 0.95]))
def test_clopper_pearson_limits_are_where_the_tails_weigh_half_of_what_is_left(total, count, level):
    count = min(count, total)
    low, high = clopper_pearson(count, total, level)
    assert low <= count / total <= high
    upper = sum(mass(k, total, low) for k in range(count, total + 1))
    lower = sum(mass(k, total, high) for k in range(count + 1))
    assert (low == 0) if count == 0 else (upper == pytest.approx((1 - level) / 2, rel=1e-6))
    assert (high == 1) if count == total else (lower == pytest.approx((1 - level) / 2, rel=1e-6))


def test_no_trials_have_no_interval():
    assert clopper_pearson(0, 0) is None


@pytest.mark.parametrize(
    "wrong, says", [((3, 2), "count"), ((-1, 2), "count"), ((1, 2, 1.0), "level"), ((1, 2, 0.0), "level")]
)
def test_impossible_counts_and_levels_are_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        clopper_pearson(*wrong)


def runs(*leads, dead=10, wrong=0):
    found = [np.array(lead, dtype=float) for lead in leads]
    return [Flagged(20, dead, len(lead) + wrong, len(lead), wrong, 0, lead, lead + 100) for lead in found]


@given(st.lists(st.lists(st.integers(-50, 500), min_size=1, max_size=6), min_size=2, max_size=4))
@settings(max_examples=12)
def test_the_bootstrap_draws_whole_runs(leads):
    """Against all draws with replacement: the quantiles lie between neighbouring quantiles of the enumeration."""
    parts = runs(*leads)
    low, high = bootstrap(parts, median_lead, level=0.8, resamples=1000)
    draws = itertools.product(range(len(parts)), repeat=len(parts))
    every = [median_lead([parts[i] for i in draw]) for draw in draws]
    for found, at in ((low, 0.1), (high, 0.9)):
        assert np.quantile(every, at - 0.06, method="lower") <= found <= np.quantile(every, at + 0.06, method="higher")


def test_one_run_says_nothing_about_the_spread_between_runs():
    assert bootstrap(runs([1, 2, 3]), median_lead) is None
    assert bootstrap(runs([1, 2, 3], [1, 2, 3]), median_lead) == (2, 2)
    assert bootstrap(runs([], []), median_lead) is None, "nothing was caught in any draw"
    same = bootstrap(runs([1, 9], [4]), median_lead)
    assert same == bootstrap(runs([1, 9], [4]), median_lead), "a report can be made again"


def test_a_setting_with_a_single_run_does_not_count_as_free_of_chance():
    parts = runs([0], [100], [200], [300])
    assert bootstrap(parts, median_lead, strata=[0, 0, 1, 1]) == (100, 200)
    assert bootstrap(parts, median_lead, strata=[0, 0, 1, 2]) == bootstrap(parts, median_lead)
    assert bootstrap(parts, median_lead, strata=[0, 1, 2, 3]) is None


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"level": 1.0}, {"resamples": 0}])
def test_a_bootstrap_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        bootstrap(runs([1], [2]), median_lead, **wrong)


def test_what_was_dead_before_its_flag_counts_as_caught_with_its_negative_lead():
    row = summary(runs([-100, -50, 30], [10]))
    assert (row["caught"], row["early"], row["lead"]) == (4, 2, -20.0)
    assert (row["caught_share"], row["wrong_share"], row["undecided"]) == (4 / 20, 0.0, 0)


def test_shares_of_nothing_are_none():
    row = summary([Flagged(3, 0, 2, 0, 0, 1, np.empty(0), np.empty(0))])
    assert (row["undecided"], row["leaning"]) == (2, 1)
    assert row["caught_share"] is row["wrong_share"] is row["wrong_interval"] is row["lead"] is None


def test_the_best_threshold_is_the_earliest_of_those_with_no_more_wrong_flags():
    certificate = runs([400, 500], wrong=1)
    plain = {"eager": runs([900], wrong=2), "as good": runs([200, 300], wrong=1), "late": runs([50, 60])}
    best = best_threshold(certificate, plain)
    assert (best["rule"], best["lead"], best["lead_ratio"]) == ("as good", 250.0, 450 / 250)
    eager = [dataclasses.replace(plain["late"][0], flagged=40, leaning=30)]
    assert best_threshold(runs([400, 500]), {"eager": eager}) is None, "harmless only as long as nothing has settled"
    assert best_threshold(runs([400, 500]), {"eager": plain["eager"]}) is None
    assert best_threshold(runs([400]), {"at death": runs([0.0])})["lead_ratio"] is None
    assert best_threshold(runs([]), plain) is None


def test_a_gate_more_that_was_caught_rules_no_threshold_out():
    """The digits: both have four wrong flags, and of more gates caught four are a smaller share."""
    (certificate,), (plain,) = runs([100] * 1426, wrong=4, dead=1429), runs([540] * 1425, wrong=4, dead=1429)
    best = best_threshold([certificate], {"θ < 0.5": [plain], "θ < 0.01": runs([30] * 1420, wrong=3, dead=1429)})
    assert (best["rule"], best["lead"]) == ("θ < 0.5", 540.0)
