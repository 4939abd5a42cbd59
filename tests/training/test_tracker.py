"""The tracker against a slow one that keeps every D̂, and its margins against `dynamics`."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import training.certificates
from dynamics import BilinearGate, LinearGate
from training.errors import InputError
from training.gates import Gates
from training.networks import ResNet
from training.tracker import LEAST_ON, Tracker, TrackerSettings

DECAY, RATE, COST = 0.01, 0.5, 0.02


def gated(start=0.9):
    torch.manual_seed(0)
    return Gates(ResNet(8, 1, channels=1), start)


def move(gates, draw):
    """Other weights and probabilities, as training would make them."""
    with torch.no_grad():
        for group in gates.groups:
            for tensor in (group.norm.weight, group.norm.bias, group.consumer.weight):
                tensor.copy_(torch.tensor(draw.normal(size=tuple(tensor.shape))))
        for branch in gates.residual:
            branch.norm.weight.copy_(torch.tensor(draw.normal(size=tuple(branch.norm.weight.shape))))
        theta = draw.random(len(gates.theta)) * draw.integers(0, 2, len(gates.theta))
        gates.theta.copy_(torch.tensor(theta))


def run(settings, steps, seed=0, prepare=move):
    """Random D̂ for some steps; returns the tracker's records, and what was shown to it step by step."""
    draw, gates = np.random.default_rng(seed), gated()
    tracker = Tracker(gates, settings, decay=DECAY, rate=RATE)
    count = len(gates.theta)
    cost = torch.tensor(draw.random(count) * COST)
    records, shown = [], []
    for _ in range(steps):
        prepare(gates, draw)
        difference = torch.tensor(draw.normal(size=count) * 1e-3)
        norms = [norm.double().numpy() for norm in gates.weight_norms()]
        shown.append((difference.numpy(), gates.theta.detach().double().numpy().copy(), *norms))
        record = tracker.observe(difference, cost)
        if record is not None:
            records.append(record)
    return gates, cost.numpy(), records, shown


def reference(gates, cost, settings, shown):
    """One dictionary a record, each gate by itself, from everything that was ever shown."""
    holder, records, past = gates.holder.tolist(), [], []
    for end in range(settings.every, len(shown) + 1, settings.every):
        interval = shown[end - settings.every : end]
        _, theta, rho_in, rho = interval[-1]
        estimates, values = [], {"difference": [], "error": [], "coupling": [], "margin": [], "in_box": []}
        values |= {"coupling_bilinear": [], "margin_bilinear": []}
        for g in range(len(theta)):
            seen = [step[0][g] for step in interval]
            mean = math.fsum(seen) / len(seen)
            spread = math.fsum((d - mean) ** 2 for d in seen) / len(seen) / max(len(seen) - 1, 1)
            values["difference"].append(mean)
            values["error"].append(spread**0.5)
            on = 1.0 if holder[g] < 0 else math.fsum(step[1][holder[g]] for step in interval) / len(interval)
            pull = math.inf if on < LEAST_ON else max(0.0, -mean) / on
            estimates.append((pull / rho[g], pull / (rho_in[g] * rho[g])))
        past.append(estimates)
        for g in range(len(theta)):
            recent = past[-math.ceil(settings.window / settings.every) :]
            linear, bilinear = (settings.factor * max(e[g][k] for e in recent) for k in (0, 1))
            gate = LinearGate(decay=DECAY, coupling=linear, cost=cost[g], rate=RATE)
            values["coupling"].append(linear)
            values["margin"].append(float(gate.margin(rho[g], theta[g])))
            values["in_box"].append(bool(gate.in_box(rho[g], theta[g])))
            is_unit = holder[g] >= 0
            values["coupling_bilinear"].append(bilinear if is_unit else math.nan)
            gate = BilinearGate(decay=DECAY, coupling=bilinear if is_unit else 1, cost=cost[g], rate=RATE)
            values["margin_bilinear"].append(float(gate.margin(rho_in[g], rho[g], theta[g])) if is_unit else math.nan)
        own = {name: list(entries) for name, entries in values.items()}
        for g, h in enumerate(holder):
            if h >= 0:
                values["margin"][g] = min(own["margin"][g], own["margin"][h])
                values["margin_bilinear"][g] = min(own["margin_bilinear"][g], own["margin"][h])
                values["in_box"][g] = own["in_box"][g] or own["in_box"][h]
        records.append({"step": end, "theta": theta, "rho": rho, "rho_in": rho_in, "cost": cost, **values})
    return records


@given(st.integers(1, 4), st.integers(0, 9), st.floats(1, 3), st.integers(0, 99))
@settings(max_examples=12)
def test_records_are_those_of_a_tracker_that_keeps_everything(every, more, factor, seed):
    chosen = TrackerSettings(window=every + more, every=every, factor=factor)
    gates, cost, records, shown = run(chosen, 14, seed)
    expected = reference(gates, cost, chosen, shown)
    assert [record.step for record in records] == [record["step"] for record in expected]
    for record, slow in zip(records, expected, strict=True):
        for name, value in slow.items():
            np.testing.assert_allclose(getattr(record, name), value, rtol=1e-6, atol=1e-12, err_msg=name)


