"""The tracker against a slow one that keeps every D̂, and its margins against `dynamics`."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import training.certificates.regions
from dynamics import BilinearGate, LinearGate
from training.certificates.constants import Constants
from training.certificates.tracker import Tracker, TrackerSettings
from training.errors import InputError
from training.estimators import LEAST_SAMPLES, Interval, Sums
from training.gating.gates import Gates
from training.networks import ResNet

DECAY, RATE, COST = 0.01, 0.5, 0.02


def constants():
    return Constants(decay=DECAY, rate=RATE, step=1.0)


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


BATCH = 64


def shown(gates, draw, slope=None):
    """One batch: random masks, losses and slopes, or the given slope [gate] for all samples."""
    count = len(gates.theta)
    masks = (torch.tensor(draw.random((BATCH, count))) < gates.theta.detach()).double()
    gates.sampled = masks
    slopes = draw.normal(size=(BATCH, count)) if slope is None else np.tile(slope, (BATCH, 1))
    losses = draw.random(BATCH) if slope is None else np.zeros(BATCH)
    return masks, torch.tensor(slopes / BATCH), torch.tensor(losses), gates.informative()


def run(settings, steps, seed=0, prepare=move):
    """Random batches for some steps; returns the tracker's records, and what was shown to it step by step."""
    draw, gates = np.random.default_rng(seed), gated()
    tracker = Tracker(gates, settings)
    cost = torch.tensor(draw.random(len(gates.theta)) * COST)
    records, seen = [], []
    for _ in range(steps):
        prepare(gates, draw)
        batch = shown(gates, draw)
        norms = [norm.double().numpy() for norm in gates.weight_norms()]
        seen.append((batch, gates.theta.detach().double().numpy().copy(), *norms))
        record = tracker.observe(Sums.of(*batch), cost, constants)
        if record is not None:
            records.append(record)
    return gates, cost.numpy(), records, seen


