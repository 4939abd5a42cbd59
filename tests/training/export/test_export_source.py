"""Plain source: the same function as the network that it was written from, for every network and any removal."""

import ast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.support.pruned_run import KINDS, Run, assert_equal, removal, removals
from training.errors import InputError
from training.export import Inputs, load, plain
from training.export.constructor import constructor
from training.export.decided import decided
from training.export.plain_network import Plain
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.gating.sites import GateSite
from training.networks import NETWORKS, Chain, build


def written(network, shape=(1, 4, 4), classes=3):
    c = shape[0]
    return plain(network.eval(), Inputs(shape, (0.5,) * c, (2.0,) * c, "numbers from 0 to 1"), classes, "A network.")


@torch.no_grad()
def assert_same(network, images):
    """The plain network computes what the network does, whatever the number of images."""
    made = written(network, tuple(images.shape[1:]) if images.dim() == 4 else (1, 1, 1))
    again = load(made)
    for part in (images, images[:1]):
        torch.testing.assert_close(again(part), network(part), rtol=1e-6, atol=1e-6)
    return made, again


def assert_plain(source):
    """Source that reads nothing but torch, has one class, no gates, and lines that fit."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.names[0].name if isinstance(node, ast.Import) else node.module for node in imports}
    assert names <= {"torch", "torch.nn"}
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["Network"]
    assert "Gate" not in source and max(map(len, source.splitlines())) <= 120


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_full_pruned_and_emptied(name):
    torch.manual_seed(0)
    channels, size = (1, 28) if name.startswith("lenet") else (3, 32)
    network = build(name, channels, 10, size=size, width=2).eval()
    gates = Gates(network)
    deep = name in ("resnet32", "resnet44", "resnet56", "resnet110")  # as resnet20, only longer
    for share in [0.5, 1.0] if deep else [0.0, 0.5, 1.0]:
        shrink(network, None, gates, torch.rand(len(gates.theta)) < share)
        made, again = assert_same(network, torch.randn(2, channels, size, size))
        assert_plain(made.source)
        assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in network.parameters())
    if name.startswith("resnet") and name != "resnet50":
        assert again.state_dict().keys() == {*_of("conv", "weight"), *_norm("norm"), *_of("linear", "weight", "bias")}


def _of(layer, *names):
    return [f"{layer}.{name}" for name in names]


def _norm(layer):
    return _of(layer, "weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@given(st.sampled_from([*KINDS]), st.integers(0, 99), removals())
@settings(max_examples=25)
def test_any_removal_on_any_kind_of_network(kind, seed, drawn):
    run = Run(kind, seed, steps=1, dtype=torch.float32)
    run.gates.open()
    shrink(run.network, None, run.gates, removal(run.gates, drawn))
    made, _ = assert_same(run.network.eval(), run.images)
    assert_plain(made.source)


@given(st.sampled_from([*KINDS]), st.integers(0, 99), removals())
@settings(max_examples=15)
def test_the_decided_network_is_the_masked_one_and_the_run_is_left_as_it_was(kind, seed, drawn):
    run = Run(kind, seed, steps=1, dtype=torch.float32)
    off = removal(run.gates, drawn)
    run.gates.theta.data[off] = 0.3
    run.gates.theta.data[~off] = 0.5
    before, sampled = run.state(), run.gates.sampled
    masked, shrunken, left = decided(run.network, run.gates)
    assert left.origin.tolist() == (~run.gates.with_dependents(off)).nonzero().flatten().tolist()
    with torch.no_grad():
        torch.testing.assert_close(shrunken(run.images), masked(run.images), rtol=1e-5, atol=1e-5)
    assert_equal(run.state(), before)
    assert run.network.training and run.gates.sampled is sampled
    assert all(p.requires_grad for p in run.network.parameters())


# ---- source of single parts

LAYERS = [
    *(nn.Conv2d(2, 4, 3), nn.Conv2d(2, 4, (3, 1), 2, (1, 0), (1, 2), 2, False), nn.Conv2d(2, 2, 3, padding="same")),
    *(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), nn.Linear(3, 2), nn.Linear(3, 2, bias=False)),
    *(nn.BatchNorm2d(3), nn.BatchNorm1d(3, eps=0.1, momentum=None), nn.BatchNorm2d(3, affine=False)),
    *(nn.BatchNorm2d(3, track_running_stats=False), nn.LayerNorm((3, 3)), nn.GroupNorm(2, 4), nn.PReLU(4)),
    *(nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(3, (1, 2)), nn.AvgPool2d((2, 1))),
    *(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((1, None)), nn.Flatten(), nn.Flatten(1, 2), nn.Dropout(0.3)),
    *(nn.ReLU(inplace=True), nn.LeakyReLU(0.2), nn.GELU("tanh"), nn.SiLU(), nn.Softmax(dim=1), nn.Hardtanh(-2, 2)),
    *(nn.Conv2d(3, 8, 4, 4), nn.Conv2d(2, 2, (2, 4), (2, 4)), nn.Conv1d(2, 4, 3, 3), nn.ConvTranspose2d(8, 4, 2, 2)),
    *(nn.Unfold(2, stride=2), nn.LPPool2d(2, 3), nn.AvgPool2d(2, 2), nn.AvgPool2d(3, 1)),
    *(nn.ConvTranspose2d(2, 4, 3, 2, output_padding=1), nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 2, 0))),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_constructor_makes_the_same_layer(layer):
    again = eval(constructor(layer), {"nn": nn})
    assert repr(again) == repr(layer)
    assert [(k, v.shape) for k, v in again.state_dict().items()] == [
        (k, v.shape) for k, v in layer.state_dict().items()
    ]


class Program(nn.Module):
    """A random straight-line program: each step reads two earlier values and makes another."""

    STEPS = (
        lambda net, a, b: net.layer(a) + b,
        lambda net, a, b: a - (b - a),
        lambda net, a, b: torch.relu(a) * b,
        lambda net, a, b: -(a + b) / 2,
        lambda net, a, b: torch.cat([a[:, ::2], b[:, 1::2]], dim=1),
        lambda net, a, b: nn.functional.pad(a, (1, -1)) @ net.square,
        lambda net, a, b: a.clone().mul_(0.5).add(b, alpha=2),
        lambda net, a, b: (a + b).abs().sqrt().clamp(max=float("inf")),
        lambda net, a, b: net.block(a),
        lambda net, a, b: a.reshape(a.shape[0], -1).flip((1,)),
    )

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return torch.sigmoid(self.layer(x)) * x

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.layer, self.block, self.square = nn.Linear(4, 4), self.Block(), nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        values = [x]
        for which, a, b in self.steps:
            values.append(self.STEPS[which](self, values[-1 - a % len(values)], values[-1 - b % len(values)]))
        return values[-1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
@settings(max_examples=60)
def test_any_straight_line_program_keeps_its_values(steps):
    torch.manual_seed(0)
    made, _ = assert_same(Program(steps).eval(), torch.randn(3, 4))
    assert_plain(made.source)


def test_the_source_of_a_pruned_block_reads_as_one_would_write_it():
    torch.manual_seed(0)
    network = build("resnet8", 3, 10, width=4).eval()
    gates = Gates(network)
    remove = torch.zeros(len(gates.theta), dtype=torch.bool)
    remove[[0, 5, 6]] = True  # a unit of the first block, two of the second
    remove[-1] = True  # the third branch
    shrink(network, None, gates, remove)
    source = written(network, (3, 8, 8)).source
    assert "        self.blocks1_conv1 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)\n" in source
    forward = """\
    def forward(self, images):
        x = F.relu(self.norm(self.conv(images)), inplace=True)

        # blocks.0
        y = F.relu(self.blocks0_norm1(self.blocks0_conv1(x)), inplace=True)
        x = F.relu(x + self.blocks0_norm2(self.blocks0_conv2(y)), inplace=True)

        # blocks.1
        y = F.relu(self.blocks1_norm1(self.blocks1_conv1(x)), inplace=True)
        x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        x = F.relu(x + self.blocks1_norm2(self.blocks1_conv2(y)), inplace=True)

        # blocks.2
        x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))

        x = x.mean((2, 3))
        return self.linear(x)
