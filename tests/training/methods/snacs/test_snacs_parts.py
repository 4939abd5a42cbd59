"""The parts of SNACS, each against a slow and plain way of saying the same."""

import copy
import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.data.data_sets import load_digits
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import shrink
from training.gating.sites import GateSite
from training.methods.activations import activations
from training.methods.snacs.kernel_masks import KernelMasks, unused, zero_kernels
from training.methods.snacs.layers import layers_of, watch
from training.methods.snacs.limits import GRID, kept_at, largest, upper_limits
from training.methods.snacs.samples import images_of_each_class
from training.methods.snacs.scores import SCALES, information, normalised, scaled
from training.methods.snacs.sensitivity import critical, critical_units, protected_kernels
from training.networks import build
from training.networks.chain import Chain
from training.networks.lenet import dense


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def looked_at(digits):
    """A small network with normalisations that have seen the data, its gates and layers, some images."""
    torch.manual_seed(0)
    network = build("resnet8", 1, 10, size=8, width=4).to(memory_format=torch.channels_last)
    images, labels = images_of_each_class(digits, 15, seed=0)
    network.train()(images)
    gates = Gates(network)
    return network, gates, layers_of(network, gates, structure_of(network, digits.shape)), images, labels


# ---- images


def test_images_of_every_class_in_equal_numbers(digits):
    images, labels = images_of_each_class(digits, 7, seed=1, batch=40)
    assert torch.bincount(labels).tolist() == [7] * 10
    stored = digits.normalise(digits.train_images)
    for image, label in zip(images[::9], labels[::9], strict=True):
        same = (stored == image).flatten(1).all(1)
        assert same.any() and (digits.train_labels[same] == label).all()
    again, _ = images_of_each_class(digits, 7, seed=1, batch=40)
    other, _ = images_of_each_class(digits, 7, seed=2, batch=40)
    assert torch.equal(images, again) and not torch.equal(images, other)
    assert len(images_of_each_class(digits, 10_000, seed=0)[0]) == len(digits.train_labels)


# ---- layers


def test_activations_are_what_the_next_layer_reads(looked_at, digits):
    network, gates, layers, images, _ = looked_at
    made, read = {}, {}

    def look(pair, inputs, outputs):
        made.setdefault(pair.name, []).append(pair.made(outputs))
        read.setdefault(pair.name, []).append(pair.read(inputs))

    watch(network, gates, layers, images, look, batch=40)
    for block, expected in enumerate(activations(network, gates, images)):
        for found in (made[f"blocks.{block}.conv1"], read[f"blocks.{block}.conv2"]):
            torch.testing.assert_close(torch.cat(found), expected)
    assert network.training and not any(module._forward_hooks for module in network.modules())
    assert [pair.name for pair in layers] == [
        "conv",
        *(f"blocks.{i}.conv{j}" for i in range(3) for j in (1, 2)),
        "linear",
    ]
    logits = network.eval()(images)
    torch.testing.assert_close(torch.cat(made["linear"]), logits.detach())
    network.train()


def test_a_layer_without_kernels_is_itself_again(looked_at):
    _, _, layers, *_ = looked_at
    pair = layers[2]
    before = pair.layer.weight.clone()
    kept = torch.rand(pair.children, pair.parents) < 0.5
    with pytest.raises(RuntimeError, match="stop"), pair.without(kept):
        assert torch.equal(pair.layer.weight, before * kept[:, :, None, None])
        raise RuntimeError("stop")
    assert torch.equal(pair.layer.weight, before)


def test_flattened_units_are_one_parent_each(digits):
    network = build("lenet-5", 1, 10, size=16, width=4)
    layers = layers_of(network, Gates(network), structure_of(network, (1, 16, 16)))
    conv, linear = layers[1], layers[2]
    assert (conv.parents, conv.children, linear.parents, linear.children) == (4, 10, 10, 100)
    weight = linear.layer.weight.detach()
    columns = weight.shape[1] // 10
    assert float(linear.strength()[3, 2]) == pytest.approx(
        float(weight[3, 2 * columns : 3 * columns].abs().mean()), rel=1e-5
    )


