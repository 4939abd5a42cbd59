"""Networks and their structure against torch's own counts, a second builder, and smaller networks."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dynamics.models import layer_shapes as structures
from training.errors import InputError
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.networks import ResNet

SHAPES = [(8, 1, 1, 8), (8, 3, 3, 32), (14, 5, 1, 8), (20, 7, 3, 16)]


def gated(depth, width, channels, size):
    torch.manual_seed(0)
    net = ResNet(depth, width, channels=channels)
    return net, structure_of(net, (channels, size, size))


@pytest.mark.parametrize("depth, width, channels, size", SHAPES)
def test_parameters_and_macs_are_those_torch_counts(depth, width, channels, size):
    net, structure = gated(depth, width, channels, size)
    assert structure.full_parameters == sum(p.numel() for p in net.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, channels, size, size))
    assert 2 * structure.full_macs == counter.get_total_flops()  # torch counts multiply and add


@pytest.mark.parametrize("depth, width, channels, size", SHAPES)
def test_the_same_structure_as_the_builder_written_from_the_paper(depth, width, channels, size):
    _, structure = gated(depth, width, channels, size)
    reference = structures.resnet(depth, (width, 2 * width, 4 * width), channels=channels, size=size)
    assert (structure.gates, structure.full_macs, structure.full_parameters) == (
        reference.gates,
        reference.full_macs,
        reference.full_parameters,
    )
    theta = np.random.default_rng(0).random(structure.gates)
    for alpha, beta in ((0.0, 0.0), (0.3, 0.6), (1.0, 1.0)):
        np.testing.assert_allclose(
            structure.costs(theta, 0.7, alpha, beta), reference.costs(theta, 0.7, alpha, beta), rtol=1e-12
        )


def test_at_a_vertex_the_macs_are_those_of_a_smaller_network():
    """Units taken out of the convolutions for real, then counted by torch on the network that is left."""
    net, structure = gated(8, 5, 1, 8)
    theta = np.ones(structure.gates)
    for block, (group, drop) in enumerate(zip(structure.unit_slices, (2, 3, 7), strict=True)):
        theta[structure.unit_slices[group].start : structure.unit_slices[group].start + drop] = 0
        whole = net.blocks[block]
        left = whole.units.count - drop
        whole.conv1 = nn.Conv2d(whole.conv1.in_channels, left, 3, whole.stride, 1, bias=False)
        whole.norm1, whole.conv2 = nn.BatchNorm2d(left), nn.Conv2d(left, whole.conv2.out_channels, 3, 1, 1, bias=False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, 1, 8, 8))
    assert 2 * structure.macs(theta) == counter.get_total_flops()
    assert structure.parameters(theta) == sum(p.numel() for p in net.parameters())


def test_reading_the_structure_changes_nothing():
    net, _ = gated(8, 2, 1, 8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    structure_of(net.train(), (1, 8, 8))
    assert net.training and not any(m._forward_hooks for m in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_network_that_lists_no_gates_is_refused():
    with pytest.raises(TypeError, match="unit_groups"):
        structure_of(nn.Linear(2, 2), (2,))


@pytest.mark.parametrize("depth, width", [(7, 4), (2, 4), (21, 4), (-4, 4), (8, 0), (8, -1)])
def test_impossible_sizes_are_refused(depth, width):
    with pytest.raises(InputError, match=r"depth|width"):
        ResNet(depth, width)


def test_shortcut_keeps_every_second_pixel_and_pads_channels_evenly():
    block = ResNet(8, 3, channels=1).blocks[1]
    x = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    out = block.shortcut(x)
    assert out.shape == (2, 6, 2, 2)
    assert torch.equal(out[:, 1:4], x[:, :, ::2, ::2])
    assert not out[:, 0].any() and not out[:, 4:].any()


def test_gates_are_not_the_network_s_modules_nor_the_network_theirs():
    net, structure = gated(8, 2, 1, 8)
    gates = Gates(net)
    assert [name for name, _ in gates.named_parameters()] == ["theta"]
    assert sum(p.numel() for p in net.parameters()) == structure.full_parameters
