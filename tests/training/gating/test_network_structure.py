"""What is counted is what runs: by hand, and by PyTorch's counter, whatever the layers; else it is refused by name."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from training.errors import InputError
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.sites import Branch, GateSite, UnitGroup
from training.networks import Chain, Residual, ResNet


class LastAxis(GateSite):
    """A user's site for units along the last dimension."""

    def forward(self, x):
        return x if self.mask is None else x * self.mask[:, None, :]


class Tokens(nn.Module):
    """Dense layers on tokens, pooled before the last: the units are the last dimension."""

    def __init__(self, hidden=64):
        super().__init__()
        self.embed, self.up, self.site = nn.Linear(16, 32), nn.Linear(32, hidden), LastAxis(hidden)
        self.down, self.head = nn.Linear(hidden, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.down(self.site(F.relu(self.up(self.embed(x))))).mean(1))

    def unit_groups(self):
        return [UnitGroup("u", self.site, self.up, None, self.down)]

    def branches(self):
        return []


class Ungated(nn.Module):
    """Any function of some modules, with nothing to gate."""

    def __init__(self, forward, *modules):
        super().__init__()
        self.parts, self.function = nn.ModuleList(modules), forward

    def forward(self, x):
        return self.function(x, *self.parts)

    def unit_groups(self):
        return []

    def branches(self):
        return []


@pytest.mark.parametrize("tokens", [1, 4, 64, 1024])
def test_dense_layers_count_all_tokens(tokens):
    """With 1024 tokens 4,718,912 multiply–accumulates, where one row of them would be 4,928."""
    structure = structure_of(Tokens(), (tokens, 16))
    assert structure.full_macs == tokens * (16 * 32 + 32 * 64 + 64 * 32) + 32 * 10
    assert tokens != 1024 or structure.full_macs == 4_718_912
    price = structure.costs(torch.full((64,), 0.9), 1.0, 0.0, 0.0)[0]
    assert float(price) == pytest.approx(tokens * (32 + 32) / structure.full_macs)


def attend(x, project):
    query, key, value = project(x).chunk(3, -1)
    return torch.softmax(query @ key.mT, -1) @ value


LSTM, GRU = nn.LSTM(8, 32, batch_first=True), nn.GRU(8, 4, 2, batch_first=True, bidirectional=True)
ATTENTION = nn.MultiheadAttention(16, 2, batch_first=True)
HALF = F.scaled_dot_product_attention
#: Network, shape of one input, and its multiply–accumulates by hand.
COUNTED = {
    "Conv1d": (Ungated(lambda x, c: c(x), nn.Conv1d(8, 16, 3, padding=1)), (8, 100), 8 * 16 * 3 * 100),
    "Conv3d": (Ungated(lambda x, c: c(x), nn.Conv3d(2, 3, 3)), (2, 4, 4, 4), 2 * 3 * 27 * 8),
    "depthwise": (Ungated(lambda x, c: c(x), nn.Conv1d(8, 8, 3, groups=8)), (8, 10), 8 * 3 * 8),
    "ConvTranspose2d": (Ungated(lambda x, c: c(x), nn.ConvTranspose2d(16, 8, 2, 2)), (16, 4, 4), 16 * 8 * 4 * 16),
    "LSTM": (Ungated(lambda x, c: c(x)[0], LSTM), (20, 8), 20 * (8 * 128 + 32 * 128)),
    "GRU": (Ungated(lambda x, c: c(x)[0], GRU), (5, 8), 5 * 2 * ((8 * 12 + 4 * 12) + (8 * 12 + 4 * 12))),
    "LSTMCell": (Ungated(lambda x, c: c(c(x)[0])[0], nn.LSTMCell(4, 4)), (4,), 2 * (2 * 4 * 16)),
    "attention": (Ungated(lambda x, c: c(x, x, x)[0], ATTENTION), (10, 16), 10 * 16 * 64 + 2 * 10 * 10 * 16),
    "encoder": (
        Ungated(lambda x, c: c(x), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)),
        (10, 16),
        10 * (16 * 48 + 16 * 16 + 2 * 16 * 32) + 2 * 10 * 10 * 16,
    ),
    "fused": (Ungated(lambda x: HALF(x, x, x)), (2, 10, 8), 2 * 2 * 10 * 10 * 8),
    "by hand": (Ungated(attend, nn.Linear(16, 48)), (10, 16), 10 * 16 * 48 + 2 * 10 * 10 * 16),
    "einsum": (Ungated(lambda x: torch.einsum("bti,bsi->bts", x, x)), (10, 16), 10 * 10 * 16),
    "vector": (Ungated(lambda x: x @ x[0, 0]), (10, 16), 10 * 16),
    "functional": (Ungated(lambda x, c: F.linear(x, c.weight), nn.Linear(16, 4)), (10, 16), 10 * 16 * 4),
    "windows": (Ungated(lambda x, c: c(x.reshape(-1, 16)), nn.Linear(16, 4)), (5, 16), 5 * 16 * 4),
}
#: What PyTorch's own counter leaves out or cannot see.
OWN = {"LSTM", "fused", "vector", "attention", "encoder"}