# ---- scores


def test_information_finds_the_parent_a_child_copies_and_none_in_a_dead_one(digits):
    torch.manual_seed(1)
    network = dense((12, 8), size=8)
    with torch.no_grad():
        network.linear1.bias[5] = -100  # never on
        network.linear2.weight[3] = 0
        network.linear2.weight[3, 7] = 1
        network.linear2.bias[3] = 0
    gates = Gates(network)
    pairs = layers_of(network, gates, structure_of(network, digits.shape))[1:-1]
    images, _ = images_of_each_class(digits, 60, seed=0)
    (found,) = information(network, gates, pairs, images)
    assert found.shape == (8, 12)
    assert found[3].argmax() == 7 and np.abs(found[:, 5]).max() < 1e-12


def test_weights_are_normalised_over_the_whole_network(looked_at):
    _, _, layers, *_ = looked_at
    weights = normalised(layers)
    assert min(map(np.min, weights)) == 0 and max(map(np.max, weights)) == 1
    strengths = np.concatenate([pair.strength().numpy().ravel() for pair in layers])
    flat = np.concatenate([weight.ravel() for weight in weights])
    np.testing.assert_allclose(flat, (strengths - strengths.min()) / np.ptp(strengths), atol=1e-6)
    kernel = layers[3].layer.weight[1, 2].detach()
    assert float(layers[3].strength()[1, 2]) == pytest.approx(float(kernel.abs().mean()), rel=1e-6)


def test_scales_by_hand():
    nats, weight = np.array([[0.2, -0.1]]), np.array([[0.5, 1.0]])
    expected = {"gaussian": 0.2 * np.exp(-0.125), "magnitude": 0.1, "none": 0.2}
    assert list(expected) == list(SCALES)
    for scale, first in expected.items():
        np.testing.assert_allclose(scaled(nats, weight, scale), [[first, 0]])


# ---- protection


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0, 0.99))
def test_the_most_sensitive_are_critical(values, share):
    sensitivity = np.array(values)
    chosen = critical(sensitivity, share)
    assert chosen.sum() == (max(1, int(share * len(values))) if share else 0)
    assert sensitivity[~chosen].max(initial=0) <= sensitivity[chosen].min(initial=1)


def test_critical_filters_keep_their_rows_and_columns(looked_at):
    _, gates, layers, *_ = looked_at
    weights = [weight.copy() for weight in normalised(layers)]
    weights[2][:, 1] = 2  # block 0, second convolution: its parent 1 stands out
    weights[1][:, 3] = 2  # first convolution: channel 3 of the stream
    units = {gates.groups[0].name: critical_units(gates.groups[0], layers, weights, 0.25)}
    assert units[gates.groups[0].name].tolist() == [False, True, False, False]
    first, second = (protected_kernels(layers[i], weights[i], units, 0.25) for i in (1, 2))
    rows, columns = np.indices(first.shape)
    assert (first == ((rows == 1) | (columns == 3))).all()  # unit 1 as a child, the channel as a parent
    assert (second == (columns == 1)).all()  # its outputs are summed into the stream, and protected where that is read


# ---- limits


