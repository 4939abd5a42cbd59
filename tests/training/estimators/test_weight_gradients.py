"""Gradient norms against a slow reference that keeps every step, against known means, and against homogeneity."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.estimators import LEAST_SAMPLES
from training.estimators.weight_gradients import BLOCKS, GradientSums, weights_of
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.networks import BottleneckResNet, ResNet, vgg

BATCH = 48
KINDS = {
    "basic": lambda: ResNet(8, 3, 1, 3),
    "bottleneck": lambda: BottleneckResNet((1, 1), 3, channels=1, classes=3, small_images=True),
    "vgg": lambda: vgg(((1, 2), (2,)), 4, channels=1, classes=3, size=8),
    "bypass": lambda: vgg(((1, 1, 1), (2, 2, 2)), 3, channels=1, classes=3, size=8, bypass=True),
}


class Subject:
    """A double-precision network on random images, with masks of every step."""

    def __init__(self, kind, seed=0, eps=1e-5):
        torch.manual_seed(seed)
        self.network = KINDS[kind]().double()
        for module in self.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = eps
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.2, 0.5)
        self.gates = Gates(self.network).double()
        self.gates.theta.data.uniform_(0.5, 0.9)
        self.images, self.labels = torch.randn(BATCH, 1, 8, 8).double(), torch.randint(3, (BATCH,))

    def step(self):
        masks = self.gates.sample(BATCH)
        self.network.zero_grad()
        F.cross_entropy(self.network(self.images), self.labels).backward()
        return masks.detach(), masks.grad * BATCH, (masks.detach() * self.gates.informative()).sum(0)


def own_gradients(gates):
    """Each gate's own gradient as one flat vector, gate by gate."""
    found = []
    for group in gates.groups:
        for u in range(group.site.count):
            parts = []
            for consumer in group.consumers:
                columns = consumer.weight.shape[1] // group.site.count
                parts.append(consumer.weight.grad[:, u * columns : (u + 1) * columns].flatten())
            found.append(torch.cat(parts).clone())
    return found + [torch.cat([b.norm.weight.grad, b.norm.bias.grad]) for b in gates.residual]


def reference(vectors, counts):
    """By definition, one gate: mean of ⟨mean_a, mean_b⟩ over pairs of blocks; jackknife over blocks."""
    sums = [sum(v * BATCH for v in vectors[k::BLOCKS]) for k in range(BLOCKS)]
    on = [sum(counts[k::BLOCKS]) for k in range(BLOCKS)]
    if min(on) == 0 or sum(on) < LEAST_SAMPLES:
        return math.nan, math.nan
    means = [total / count for total, count in zip(sums, on, strict=True)]

    def over(blocks):
        pairs = [(a, b) for a in blocks for b in blocks if a < b]
        return sum(float(means[a] @ means[b]) for a, b in pairs) / len(pairs)

    without = [over([k for k in range(BLOCKS) if k != left]) for left in range(BLOCKS)]
    spread = sum((value - sum(without) / BLOCKS) ** 2 for value in without)
    return over(range(BLOCKS)), math.sqrt((BLOCKS - 1) / BLOCKS * spread)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_those_of_a_reference_that_keeps_every_step(kind):
    subject = Subject(kind)
    subject.gates.theta.data[0] = 0.0  # never on
    subject.gates.theta.data[1] = 0.08  # hardly ever
    sums, vectors, counts = GradientSums(subject.gates), [], []
    for _ in range(6):
        *_, on = subject.step()
        sums.add(on, BATCH)
        vectors.append(own_gradients(subject.gates))
        counts.append(on)
    found = sums.square()
    for g in range(len(subject.gates.theta)):
        value, error = reference([v[g] for v in vectors], [float(c[g]) for c in counts])
        np.testing.assert_allclose(found.value[g], value, rtol=1e-8, atol=1e-18)
        np.testing.assert_allclose(found.error[g], error, rtol=1e-6, atol=1e-18)
    assert found.value[0].isnan() and not found.value[2:].isnan().any()