@pytest.mark.parametrize("kind", COUNTED)
def test_other_layers_are_counted(kind):
    network, shape, macs = COUNTED[kind]
    network = copy.deepcopy(network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if not parameters:
        network.spare = nn.Parameter(torch.zeros(1))
        parameters = 1
    structure = structure_of(network.train(), shape)
    assert (structure.full_macs, structure.full_parameters) == (macs, parameters)
    assert network.training and all(module.training for module in network.modules())
    if kind not in OWN:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(torch.zeros(1, *shape))
        assert counter.get_total_flops() == 2 * macs


def test_bilinear_and_unknown_operations_are_refused_by_name():
    bilinear = Ungated(lambda x, c: c(x, x), nn.Bilinear(4, 4, 2))
    with pytest.raises(InputError, match=r"operation aten::_trilinear of 'parts\.0' \(Bilinear\) cannot be counted"):
        structure_of(bilinear, (4,))

    @torch.library.custom_op("tests::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    with pytest.raises(InputError, match=r"operation tests::double of Ungated cannot be counted"):
        structure_of(Ungated(lambda x, c: double(c(x)), nn.Linear(4, 4)), (4,))


def test_attention_in_a_branch_leaves_with_it():
    """The products of modules that are no layer belong to the branch whose block they lie in."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.norm, self.site = nn.MultiheadAttention(8, 2, batch_first=True), None, GateSite(1)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            return x + self.site(self.norm(self.attention(x.mT, x.mT, x.mT, need_weights=False)[0].mT))

        def remove_branch(self):
            raise NotImplementedError

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = Mixed(), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.block(x).mean(2))

        def unit_groups(self):
            return []

        def branches(self):
            return [Branch("b", self.block.site, self.block.norm, self.block)]

    structure = structure_of(Network(), (8, 6))
    assert structure.full_macs == 6 * 8 * 32 + 2 * 6 * 6 * 8 + 24
    assert float(structure.macs(np.zeros(1))) == 24 and float(structure.parameters(np.zeros(1))) == 27


def test_masks_modes_and_buffers_are_left_as_they_were():
    network = ResNet(8, 2, 1, 3)
    gates = Gates(network)
    network.blocks[1].eval()
    masks = gates.sample(5)
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    structure = structure_of(network, (1, 8, 8))
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(gates.groups[0].site.mask, masks[:, :2])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    gates.open()
    assert structure.full_macs == structure_of(network, (1, 8, 8)).full_macs


def test_networks_that_do_not_run_their_layers_are_refused():
    class Aside(Tokens):
        def forward(self, x):
            return self.head(F.linear(self.site(F.relu(self.up(self.embed(x)))), self.down.weight).mean(1))

    with pytest.raises(InputError, match=r"layer 'down' of group 'u' must run with the network; it did not"):
        structure_of(Aside(), (4, 16))
    twice = Chain(nn.Linear(4, 4), nn.Linear(4, 3))
    twice.append(twice[0])
    with pytest.raises(InputError, match=r"network Chain cannot be run on one image \[4\], at '0': ."):
        structure_of(twice, (4,))
    with pytest.raises(InputError, match=r"network Chain cannot be run on one image \[5, 8, 8\], at '0': ."):
        structure_of(Chain(nn.Conv2d(3, 4, 1)), (5, 8, 8))
    shared = nn.Linear(4, 4)
    with pytest.raises(InputError, match=r"layer '0' must be executed once in a forward pass; it ran twice"):
        structure_of(Chain(shared, nn.ReLU(), shared), (4,))
    residual = Chain(Residual(Chain(nn.Linear(4, 4), nn.BatchNorm1d(4))), nn.Linear(4, 2))
    assert structure_of(residual, (4,)).full_macs == 24


def test_a_branch_whose_block_is_no_module_has_no_price():
    """It would be 0: nothing would lie in the branch."""

    class Handle:
        def remove_branch(self):
            pass

    class Network(ResNet):
        def branches(self):
            return [Branch(b.name, b.site, b.norm, Handle()) for b in super().branches()]

    with pytest.raises(InputError, match=r"block of branch 'block0\.branch' must be the module .*; got Handle"):
        structure_of(Network(8, 2, 1, 3), (1, 8, 8))