@given(
    st.lists(st.integers(0, 60), min_size=len(GRID), max_size=len(GRID)), st.sampled_from([0, Fraction(7, 10), 0.25, 1])
)
def test_the_limit_is_the_last_share_that_is_good_enough(right, drop):
    accuracies = [Fraction(count, 60) for count in right]
    found = largest([float(accuracy) for accuracy in accuracies], float(drop))
    floor = max(accuracies) - Fraction(drop) * (max(accuracies) - min(accuracies))
    if floor in accuracies and drop == Fraction(7, 10):
        return  # on the border itself floats decide
    assert found in GRID
    for percent, accuracy in zip(GRID, accuracies, strict=True):
        assert percent != found or accuracy >= floor
        assert percent <= found or accuracy < floor


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.integers(0, 100), st.integers(0, 9))
def test_never_more_than_the_share(children, parents, part, percent, seed):
    random = np.random.default_rng(seed)
    order = random.permutation(children * parents)[: int(part * children * parents)]
    gone = ~kept_at(order, (children, parents), percent).ravel()
    assert gone.sum() == min(len(order), percent * children * parents // 100)
    assert set(np.flatnonzero(gone)) == set(order[: gone.sum()])


def test_limits_are_those_of_networks_that_are_really_pruned(looked_at):
    """The whole network is run anew for every share, and the classifier put together by hand."""
    from sklearn.svm import LinearSVC

    network, gates, layers, images, labels = looked_at
    pairs = [layers[5]]  # its children are gated units, so `activations` reads them
    orders = [np.random.default_rng(i).permutation(pair.children * pair.parents) for i, pair in enumerate(pairs)]
    found = upper_limits(network, gates, pairs, orders, images, labels, drop=0.5)
    for pair, order, group, limit in zip(pairs, orders, (2,), found, strict=True):
        whole = activations(network, gates, images)[group].double().numpy()
        mean, deviation = whole.mean(0), np.where(whole.std(0) > 0, whole.std(0), 1)
        classifier = LinearSVC(dual=False, tol=1e-3).fit((whole - mean) / deviation, labels.numpy())
        accuracies = []
        for percent in GRID:
            pruned = copy.deepcopy(network)
            kept = torch.from_numpy(kept_at(order, (pair.children, pair.parents), percent))
            with torch.no_grad():
                zero_kernels(pruned.get_submodule(pair.name).weight, kept)
            seen = activations(pruned, Gates(pruned), images)[group].double().numpy()
            accuracies.append(classifier.score((seen - mean) / deviation, labels.numpy()))
        assert len(set(accuracies)) > 5
        assert limit == largest(accuracies, 0.5)


# ---- kernel masks


def bare(widths):
    """Dense layers without biases, all hidden units gated: a unit that reads nothing is zero."""
    parts = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        parts += [nn.Linear(inputs, outputs, bias=False)]
        parts += [nn.ReLU(), GateSite(outputs)] if i < len(widths) - 2 else []
    return Chain(*parts)


@given(
    st.lists(st.integers(1, 5), min_size=4, max_size=6), st.floats(0.2, 0.9), st.floats(0, 0.5), st.integers(0, 10**6)
)
@settings(max_examples=20)
def test_a_network_without_its_unused_units_is_the_masked_one(widths, density, sparing, seed):
    generator = torch.Generator().manual_seed(seed)
    network = bare(widths)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(6, widths[0], generator=generator)
    network(images).sum().backward()
    optimizer.step()
    gates = Gates(network)
    inner = [(str(3 * i), network[3 * i]) for i in range(1, len(widths) - 2)]
    kept = {name: torch.rand(layer.weight.shape, generator=generator) < density for name, layer in inner}
    spared = (torch.rand(gates.units, generator=generator) < sparing).numpy()
    masks = KernelMasks(network, kept)
    masks.hold(optimizer)
    expected = network(images).detach()
    going = unused(gates, {layer: kept[name].numpy() for name, layer in inner}, spared)
    assert not going[: gates.units][spared].any()
    groups, sizes = gates.groups, gates.sizes
    shrunk = shrink(network, optimizer, gates, going)
    stay = torch.zeros(sum(sizes), dtype=torch.bool)
    stay[torch.from_numpy(shrunk.kept)] = True
    masks.follow(groups, [part.nonzero().flatten() for part in stay.split(sizes)])
    torch.testing.assert_close(network(images), expected)
    for name, mask in masks.kept.items():
        assert torch.equal(network.get_submodule(name).weight != 0, mask)
    # Nothing is left to leave, but for units that are the last of their layer.
    again = unused(
        gates,
        {network.get_submodule(name): mask.numpy() for name, mask in masks.kept.items()},
        spared[shrunk.kept],
    )
    assert not again[np.repeat([size > 1 for size in gates.sizes], gates.sizes)].any()
    counts = masks.counts()
    assert counts["kernels_on"] == sum(int(mask.sum()) for mask in masks.kept.values())
    assert counts["weights_held"] == sum(int((~mask).sum()) for mask in masks.kept.values())


@pytest.mark.parametrize("shift", [-0.7, 0.7])
def test_a_unit_that_reads_nothing_takes_its_constant_along(shift):
    """Padding included: what the layer behind loses is its kernels' answer to a constant image, and nothing else."""
    torch.manual_seed(0)
    network = build("resnet8", 1, 10, size=8, width=4).eval()
    gates, block, images = Gates(network), network.blocks[1], torch.randn(5, 1, 8, 8)
    kept = torch.ones(block.conv1.weight.shape[:2], dtype=torch.bool)
    kept[:3] = False
    with torch.no_grad():
        gates.groups[1].norm.bias.fill_(shift)
        gates.groups[1].norm.running_mean.uniform_(-0.2, 0.2)
        constants = torch.relu(gates.groups[1].norm(torch.zeros(1, 8, 4, 4)))[:, :3]
    seen = []
    block.conv2.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    KernelMasks(network, {"blocks.1.conv1": kept}).hold(torch.optim.SGD(network.parameters(), lr=0.1))
    lost = torch.nn.functional.conv2d(constants, block.conv2.weight.detach()[:, :3], padding=1)
    before = network(images).detach()
    going = unused(gates, {block.conv1: kept.numpy()}, np.zeros(gates.units, bool))
    assert going.nonzero()[0].tolist() == [4, 5, 6]
    shrink(network, None, gates, going)
    after = network(images).detach()
    torch.testing.assert_close(seen[0] - seen[1], lost.expand_as(seen[0]), rtol=1e-4, atol=1e-5)
    if shift < 0:
        assert not lost.any()
        torch.testing.assert_close(after, before)
    else:
        assert float((after - before).abs().max()) > 0.05 * float(before.abs().max())  # no shift stands in for it


def test_a_branch_that_nothing_reads_leaves_with_its_masks(digits):
    network = build("resnet8", 1, 10, size=8, width=4)
    gates = Gates(network)
    names = [f"blocks.{i}.conv{j}" for i in range(3) for j in (1, 2)]
    layers = {name: network.get_submodule(name) for name in names}
    kept = {name: torch.ones(layer.weight.shape[:2], dtype=torch.bool) for name, layer in layers.items()}
    kept["blocks.1.conv2"][:] = False
    kept["blocks.2.conv2"][:, 1:3] = False
    going = unused(gates, {layers[n]: mask.numpy() for n, mask in kept.items()}, np.zeros(gates.units, bool))
    assert going.nonzero()[0].tolist() == [*range(4, 12), 13, 14]
    masks, groups, sizes = KernelMasks(network, kept), gates.groups, gates.sizes
    shrunk = shrink(network, None, gates, going)
    assert shrunk.removed.tolist() == [*range(4, 12), 13, 14, 29]  # the branch of block 1 too
    stay = torch.zeros(sum(sizes), dtype=torch.bool)
    stay[torch.from_numpy(shrunk.kept)] = True
    masks.follow(groups, [part.nonzero().flatten() for part in stay.split(sizes)[:3]])
    assert list(masks.kept) == [name for name in names if not name.startswith("blocks.1")]
    assert masks.kept["blocks.2.conv1"].shape == (14, 8) and masks.kept["blocks.2.conv2"].all()
    masks.hold(torch.optim.SGD(network.parameters(), lr=0.1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kernels_become_zero_in_every_memory_format(layout):
    weight = torch.randn(3, 4, 3, 3).contiguous(memory_format=layout)
    kept = torch.rand(3, 4) < 0.5
    expected = weight * kept[:, :, None, None]
    zero_kernels(weight, kept)
    assert torch.equal(weight, expected)