def test_the_window_forgets():
    """One strong pull counts for exactly `window` steps."""
    gates = gated()
    tracker = Tracker(gates, TrackerSettings(window=6, every=2, factor=2.0), decay=DECAY, rate=RATE)
    cost = torch.full((len(gates.theta),), COST)
    couplings = []
    for step in range(12):
        record = tracker.observe(torch.full_like(cost, -8.0 if step < 2 else -1.0), cost)
        if record:
            couplings.append(record.coupling * record.rho / 2.0)
    branch = gates.units
    assert [c[branch] for c in couplings] == pytest.approx([8, 8, 8, 1, 1, 1], rel=1e-5)


def test_a_unit_s_coupling_is_given_that_its_branch_is_on():
    gates = gated()
    with torch.no_grad():
        gates.theta[gates.units :] = torch.tensor([1.0, 0.5, 0.1])
    tracker = Tracker(gates, TrackerSettings(window=1, every=1, factor=1.0), decay=DECAY, rate=RATE)
    record = tracker.observe(torch.full((len(gates.theta),), -0.3), torch.full((len(gates.theta),), COST))
    pull = record.coupling * record.rho
    on = [1.0, *[0.5] * 2, *[0.1] * 4, 1, 1, 1]
    np.testing.assert_allclose(pull, [0.3 / share for share in on], rtol=1e-5)


def shut(gates, theta_units=0.0, theta_branches=0.0):
    with torch.no_grad():
        gates.theta[: gates.units] = theta_units
        gates.theta[gates.units :] = theta_branches


def test_units_of_a_branch_that_never_ran_have_no_certificate_of_their_own():
    gates = gated()
    shut(gates, 0.01, 0.0)
    tracker = Tracker(gates, TrackerSettings(window=1, every=1), decay=DECAY, rate=RATE)
    difference = torch.zeros(len(gates.theta))
    difference[gates.units :] = -50.0  # the branches pull hard: not certified
    record = tracker.observe(difference, torch.full_like(difference, COST))
    units = slice(gates.units)
    assert np.isinf(record.coupling[units]).all() and np.isinf(record.coupling_bilinear[units]).all()
    assert (record.margin >= 0).all() and not record.in_box.any()
    assert (record.margin_bilinear[units] >= 0).all()


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_a_certified_branch_certifies_its_units_and_no_others(branch):
    gates = gated()
    shut(gates, 1.0, 0.5)
    tracker = Tracker(gates, TrackerSettings(window=1, every=1), decay=DECAY, rate=RATE)
    difference = torch.full((len(gates.theta),), -50.0)
    difference[gates.units + branch] = 0.0  # nothing pulls it
    record = tracker.observe(difference, torch.full_like(difference, COST))
    expected = [at == branch for at in (0, 1, 1, 2, 2, 2, 2, 0, 1, 2)]
    assert (record.margin < 0).tolist() == expected
    assert record.in_box.tolist() == expected
    assert (record.margin_bilinear[: gates.units] < 0).tolist() == expected[: gates.units]


def test_weights_of_exactly_zero_certify_nothing():
    """A branch whose scale starts at zero has D = 0 now, and any slope: nothing was measured."""
    gates = gated(0.5)
    with torch.no_grad():
        gates.residual[0].norm.weight.zero_()
        gates.groups[1].consumer.weight[:, 0] = 0
    tracker = Tracker(gates, TrackerSettings(window=1, every=1), decay=DECAY, rate=RATE)
    record = tracker.observe(torch.full((len(gates.theta),), -1.0), torch.full((len(gates.theta),), COST))
    for gate in (gates.units, 1):
        assert record.rho[gate] == 0 and np.isinf(record.coupling[gate]) and record.margin[gate] >= 0


def test_margins_are_whatever_dynamics_says(monkeypatch):
    """With the regions replaced by made-up ones the records hold the made-up numbers: no formula is restated."""

    class Made:
        def __init__(self, **constants):
            self.constants = constants

        def margin(self, *state):
            return np.arange(len(state[-1])) * 0.25 + 7 + len(state)

        def in_box(self, rho, theta):
            return np.arange(len(theta)) % 2 == 0

    monkeypatch.setattr(training.certificates, "LinearGate", Made)
    monkeypatch.setattr(training.certificates, "BilinearGate", Made)
    gates, _, (record,), _ = run(TrackerSettings(window=1, every=1), 1)
    count = len(gates.theta)
    np.testing.assert_array_equal(record.margin, np.arange(count) * 0.25 + 9)
    np.testing.assert_array_equal(
        record.margin_bilinear[: gates.units],
        np.minimum(np.arange(gates.units) * 0.25 + 10, (record.margin[gates.holder.numpy()])[: gates.units]),
    )
    assert np.isnan(record.margin_bilinear[gates.units :]).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"warmup": -1},
        {"every": 0},
        {"window": 0},
        {"window": 10, "every": 20},
        {"factor": 0.5},
        {"factor": math.nan},
        {"factor": math.inf},
    ],
)
def test_impossible_settings_are_refused(bad):
    with pytest.raises(InputError, match=r"tracker\."):
        TrackerSettings(**bad)