"""
    assert source.endswith(forward)


def test_patches_keep_their_stride():
    """A convolution whose stride is its kernel reads every pixel once; with stride 1 the outputs are others."""
    network = Chain(nn.Conv2d(1, 8, 2, 2), nn.ReLU(), GateSite(8), nn.Flatten(), nn.Linear(32, 3))
    made, _ = assert_same(network.eval(), torch.randn(2, 1, 4, 4))
    assert "nn.Conv2d(1, 8, 2, stride=2)" in made.source


@pytest.mark.parametrize("change", [("Linear(32", "Linear(31"), ("nn.Flatten()", "nn.Conv2d(8, 3, 0)")])
def test_source_that_its_weights_do_not_fit_is_refused_in_one_line(change):
    network = Chain(nn.Conv2d(1, 8, 2, 2), nn.Flatten(), nn.Linear(32, 3))
    made = written(network)
    assert change[0] in made.source
    with pytest.raises(InputError, match=r"network cannot be written as plain source: .") as raised:
        load(Plain(made.source.replace(*change), made.weights))
    assert "\n" not in str(raised.value)


def test_names_are_distinct_and_free():
    network = nn.Sequential()
    for name in ("a_b", "lambda", "a", "type_", "0"):
        network.add_module(name, nn.Linear(3, 3))
    network.a = nn.Sequential()
    network.a.add_module("b", nn.Linear(3, 3))
    _, again = assert_same(network.eval(), torch.randn(2, 3))
    assert [name for name, _ in again.named_children()] == ["a_b", "lambda_", "a_b_", "type_", "layer0"]


class Own(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.layer, self.run = nn.Linear(3, 3), forward

    def forward(self, x):
        return self.run(self, x)


def test_what_is_read_twice_is_computed_once():
    def square(net, x):
        hidden = net.layer(x)
        return hidden * hidden

    made, _ = assert_same(Own(square).eval(), torch.randn(2, 3))
    assert made.source.endswith("        x = self.layer(images)\n        return x * x\n"), made.source


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda net, x: x if x.sum() > 0 else -x, "cannot be written as plain source, it must do the same for all"),
        (lambda net, x: (x, x), "network Own must take one tensor and return one"),
        (lambda net, x: torch.add(x, 1, alpha=1j), "constant 1j cannot be written as plain source"),
        (
            lambda net, x: torch.linalg.norm(x),
            "function 'linalg_norm' cannot be written as plain source: it is not one of",
        ),
    ],
)
def test_networks_without_a_plain_form_are_refused_in_one_line(forward, message):
    network = Own(forward)
    with pytest.raises(InputError, match=message) as raised:
        written(network)
    assert "\n" not in str(raised.value)


def test_layers_that_cannot_be_made_again_are_refused():
    class Mine(nn.Linear):
        pass

    with pytest.raises(InputError, match="layer Mine cannot be written as plain source: it is not one of"):
        constructor(Mine(3, 3))
    forgetful = nn.Linear(3, 3)
    del forgetful.in_features
    with pytest.raises(InputError, match="layer Linear cannot be written as plain source: it does not keep 'in_feat"):
        constructor(forgetful)
