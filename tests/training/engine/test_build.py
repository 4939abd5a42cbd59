"""What can be said of a run before it starts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.engine.build import too_short_to_die
from training.engine.config import RunConfig
from training.engine.optimizer import cosine


@given(
    cost=st.floats(1e-6, 1),
    gate_lr=st.floats(1e-3, 10),
    start=st.floats(0.05, 1),
    epochs=st.integers(1, 20),
    hold=st.integers(0, 30),
)
def test_it_is_said_exactly_where_a_gate_that_nothing_holds_up_is_left_above_zero(cost, gate_lr, start, epochs, hold):
    """The gate is moved step by step, as the trainer moves it."""
    config = RunConfig(epochs=epochs, hold=hold, gate_lr=gate_lr, theta_start=start)
    steps, theta = 22 * epochs, start
    for step in range(hold, steps):
        theta -= gate_lr * cosine(step, steps) * cost
    if abs(theta) > 1e-9:  # elsewhere rounding decides
        assert (too_short_to_die(config, cost, steps) is not None) == (theta > 0)


@pytest.mark.parametrize(("cost", "takes"), [(0.0, "for ever"), (1e-3, "900 steps")])
def test_it_is_said_how_long_it_would_take(cost, takes):
    text = too_short_to_die(RunConfig(epochs=1, hold=0, gate_lr=1.0, theta_start=0.9), cost, 22)
    assert re.search(rf"takes {takes}, and this run has \d+ of them", text)


def test_a_run_of_any_length_is_looked_at_at_once():
    assert too_short_to_die(RunConfig(epochs=10**9, hold=60, gate_lr=1.0), 1e-3, 22 * 10**9) is None
