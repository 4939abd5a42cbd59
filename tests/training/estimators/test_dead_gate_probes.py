"""Probes of gates at θ = 0: exact paired differences, the right samples, and not a bit of training changed."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from training.certificates.tracker import TrackerSettings
from training.data.data_sets import load_digits
from training.engine.callbacks import Callback
from training.engine.config import RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.loop import Training
from training.estimators.dead_gate_probes import LEAST_BATCH, ProbeSums, choose, probe, undisturbed
from training.gating.gates import Gates
from training.networks import ResNet
from training.runtime.progress import Progress


@given(st.integers(LEAST_BATCH, 40), st.integers(1, 12), st.integers(0, 2**20))
def test_each_sample_turns_on_one_gate_at_zero_that_acts_in_it(batch, gates, seed):
    draw = torch.Generator().manual_seed(seed)
    theta = torch.rand(gates, generator=draw).round()
    informative = torch.rand(batch, gates, generator=draw) < 0.6
    chosen = choose(theta, informative, draw)
    able = informative & (theta == 0)
    assert (chosen.sum(1) <= 1).all() and not (chosen & ~able).any()
    controls = -(-batch // 4)
    assert controls >= 2 and not chosen[:controls].any()
    assert (chosen.any(1) == able.any(1))[controls:].all()


def test_all_gates_at_zero_have_the_same_chance():
    theta = torch.tensor([0.0, 0.5, 0.0, 0.0])
    informative = torch.ones(40_000, 4, dtype=torch.bool)
    share = choose(theta, informative, torch.Generator().manual_seed(0))[10_000:].double().mean(0)
    np.testing.assert_allclose(share, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.01)


@given(st.integers(1, 4), st.integers(0, 999))
def test_sums_against_a_gate_by_gate_reference(passes, seed):
    draw, sums = np.random.default_rng(seed), ProbeSums.empty(3)
    on, shared = [[], [], []], [0.0, 0.0, 0.0]
    for _ in range(passes):
        chosen = np.eye(4, dtype=bool)[draw.integers(0, 4, 20)][:, :3]
        chosen[:3] = False
        acts = chosen | (draw.random((20, 3)) < 0.5)
        change, slopes = draw.normal(size=20), draw.normal(size=(20, 3))
        sums.add(*map(torch.tensor, (chosen, change, slopes, acts)))
        controls = change[~chosen.any(1)]
        for g in range(3):
            own = slopes[acts[:, g], g]
            level = own.mean() if len(own) else 0.0
            on[g] += [change[i] - controls.mean() - slopes[i, g] + level for i in np.flatnonzero(chosen[:, g])]
            noise = controls.var(ddof=1) / len(controls) + (own.var(ddof=1) / len(own) if len(own) > 1 else 0.0)
            shared[g] += chosen[:, g].sum() ** 2 * noise
    found = sums.estimate()
    for g in range(3):
        count = len(on[g])
        assert sums.count[g] == count
        if count:
            np.testing.assert_allclose(found.value[g], np.mean(on[g]))
        if count > 1:
            error = np.sqrt(np.var(on[g], ddof=1) / count + shared[g] / count**2)
            np.testing.assert_allclose(found.error[g], error)
        else:
            assert found.error[g].isnan()


@pytest.mark.parametrize("share, high", [(1.0, 1.15), (0.5, 1.8)])
def test_the_estimate_has_the_mean_and_the_error_of_the_differences(share, high):
    """Whatever slopes have to do with differences, the mean stays; the error is right or, if little, too large."""
    draw, true = torch.Generator().manual_seed(0), torch.tensor([0.3, -0.2])
    values, errors = [], []
    acts = torch.ones(64, 2, dtype=torch.bool)
    for _ in range(400):
        sums = ProbeSums.empty(2)
        for _ in range(2):
            slopes = torch.randn(64, 2, generator=draw) + 0.7
            chosen = choose(torch.zeros(2), acts, draw)
            own = true + share * (slopes - 0.7) + 0.2 * torch.randn(64, 2, generator=draw)
            change = (own * chosen).sum(1) + 0.1 * torch.randn(64, generator=draw) + 0.4
            sums.add(chosen, change, slopes, acts)
        found = sums.estimate()
        values.append(found.value)
        errors.append(found.error)
    values, errors = torch.stack(values), torch.stack(errors)
    deviation = values.std(0)
    assert ((values.mean(0) - true).abs() < 4 * deviation / 20).all()
    ratio = errors.square().mean(0).sqrt() / deviation
    assert (ratio > 0.87).all() and (ratio < high).all()


class Subject:
    """A network, its gates with some at zero, and a batch."""

    def __init__(self, network, batch, size):
        self.network, self.gates = network, Gates(network)
        self.images, self.labels = torch.randn(batch, 1, size, size), torch.randint(10, (batch,))
        draws = torch.rand(len(self.gates.theta))
        self.gates.theta.data.copy_(torch.where(draws < 0.4, 0.0, draws))

    def forward(self):
        return F.cross_entropy(self.network(self.images), self.labels, reduction="none")


def test_differences_are_those_of_each_sample_alone_with_and_without_the_gate():
    """Without batch statistics the change is exact, and controls do not change at all."""
    torch.manual_seed(0)
    subject = Subject(ResNet(8, 2, 1).double().eval(), 24, 8)
    subject.images = subject.images.double()
    subject.gates.sample(24)
    losses, seen = subject.forward(), []
    losses.mean().backward()
    losses = losses.detach()

    class Sums(ProbeSums):
        def add(self, chosen, change, slopes, informative):
            seen.append((chosen, change))

    masks = subject.gates.sampled
    shown = (masks.detach(), masks.grad, losses)
    probe(subject.network, subject.gates, *shown, subject.forward, Sums.empty(len(subject.gates.theta)))
    ((chosen, change),) = seen
    units = chosen[:, : subject.gates.units]
    assert chosen.any(1).sum() >= 15 and units.any() and chosen[:, subject.gates.units :].any()
    assert (subject.gates.sampled[:, subject.gates.parent[: subject.gates.units]][units] == 1).all()
    assert (change[:6] == 0).all() and (change[6:] != 0).any()
    for i in range(24):
        masks = subject.gates.sampled.detach()[i : i + 1].clone()
        masks[chosen[i : i + 1]] = 1
        subject.gates.put(masks)
        alone = F.cross_entropy(subject.network(subject.images[i : i + 1]), subject.labels[i : i + 1])
        np.testing.assert_allclose(change[i], (alone - losses[i]).detach(), rtol=1e-9, atol=1e-14)


def test_a_pass_leaves_everything_as_it_was():
    torch.manual_seed(1)
    subject = Subject(ResNet(8, 2, 1), 32, 8)
    masks = subject.gates.sample(32)
    losses = subject.forward()
    losses.mean().backward()
    before = copy.deepcopy(subject.network.state_dict())
    gradients = [p.grad.clone() for p in subject.network.parameters()] + [masks.grad.clone()]
    state = torch.get_rng_state()
    sums = ProbeSums.empty(len(subject.gates.theta))

    def forward():
        torch.rand(3)  # a network with randomness of its own
        return subject.forward()

    shown = (masks.detach(), masks.grad, losses.detach())
    probe(subject.network, subject.gates, *shown, forward, sums, torch.Generator().manual_seed(5))
    assert sums.count.sum() > 10 and (sums.count > 0).sum() > 3
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in subject.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    now = [p.grad for p in subject.network.parameters()] + [masks.grad]
    assert all(torch.equal(a, b) for a, b in zip(now, gradients, strict=True))
    assert subject.gates.sampled is masks and all(
        torch.equal(part, b.site.mask)
        for part, b in zip(masks[:, subject.gates.units :].split(1, 1), subject.gates.residual, strict=True)
    )


def test_buffers_come_back_even_if_the_pass_fails():
    network = ResNet(8, 1, 1)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(ZeroDivisionError), undisturbed(network):
        network(torch.randn(9, 1, 8, 8))
        assert not torch.equal(network.norm.running_mean, before["norm.running_mean"])
        raise ZeroDivisionError
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Records(Callback):
    def __init__(self):
        self.records = []

    def record(self, record):
        self.records.append(record)


def trained(probe_every, mode="shadow"):
    tracker = TrackerSettings(warmup=0, window=10, every=5, probe_every=probe_every)
    config = RunConfig(
        network="resnet8",
        width=2,
        epochs=2,
        batch=96,
        nu=1.0,
        gate_lr=3.0,
        alpha=0.2,
        seed=4,
        mode=mode,
        tracker=tracker,
    )
    torch.manual_seed(0)
    training, hooks = Training(config, ResNet(8, 2, channels=1), load_digits(), GateLearner), Records()
    training.run(Progress("test", training.steps), hooks)
    return training, hooks.records


def test_training_is_bit_for_bit_what_it_is_without_probes():
    (without, plain), (probed, records) = trained(0), trained(2)
    for name, value in without.network.state_dict().items():
        assert torch.equal(value, probed.network.state_dict()[name]), name
    assert torch.equal(without.method.gates.theta, probed.method.gates.theta)
    assert without.at.accuracy == probed.at.accuracy
    assert all((record.probe_count == 0).all() and np.isnan(record.probe).all() for record in plain)
    counts = np.array([record.probe_count for record in records])
    theta = np.array([record.theta for record in records])
    assert counts.sum() > 100
    assert np.isfinite(np.array([record.probe for record in records])[counts > 0]).all()
    for name in ("difference", "gradient_square", "coupling", "margin"):
        for a, b in zip(plain, records, strict=True):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    layers, parent = probed.method.gates.is_branch.numpy(), probed.method.gates.parent.numpy()
    acts = (parent < 0) | (theta[:, parent] > 0.2)
    for kind in (layers, ~layers):
        dead = ((theta == 0) & acts)[:, kind]
        assert dead.sum() > 2 and (counts[:, kind][dead] > 0).mean() > 0.5


def test_no_probes_in_prune_mode():
    assert all((record.probe_count == 0).all() for record in trained(1, "prune")[1])
