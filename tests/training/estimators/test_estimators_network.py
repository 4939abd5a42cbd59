"""Estimators on a real gated network and real images, against enumeration of its gates."""

import functools

import pytest
import torch
import torch.nn.functional as F

from training.data.batches import batches
from training.data.data_sets import load_digits
from training.estimators import (
    Interval,
    Sums,
    all_masks,
    estimator,
    exact_difference,
    mask_probabilities,
)
from training.gating.gates import Gates
from training.networks import ResNet

FREE = [0, 1, 2, 3, 14, 15, 16]  # four units, three layers; the other units stay on
LAYERS = torch.tensor([False] * 4 + [True] * 3)
LEVEL = 0.8


def losses_and_slopes(network, gates, images, labels, free):
    masks = torch.ones(len(images), len(gates.theta))
    masks[:, FREE] = free.float()
    masks.requires_grad_()
    gates.put(masks)
    losses = F.cross_entropy(network(images), labels, reduction="none")
    slopes = torch.autograd.grad(losses.sum(), masks)[0][:, FREE]
    return losses.detach().double(), slopes.double()


@functools.cache
def trained():
    """ResNet-8 of width 2 after two epochs with random masks, and 40 images."""
    torch.manual_seed(0)
    data, network = load_digits(), ResNet(8, 2, channels=1)
    gates = Gates(network, LEVEL)
    optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9)
    order = torch.Generator().manual_seed(0)
    for _ in range(2):
        for images, labels in batches(data, 64, order):
            gates.sample(len(images))
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval(), gates, data.normalise(data.train_images[::36]), data.train_labels[::36]


@functools.cache
def table():
    """Losses [mask, image] and slopes [mask, image, gate] under all 128 masks, statistics frozen."""
    network, gates, images, labels = trained()
    masks, count = all_masks(len(FREE)), len(images)
    losses, slopes = losses_and_slopes(
        network,
        gates,
        images.repeat(len(masks), 1, 1, 1),
        labels.repeat(len(masks)),
        masks.repeat_interleave(count, 0),
    )
    return losses.view(len(masks), count), slopes.view(len(masks), count, len(FREE))


@functools.cache
def estimates(name, steps=300, batch=64):
    """D̂ and errors, [step, gate], of batches drawn from the table; and an interval over all of them."""
    losses, slopes = table()
    generator = torch.Generator().manual_seed(1)
    theta = torch.full((len(FREE),), LEVEL, dtype=torch.float64)
    places, call, found = 2 ** torch.arange(len(FREE) - 1, -1, -1), estimator(name), []
    interval = Interval.empty(len(FREE))
    for _ in range(steps):
        masks = (torch.rand(batch, len(FREE), generator=generator) < LEVEL).long()
        at, image = masks @ places, torch.randint(losses.shape[1], (batch,), generator=generator)
        data = masks.double(), slopes[at, image] / batch, losses[at, image]
        found.append(call(*data, theta))
        interval.add(Sums.of(*data))
    errors = None if found[0].error is None else torch.stack([one.error for one in found])
    return torch.stack([one.value for one in found]), errors, interval


def truth():
    theta = torch.full((len(FREE),), LEVEL, dtype=torch.float64)
    losses, slopes = (part.mean(1) for part in table())
    weights = mask_probabilities(theta)[:, None]
    on = (weights * all_masks(len(FREE)) * slopes).sum(0) / LEVEL
    off = (weights * (1 - all_masks(len(FREE))) * slopes).sum(0) / (1 - LEVEL)
    return exact_difference(losses, theta), off, on


@pytest.mark.parametrize("name", ["difference", "control", "horvitz-thompson", "horvitz-thompson-centred"])
def test_comparisons_of_losses_are_unbiased(name):
    values, errors, _ = estimates(name)
    error = values.std(0) / len(values) ** 0.5
    assert ((values.mean(0) - truth()[0]).abs() < 4.5 * error).all()
    assert ((values.std(0) / errors.square().mean(0).sqrt() - 1).abs() < 0.25).all()  # the errors are honest