def reference(gates, cost, settings, shown):
    """Each gate by itself, from every sample that was ever shown; the interval's estimate of D is taken as given."""
    parent, records, past = gates.parent.tolist(), [], []
    is_branch = gates.is_branch
    for end in range(settings.every, len(shown) + 1, settings.every):
        steps = shown[end - settings.every : end]
        _, theta, rho_in, rho = steps[-1]
        interval = Interval.empty(len(theta))
        for batch, *_ in steps:
            interval.add(Sums.of(*batch))
        by_losses, by_slopes = interval.difference().value, interval.trapezoid().value
        estimates, values = [], {"slope_on": [], "slope_off": [], "pull": [], "coupling": [], "margin": []}
        values |= {"in_box": [], "coupling_bilinear": [], "margin_bilinear": []}
        for g in range(len(theta)):
            samples = [
                (float(masks[i, g]), float(slopes[i, g]) * BATCH)
                for (masks, slopes, _, _), *_ in steps
                for i in range(BATCH)
                if parent[g] < 0 or masks[i, parent[g]] == 1
            ]
            on, off = ([slope for mask, slope in samples if mask == side] for side in (1, 0))
            mean_on, mean_off = (math.fsum(x) / len(x) if len(x) >= LEAST_SAMPLES else math.nan for x in (on, off))
            values["slope_on"].append(mean_on)
            values["slope_off"].append(mean_off)
            difference = float(by_losses[g] if is_branch[g] and not by_losses[g].isnan() else by_slopes[g])
            known = [-mean for mean in (mean_on, mean_off) if not math.isnan(mean)]
            known += [-difference] if len(known) == 2 else []
            pull = math.inf if math.isnan(mean_off) else max(0.0, *known)
            values["pull"].append(pull)
            estimates.append((pull / rho[g], pull / (rho_in[g] * rho[g])))
        past.append(estimates)
        for g in range(len(theta)):
            recent = past[-math.ceil(settings.window / settings.every) :]
            linear, bilinear = (settings.factor * max(e[g][k] for e in recent) for k in (0, 1))
            gate = LinearGate(decay=DECAY, coupling=linear, cost=cost[g], rate=RATE)
            values["coupling"].append(linear)
            values["margin"].append(float(gate.margin(rho[g], theta[g])))
            values["in_box"].append(bool(gate.in_box(rho[g], theta[g])))
            is_unit = parent[g] >= 0
            values["coupling_bilinear"].append(bilinear if is_unit else math.nan)
            gate = BilinearGate(decay=DECAY, coupling=bilinear if is_unit else 1, cost=cost[g], rate=RATE)
            values["margin_bilinear"].append(float(gate.margin(rho_in[g], rho[g], theta[g])) if is_unit else math.nan)
        own = {name: list(entries) for name, entries in values.items()}
        for g, h in enumerate(parent):
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
    tracker = Tracker(gates, TrackerSettings(window=6, every=2, factor=2.0))
    cost = torch.full((len(gates.theta),), COST)
    couplings, draw, every = [], np.random.default_rng(0), np.ones(len(cost))
    for step in range(12):
        gates.theta.data.fill_(0.5)
        record = tracker.observe(Sums.of(*shown(gates, draw, every * (-8.0 if step < 2 else -1.0))), cost, constants)
        if record:
            couplings.append(record.coupling * record.rho / 2.0)
    branch = gates.units
    assert [c[branch] for c in couplings] == pytest.approx([8, 8, 8, 1, 1, 1], rel=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_unit_s_coupling_is_given_that_its_branch_is_on(share):
    """Slopes of a unit are zero while its branch is off; its coupling does not fall with the branch's θ."""
    gates, draw = gated(), np.random.default_rng(1)
    gates.theta.data.fill_(0.5)
    gates.theta.data[gates.units :] = share
    tracker = Tracker(gates, TrackerSettings(window=8, every=8, factor=1.0))
    for _ in range(8):
        masks, slopes, losses, informative = shown(gates, draw, np.full(len(gates.theta), -0.3))
        record = tracker.observe(
            Sums.of(masks, slopes * informative, losses, informative), torch.full((10,), COST), constants
        )
    np.testing.assert_allclose(record.pull[: gates.units], 0.3, rtol=1e-9)
    np.testing.assert_allclose((record.coupling * record.rho)[: gates.units], 0.3, rtol=1e-5)


@pytest.mark.parametrize("theta, known", [(0.0, True), (0.5, True), (1.0, False)])
def test_without_samples_at_zero_nothing_is_certified(theta, known):
    """At θ = 1 nobody has seen what happens without the gate; at θ = 0 its slope there is what pulls."""
    gates, draw = gated(), np.random.default_rng(1)
    gates.theta.data.fill_(theta)
    gates.theta.data[: gates.units] = 0.5
    tracker = Tracker(gates, TrackerSettings(window=2, every=2))
    for _ in range(2):
        record = tracker.observe(Sums.of(*shown(gates, draw, np.full(10, 1e-3))), torch.full((10,), COST), constants)
    layers = slice(gates.units, None)
    assert (record.pull[layers] == (0.0 if known else math.inf)).all()
    assert (record.margin[layers] < 0).all() == known


def shut(gates, theta_units=0.0, theta_branches=0.0):
    with torch.no_grad():
        gates.theta[: gates.units] = theta_units
        gates.theta[gates.units :] = theta_branches


def test_units_of_a_branch_that_never_ran_have_no_certificate_of_their_own():
    gates = gated()
    shut(gates, 0.01, 0.0)
    tracker = Tracker(gates, TrackerSettings(window=1, every=1))
    slope = np.zeros(len(gates.theta))
    slope[gates.units :] = -50.0  # the branches pull hard: not certified
    record = tracker.observe(
        Sums.of(*shown(gates, np.random.default_rng(0), slope)), torch.full((10,), COST), constants
    )
    units = slice(gates.units)
    assert np.isinf(record.coupling[units]).all() and np.isinf(record.coupling_bilinear[units]).all()
    assert (record.margin >= 0).all() and not record.in_box.any()
    assert (record.margin_bilinear[units] >= 0).all()


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_a_certified_branch_certifies_its_units_and_no_others(branch):
    gates = gated()
    shut(gates, 1.0, 0.5)
    tracker = Tracker(gates, TrackerSettings(window=2, every=2))
    slope, draw = np.full(len(gates.theta), -50.0), np.random.default_rng(0)
    slope[gates.units + branch] = 0.0  # nothing pulls it
    for _ in range(2):
        record = tracker.observe(Sums.of(*shown(gates, draw, slope)), torch.full((10,), COST), constants)
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
    tracker = Tracker(gates, TrackerSettings(window=1, every=1))
    batch = shown(gates, np.random.default_rng(0), np.full(10, -1.0))
    record = tracker.observe(Sums.of(*batch), torch.full((10,), COST), constants)
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

    monkeypatch.setattr(training.certificates.regions, "LinearGate", Made)
    monkeypatch.setattr(training.certificates.regions, "BilinearGate", Made)
    gates, _, (record,), _ = run(TrackerSettings(window=1, every=1), 1)
    count = len(gates.theta)
    np.testing.assert_array_equal(record.margin, np.arange(count) * 0.25 + 9)
    np.testing.assert_array_equal(
        record.margin_bilinear[: gates.units],
        np.minimum(np.arange(gates.units) * 0.25 + 10, (record.margin[gates.parent.numpy()])[: gates.units]),
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