@pytest.mark.parametrize("scale, low, high", [(0.1, 1.4, 2.0), (10.0, 0.75, 1.25)])
def test_noise_is_taken_off_without_bias_and_its_error_is_known(scale, low, high):
    """Known mean and noise: where noise dominates the plain squared norm is far too large, and the error √3 times."""
    gates = Gates(ResNet(8, 2, 1, 3).double())
    draw = np.random.default_rng(0)
    weights = [w for place in (*gates.groups, *gates.residual) for w in weights_of(place)]
    means = [torch.tensor(draw.normal(size=tuple(w.shape))) * scale for w in weights]
    for weight, mean in zip(weights, means, strict=True):
        weight.grad = mean.clone()
    true = torch.stack([vector.square().sum() for vector in own_gradients(gates)])
    on, values, errors, plain = torch.full((len(true),), 10.0).double(), [], [], []
    sums = GradientSums(gates)
    for _ in range(100):
        sums.clear()
        totals = [torch.zeros_like(mean) for mean in means]
        for _ in range(8):
            for weight, mean, total in zip(weights, means, totals, strict=True):
                # batch·G/on has the mean wanted: 10 samples of the batch carry the gradient.
                weight.grad = (mean + torch.tensor(draw.normal(size=tuple(mean.shape)))) * 10 / BATCH
                total += weight.grad * BATCH / 80
            sums.add(on, BATCH)
        found = sums.square()
        values.append(found.value)
        errors.append(found.error)
        for weight, total in zip(weights, totals, strict=True):
            weight.grad = total
        plain.append(torch.stack([vector.square().sum() for vector in own_gradients(gates)]))
    values, errors = torch.stack(values), torch.stack(errors)
    off = (values.mean(0) - true) / (values.std(0) / math.sqrt(len(values)))
    assert off.abs().max() < 4 and off.square().mean() < 2
    assert ((torch.stack(plain).mean(0) / true).median() > 5) == (scale < 1)
    typical = errors.square().mean(0).sqrt() / values.std(0)
    assert low < typical.median() < high and typical.min() > 0.6


def test_a_filter_before_a_normalisation_has_no_scale():
    subject = Subject("basic", eps=1e-20)
    subject.step()
    for group in subject.gates.groups:
        for layer in (group.producer, group.consumer):
            radial = (layer.weight * layer.weight.grad).flatten(1).sum(1)
            size = layer.weight.flatten(1).norm(dim=1) * layer.weight.grad.flatten(1).norm(dim=1)
            assert (radial.abs() < 1e-10 * size).all() and (size > 1e-6).all()
        before, gradient = group.producer.weight.detach().clone(), group.producer.weight.grad.clone()
        group.producer.weight.data.mul_(3.0)
        subject.network.zero_grad()
        subject.gates.put(subject.gates.sampled)
        F.cross_entropy(subject.network(subject.images), subject.labels).backward()
        torch.testing.assert_close(group.producer.weight.grad, gradient / 3)
        group.producer.weight.data.copy_(before)


def test_pulls_along_the_weights_and_homogeneity():
    """Euler: of a branch ⟨∇, w⟩ is the slopes' sum; a unit's fan-in and fan-out agree; a group does not pull."""
    subject = Subject("basic", eps=1e-20)
    masks, slopes, _ = subject.step()
    along = (masks * slopes).sum(0) / BATCH
    start = 0
    for group in subject.gates.groups:
        units = slice(start, start + group.site.count)
        out = (group.consumer.weight * group.consumer.weight.grad).sum((0, 2, 3))
        into = group.norm.weight * group.norm.weight.grad + group.norm.bias * group.norm.bias.grad
        torch.testing.assert_close(out, along[units])
        torch.testing.assert_close(into, along[units])
        assert abs(out.sum()) < 1e-12 < 1e-5 < out.abs().max()
        start = units.stop
    for g, branch in enumerate(subject.gates.residual, start=subject.gates.units):
        own = sum(float((w.detach() * w.grad).sum()) for w in (branch.norm.weight, branch.norm.bias))
        assert own == pytest.approx(float(along[g]), rel=1e-9) and abs(own) > 1e-6


def test_the_norm_bounds_the_pull_along_the_weights():
    """Cauchy–Schwarz on the blocks' means, for branches: on the same samples |slope at ξ=1| ≤ ‖∇‖ρ."""
    subject = Subject("basic")
    sums, slopes, counts = GradientSums(subject.gates), 0.0, 0.0
    masks, slope, on = subject.step()
    for _ in range(BLOCKS):  # one batch for all blocks: no noise between them
        sums.add(on, BATCH)
        slopes, counts = slopes + (masks * slope).sum(0), counts + on
    layers = slice(subject.gates.units, None)
    bound = sums.square().value[layers].sqrt() * subject.gates.weight_norms()[1][layers]
    pull = (slopes / counts)[layers].abs()
    assert (pull <= bound * (1 + 1e-9)).all() and (pull > 0.001 * bound).all()


def test_nothing_is_counted_without_gradients_or_gates():
    gates = Gates(ResNet(8, 1, 1))
    sums = GradientSums(gates)
    sums.add(torch.full((10,), 99.0), BATCH)
    assert sums.steps == 0 and sums.square().value.isnan().all()
    subject = Subject("basic")
    shrink(subject.network, None, subject.gates, torch.ones(len(subject.gates.theta), dtype=torch.bool))
    empty = GradientSums(subject.gates)
    empty.add(torch.zeros(0), BATCH)
    empty.clear()
    assert empty.square().value.shape == (0,)


def test_a_state_of_other_gates_is_refused():
    state = GradientSums(Gates(ResNet(8, 2, 1))).state_dict()
    for other in (ResNet(8, 3, 1), ResNet(14, 2, 1)):
        with pytest.raises(ValueError, match="other gates"):
            GradientSums(Gates(other)).load_state_dict(state)