def test_slopes_have_the_bias_that_enumeration_says():
    exact, off, on = truth()
    for name, mean in (("first-order", LEVEL * on + (1 - LEVEL) * off), ("trapezoid", (on + off) / 2)):
        values, errors, _ = estimates(name)
        error = values.std(0) / len(values) ** 0.5
        assert ((values.mean(0) - mean).abs() < 4.5 * error).all()
        assert ((mean - exact).abs() > 10 * error).any()  # a bias there is
        assert ((values.std(0) / errors.square().mean(0).sqrt() - 1).abs() < 0.25).all()


def test_the_trapezoid_is_less_biased_and_slopes_are_quieter():
    exact, off, on = truth()
    first, trapezoid = LEVEL * on + (1 - LEVEL) * off - exact, (on + off) / 2 - exact
    for chosen in (LAYERS, ~LAYERS):
        assert trapezoid[chosen].square().sum() < first[chosen].square().sum()
    names = ("curvature", "trapezoid", "difference")
    curvature, trapezoid, difference = (estimates(name)[0].std(0) for name in names)
    assert curvature.square().sum() < trapezoid.square().sum()
    assert (trapezoid < difference).all()


def test_corrected_is_unbiased_and_quieter_than_comparing_losses():
    values = estimates("corrected")[0][100:]
    assert (values.std(0) < estimates("difference")[0].std(0)).all()
    # The memory makes neighbours alike: 300 values are worth three independent ones, and the rest of first-order.
    error = values.std(0)
    assert ((values.mean(0) - truth()[0]).abs() < 4 * error).all()
    first = (estimates("first-order")[0].mean(0) - truth()[0])[LAYERS]
    assert (values.mean(0) - truth()[0])[LAYERS].square().sum() < 0.1 * first.square().sum()


def test_an_interval_finds_d():
    exact, off, on = truth()
    interval = estimates("difference")[2]
    value, error = interval.difference()
    assert ((value - exact).abs() < 4 * error).all() and (error < 0.1 * exact.abs().max()).all()
    torch.testing.assert_close(interval.sides(), torch.stack([off, on]), rtol=0.1, atol=0.01)


def test_slopes_are_what_gates_difference_sums():
    """The default estimator is `Gates.difference`."""
    network, gates, images, labels = trained()
    masks = gates.sample(len(images), torch.Generator().manual_seed(0))
    losses = F.cross_entropy(network(images), labels, reduction="none")
    losses.mean().backward()
    value, error = estimator()(masks, masks.grad, losses, gates.theta)
    torch.testing.assert_close(value.float(), gates.difference())
    assert (error[gates.theta > 0] > 0).any()


def test_batch_statistics_hide_what_a_mask_does_to_other_samples():
    """All 64 masks of 3 images and 2 layers: Horvitz–Thompson has the direct effect as its mean, not the whole one."""
    network, gates, images, labels = trained()
    images, labels, count = images[:3], labels[:3], 2
    theta = torch.tensor([0.3, 0.6], dtype=torch.float64)
    joint, free, losses = all_masks(3 * count).view(-1, 3, count), torch.ones(3, len(FREE)), []
    momenta = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    try:
        network.train()
        for norm in momenta:
            norm.momentum = 0.0
        for masks in joint:
            free[:, 4:6] = masks.float()
            losses.append(losses_and_slopes(network, gates, images, labels, free)[0])
    finally:
        network.eval()
        for norm in momenta:
            norm.momentum = 0.1
    losses = torch.stack(losses)  # [joint mask, image]
    chance = torch.where(joint > 0, theta, 1 - theta).flatten(1).prod(1)
    mean = sum(
        p * estimator("horvitz-thompson")(masks, torch.zeros_like(masks), loss, theta).value
        for p, masks, loss in zip(chance, joint, losses, strict=True)
    )
    # Effect of each sample's mask on each sample's loss, [sample of the mask, gate, sample of the loss].
    signs = chance[:, None, None] * torch.where(joint > 0, 1 / theta, -1 / (1 - theta))
    effects = torch.einsum("mbg,mc->bgc", signs, losses)
    direct, whole = torch.einsum("bgb->g", effects) / 3, effects.sum((0, 2)) / 3
    torch.testing.assert_close(mean, direct)
    assert ((whole - direct).abs() > 0.02 * direct.abs()).all()
