"""Readings, windows and headrooms judged after the fact: the run's own choice gives the run's own flags."""

import itertools

import pytest

from tests.support.tracked_run import tracked
from training.certificates.rules import RULES
from training.evidence.calibration import calibration
from training.evidence.choices import HEADROOMS, RECORDS, choices


@pytest.fixture(scope="module")
def runs():
    """Four with a window of two intervals and the reading "along"."""
    return [tracked(seed, 2.0, records=12) for seed in range(4)]


@pytest.fixture(scope="module")
def rows(runs):
    return choices(runs)


def test_the_run_s_own_choice_gives_the_certificates_it_recorded(runs, rows):
    found = {(row["kind"], row["coupling"], row["records"], row["headroom"]): row for row in rows}
    assert RULES[1].name == "half-plane"
    for row in calibration(runs, HEADROOMS):
        if row["rule"] == "half-plane":
            same = found[row["kind"], "along", 2, row["headroom"]]
            assert {name: row[name] for name in same.keys() & row.keys()} == {
                name: same[name] for name in same if name in row
            }
    assert len(found) == 2 * 4 * len(RECORDS) * len(HEADROOMS)


def test_longer_windows_and_larger_headrooms_flag_less(rows):
    units = [row for row in rows if row["kind"] == "units"]
    for reading in ("along", "confident", "gradient", "robust"):
        count = {(row["records"], row["headroom"]): row["flagged"] for row in units if row["coupling"] == reading}
        assert len(set(count.values())) > 1
        for records, m in itertools.product(RECORDS, HEADROOMS):
            assert all(count[more, m] <= count[records, m] for more in RECORDS if more > records)
            assert all(count[records, more] <= count[records, m] for more in HEADROOMS if more > m)
    flagged = {(row["coupling"], row["records"], row["headroom"]): row["flagged"] for row in units}
    assert all(flagged["robust", r, m] <= flagged["along", r, m] for r in RECORDS for m in HEADROOMS)


def test_runs_recorded_before_the_columns_existed_have_no_rows(runs):
    old = tracked(0, 2.0)
    del old.history["gradient_square"]
    assert choices([old, runs[0]]) == []
