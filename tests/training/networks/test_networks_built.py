"""Networks against published parameter counts, independent layer lists, and torch's own counter of operations."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dynamics.models import layer_shapes as structures
from training.errors import InputError
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.sites import GateSite, UnitGroup
from training.networks import NETWORKS, BasicBlock, BottleneckResNet, Chain, Residual, ResNet, build, dense, lenet5, vgg


def usual(name):
    """(channels, classes, height) that a network is published with."""
    if name == "resnet50":
        return 3, 1000, 224
    return (1, 10, 28) if name.startswith("lenet") else (3, 10, 32)


def built(name, device="meta", **changed):
    channels, classes, size = usual(name)
    with torch.device(device):
        return build(name, channels, classes, size=size, **changed), (channels, size, size)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet20", 269_722),  # He et al., 2016: 0.27 M
        ("resnet32", 464_154),  # 0.46 M
        ("resnet44", 658_586),  # 0.66 M
        ("resnet56", 853_018),  # 0.85 M
        ("resnet110", 1_727_962),  # 1.7 M
        ("resnet50", 25_557_032),  # 25.56 M
        ("vgg16", 14_724_042),  # 14.7 M
        ("vgg16-bypass", 14_724_042),
        ("lenet-300-100", 266_610),
        ("lenet-5", 431_080),  # 431 k
    ],
)
def test_parameters_are_as_published(name, parameters):
    assert sum(p.numel() for p in built(name)[0].parameters()) == parameters


def test_resnet_50_has_its_operations():
    network, shape = built("resnet50")
    assert structure_of(network, shape).full_macs == 4_089_184_256  # 4.09 G, the stride on the 3×3 convolutions


@pytest.mark.parametrize("name", sorted({*NETWORKS} - {"resnet32", "resnet44", "resnet110"}))  # more of the same
def test_operations_and_parameters_are_exact(name):
    network, shape = built(name, width=4)  # every layer there, but thin
    structure = structure_of(network, shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, *shape, device="meta"))
    assert 2 * structure.macs(np.ones(structure.gates)) == counter.get_total_flops()
    assert structure.full_parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "size", "reference"),
    [
        (lambda: ResNet(20), 32, lambda: structures.resnet(20)),
        (lambda: ResNet(56), 32, lambda: structures.resnet(56)),
        (lambda: BottleneckResNet((3, 3, 3), 16, classes=10, small_images=True), 32, structures.bottleneck_resnet),
        (lambda: vgg(), 32, structures.chain),
        (lambda: vgg(size=64), 64, lambda: structures.chain(size=64)),
        (lambda: dense((30, 10), channels=3, size=4), 4, lambda: structures.dense([48, 30, 10, 10])),
    ],
)
def test_structures_agree_with_those_written_from_definitions(network, size, reference):
    with torch.device("meta"):
        network = network()
    read, written = structure_of(network, (3, size, size)), reference()
    assert read.gates == written.gates
    rng = np.random.default_rng(0)
    for mask in rng.integers(0, 2, (5, read.gates)):
        assert read.macs(mask) == written.macs(mask) and read.parameters(mask) == written.parameters(mask)
    theta = rng.random(read.gates)
    np.testing.assert_allclose(read.costs(theta, 0.4, 0.5, 0.3), written.costs(theta, 0.4, 0.5, 0.3), rtol=1e-12)


SMALL = {
    "resnet8": lambda: build("resnet8", 3, 10, width=4),
    "bottleneck": lambda: BottleneckResNet((1, 2), 4, classes=10),
    "vgg": lambda: vgg(((1, 1), (2, 2, 2)), 4),
    "bypass": lambda: vgg(((1, 1), (2, 2, 2)), 4, bypass=True),
    "lenet-5": lambda: lenet5((3, 5, 9), channels=3, size=32),
    "dense": lambda: dense((9, 5), channels=3, size=32),
}


@pytest.mark.parametrize("name", SMALL)
def test_open_gates_are_the_plain_network(name):
    torch.manual_seed(0)
    network = SMALL[name]()
    gates = Gates(network)
    images = torch.randn(4, 3, 32, 32)
    plain = network(images)
    gates.put(torch.ones(4, len(gates.theta)))
    torch.testing.assert_close(network(images), plain, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_every_gate_acts_and_the_first_order_estimate_reaches_it(name):
    torch.manual_seed(0)
    network = SMALL[name]()
    gates = Gates(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.bias)  # no unit asleep
    images = torch.randn(4, 3, 32, 32)
    gates.theta.data.fill_(1)
    gates.sample(4)
    network(images).square().mean().backward()
    assert gates.difference().shape == gates.theta.shape
    assert (gates.difference() != 0).double().mean() > 0.7  # a dense unit may sleep for all images


def test_bypassed_vgg_has_a_path_around_every_section():
    network, _ = built("vgg16-bypass")
    assert [b.name for b in network.branches()] == [f"section{i}" for i in range(1, 6)]
    assert [g.name for g in network.unit_groups()] == [
        "section3.units6",
        "section4.units9",
        "section5.units11",
        "section5.units12",
    ]
    plain, _ = built("vgg16")
    assert [g.name for g in plain.unit_groups()] == [f"units{i}" for i in range(1, 14)]
    shapes = [sorted(tuple(p.shape) for p in n.parameters()) for n in (network, plain)]
    assert shapes[0] == shapes[1]  # the same layers


@pytest.mark.parametrize("size", [8, 28])
def test_sizes_that_suit_no_network_are_refused_in_one_line(size):
    for name in ("vgg16", "vgg16-bypass"):
        with pytest.raises(
            InputError, match=rf"size of the images must be a multiple of 32 \(one halving a stage\); got {size}"
        ):
            build(name, 1, 10, size=size)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("resnet18", 3, 10), "network must be one of resnet8, .*lenet-5; got 'resnet18'"),
        (lambda: build("resnet20", 0, 10), "channels must be ≥ 1; got 0"),
        (lambda: build("resnet20", 3, 0), "classes must be ≥ 1; got 0"),
        (lambda: build("lenet-5", 1, 10, size=0), "size must be ≥ 1; got 0"),
        (lambda: build("vgg16", 1, 10, width=0), "width must be ≥ 1; got 0"),
        (lambda: build("lenet-5", 1, 10, size=8), "size must be ≥ 16 .*; got 8"),
        (lambda: lenet5((2, 0, 3)), r"widths must be ≥ 1; got \(2, 0, 3\)"),
        (lambda: dense((3, 0)), r"hidden must be layers of at least one unit; got \[3, 0\]"),
        (lambda: vgg(width=0), "width must be ≥ 1; got 0"),
        (lambda: vgg(((1,),), bypass=True), r"keep one width over two convolutions; got \[64\]"),
        (lambda: vgg(((1, 2),), bypass=True), r"keep one width over two convolutions; got \[64, 128\]"),
        (lambda: BottleneckResNet((3, 0)), r"blocks must be stages of at least one block; got \[3, 0\]"),
        (lambda: BottleneckResNet(width=0), "width must be ≥ 1; got 0"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)


# ---- chains: where a gate may stand


def linear():
    return nn.Linear(4, 4)


@pytest.mark.parametrize(
    "parts",
    [
        [GateSite(4), linear()],  # no layer before
        [linear(), nn.ReLU(), GateSite(4)],  # none behind
        [linear(), GateSite(4), nn.BatchNorm1d(4), linear()],  # a shift would turn zero into something
        [linear(), GateSite(4), nn.Sigmoid(), linear()],
        [linear(), GateSite(4), GateSite(4), linear()],
        [linear(), nn.BatchNorm1d(4), nn.BatchNorm1d(4), GateSite(4), linear()],
        [linear(), GateSite(4), Residual(Chain(linear(), nn.BatchNorm1d(4))), linear()],  # channels of the path
    ],
)
def test_sites_whose_units_cannot_leave_are_refused(parts):
    with pytest.raises(InputError, match=r"site '\d' must stand between two layers, its units read by"):
        Chain(*parts).unit_groups()


def test_residual_blocks_that_cannot_be_gated_are_refused():
    with pytest.raises(InputError, match="branch must end in a batch normalisation; got ReLU"):
        Residual(Chain(linear(), nn.BatchNorm1d(4), nn.ReLU()))
    with pytest.raises(InputError, match="branch must end in a batch normalisation; got nothing"):
        Residual(Chain())
    inner = Residual(Chain(linear(), nn.BatchNorm1d(4)))
    with pytest.raises(InputError, match=r"residual block '0\.0' must not lie in another's branch"):
        Chain(Residual(Chain(inner, nn.BatchNorm1d(4)))).unit_groups()


def test_gates_refuse_layers_that_do_not_fit():
    def gated(*parts):
        return Gates(Chain(*parts))

    with pytest.raises(InputError, match="site of group '1' must gate all 4 outputs of its layer; got 3 units"):
        gated(linear(), GateSite(3), linear())
    with pytest.raises(InputError, match="units of group '1' must divide the consumer's 6 inputs; got 4"):
        gated(linear(), GateSite(4), nn.Linear(6, 2))
    with pytest.raises(InputError, match="layers of group '1' must be ungrouped convolutions; got 2 groups"):
        gated(nn.Conv2d(4, 4, 1), GateSite(4), nn.Conv2d(4, 4, 1, groups=2))
    network = ResNet(8, 2)
    group = network.unit_groups()[0]
    lost = UnitGroup(group.name, group.site, group.producer, group.norm, group.consumer, "nowhere")
    network.unit_groups = lambda: [lost]
    with pytest.raises(InputError, match=r"branch of group 'block0.units' must be one of branches\(\); got 'nowhere'"):
        Gates(network)


def test_layers_run_twice_cannot_be_counted():
    twice = nn.Linear(3, 3)
    with pytest.raises(InputError, match="layer '0' must be executed once in a forward pass; it ran twice"):
        structure_of(Chain(twice, nn.ReLU(), twice), (3,))


def test_several_consumers_and_all_other_parameters_are_counted():
    """Two heads read the same units; a PReLU and a norm at the head of a branch have parameters of their own."""

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.site, self.act = nn.Conv2d(1, 4, 1), GateSite(4), nn.PReLU(4)
            self.left, self.right = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 3, 1)
            self.block = Residual(Chain(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))

        def forward(self, x):
            hidden = self.site(self.act(self.first(x)))
            return self.block(self.left(hidden)) + self.right(hidden)

        def unit_groups(self):
            return [UnitGroup("units", self.site, self.first, None, (self.left, self.right))]

        def branches(self):
            return Chain(self.block).branches()

    network = Heads()
    group = network.unit_groups()[0]
    slices = [layer.weight[:, 1].flatten() for layer in (network.left, network.right)]
    torch.testing.assert_close(group.fan_out_norm()[1], torch.cat(slices).norm())
    structure = structure_of(network, (1, 5, 5))
    assert structure.full_parameters == sum(p.numel() for p in network.parameters())
    block = sum(p.numel() for p in network.block.parameters())
    assert structure.parameters([1, 1, 1, 1, 0]) == structure.full_parameters - block
    assert structure.macs([1, 1, 1, 0, 1]) == 25 * (3 * 1 + 3 * 3 * 9 + 3 * 3 * 1 + 9)


def test_fan_out_of_a_flattened_unit_is_all_its_columns():
    network = lenet5((2, 3, 4), size=20)
    group = network.unit_groups()[1]
    assert group.consumer.weight.shape == (4, 12)
    columns = group.consumer.weight.unflatten(1, (3, 4))
    torch.testing.assert_close(group.fan_out_norm(), columns.square().sum((0, 2)).sqrt())


def test_copies_carry_no_masks():
    network = ResNet(8, 2)
    gates = Gates(network)
    gates.sample(3)
    again = copy.deepcopy(network)
    assert all(m.mask is None for m in again.modules() if isinstance(m, GateSite))
    assert network.blocks[0].units.mask is not None
    assert isinstance(again.blocks[0], BasicBlock)


def test_names_are_unique():
    for name in NETWORKS:
        network, _ = built(name, width=4)
        for places in (network.unit_groups(), network.branches()):
            names = [place.name for place in places]
            assert len(set(names)) == len(names)
        assert all(a.site is not b.site for a, b in itertools.pairwise(network.unit_groups()))
