"""Certificates recomputed for other safety factors: against the tracker, against `headroom`, and monotone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics import BilinearGate, LinearGate
from tests.support.tracked_run import DECAY, RATE, tracked
from training.certificates.rules import CERTIFICATES, first_flags
from training.errors import InputError
from training.evidence.calibration import calibration, certificates_at, history_at

RUN = tracked(0, 2.0)


@given(st.integers(0, 99), st.floats(1, 7))
@settings(max_examples=8)
def test_the_run_s_own_factor_gives_what_its_tracker_recorded(seed, factor):
    run = tracked(seed, factor)
    found = certificates_at(run, factor)
    assert (run.history.margin < 0).any() and (run.history.margin >= 0).any()
    for name, values in found._asdict().items():
        np.testing.assert_array_equal(values, run.history[name].values, err_msg=name)


@given(st.floats(0.05, 60))
@settings(max_examples=20)
def test_certified_at_m_is_a_headroom_of_more_than_m(m):
    own = certificates_at(RUN, m, own=True)
    state = {name: RUN.values(name) for name in ("rho_in", "rho", "theta", "cost")}
    for kind, margin, norms, units in (
        (LinearGate, own.margin, ("rho",), slice(None)),
        (BilinearGate, own.margin_bilinear, ("rho_in", "rho"), ~RUN.history.is_branch.values),
    ):
        column = "coupling" if kind is LinearGate else "coupling_bilinear"
        once = RUN.values(column)[:, units] / RUN.factor
        known = np.isfinite(once)
        gate = kind(decay=DECAY, coupling=once[known], cost=state["cost"][:, units][known], rate=RATE)
        headroom = gate.headroom(*(state[name][:, units][known] for name in (*norms, "theta")))
        near = np.abs(headroom / m - 1) < 1e-9
        assert ((margin[:, units][known] < 0) == (headroom > m))[~near].all()
        assert (margin[:, units][~known] >= 0).all(), "without a bound nothing is certified"


@given(st.floats(0.1, 20), st.floats(1.01, 4))
@settings(max_examples=20)
def test_more_headroom_flags_fewer_gates_and_later(m, more):
    some, fewer = (first_flags(history_at(RUN, at), 0, CERTIFICATES) for at in (m, m * more))
    assert ((fewer == -1) | ((some >= 0) & (some <= fewer))).all()


def test_tables_count_fewer_flags_with_every_m():
    runs = [tracked(seed, 2.0) for seed in (1, 2)]
    rows = calibration(runs, (1.0, 2.0, 4.0, 8.0))
    assert len(rows) == 4 * 5  # three certificates for units, two for layers
    for kind, rule in {(row["kind"], row["rule"]) for row in rows}:
        flagged = [row["flagged"] for row in rows if (row["kind"], row["rule"]) == (kind, rule)]
        assert flagged == sorted(flagged, reverse=True) and flagged[0] <= sum(
            int((run.history.is_branch.values == (kind == "layers")).sum()) for run in runs
        )
    assert rows[0]["headroom"] == 1.0 and any(row["flagged"] for row in rows)


@pytest.mark.parametrize("m", [0.0, -1.0, np.inf, np.nan])
def test_a_headroom_that_is_none_is_refused(m):
    with pytest.raises(InputError, match="headroom must be > 0"):
        certificates_at(RUN, m)
