"""What may stand between a layer, its site and its reader; which groups and branches are refused before any change."""

import copy

import pytest
import torch
import torch.nn.utils.prune
from torch import nn

from training.errors import InputError
from training.gating.channelwise import keeps_channels_apart, keeps_zero
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.gating.sites import Branch, GateSite, UnitGroup
from training.networks import Chain, Residual, ResNet

IMAGES = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def chain(before=(), behind=(), reader=None):
    torch.manual_seed(0)
    reader = reader if reader is not None else nn.Conv2d(16, 4, 3)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2)]
    made = Chain(nn.Conv2d(3, 16, 3), *before, GateSite(16), *behind, reader, *head).double()
    made(IMAGES)  # the last layer learns what it reads
    return made.eval()


@torch.no_grad()
def difference(network):
    """Largest difference of the masked and the shrunken network."""
    gates = Gates(network).double()
    remove = torch.zeros(16, dtype=torch.bool)
    remove[[0, 3, 5, 9]] = True
    for parameter in network.parameters():  # entries of a channel that are all the same would hide a wrong one
        parameter += 0.1 * torch.randn_like(parameter)
    gates.put((~remove).double()[None])
    masked = network(IMAGES)
    gates.open()
    shrink(network, None, gates, remove)
    return float((masked - network(IMAGES)).abs().max())


MIXED = [  # each mixes channels, has entries for each of them, or is no layer that can be judged
    *(nn.GroupNorm(4, 16), nn.GroupNorm(4, 16, affine=False), nn.GroupNorm(1, 16, affine=False)),
    *(nn.InstanceNorm2d(16, affine=True), nn.SyncBatchNorm(16), nn.LayerNorm([16, 6, 6]), nn.RMSNorm(6)),
    *(nn.LocalResponseNorm(5), nn.Softmax2d(), nn.Softmax(1), nn.Softmin(1), nn.LogSoftmax(1), nn.PReLU(16)),
    *(nn.GLU(2), nn.ChannelShuffle(4), nn.Flatten(2), nn.Flatten(0), nn.Sequential(nn.BatchNorm2d(16), nn.ReLU())),
    *(nn.ConvTranspose2d(16, 16, 1), nn.Conv1d(16, 16, 1), nn.MultiheadAttention(16, 4), nn.Unfold(2)),
]
SHIFTED = [nn.Sigmoid(), nn.Softplus(), nn.Hardsigmoid(), nn.LogSigmoid(), nn.BatchNorm2d(16)]  # f(0) ≠ 0


@pytest.mark.parametrize("module", MIXED, ids=repr)
@pytest.mark.parametrize("where", ["before", "behind"])
def test_what_mixes_channels_is_refused_by_the_site_s_name_and_its_own(module, where):
    parts = [nn.Conv2d(3, 16, 3), GateSite(16), nn.Conv2d(16, 4, 3)]
    parts.insert(1 if where == "before" else 2, module)
    site, place = ("2", "1") if where == "before" else ("1", "2")
    kind = type(module).__name__
    with pytest.raises(
        InputError, match=rf"site '{site}' must stand between .*; got {kind}.* {where} it, at '{place}'"
    ):
        Gates(Chain(*parts))


@pytest.mark.parametrize("module", SHIFTED, ids=repr)
def test_what_turns_zero_into_something_may_stand_before_the_site_only(module):
    assert difference(chain(before=[module])) < 1e-12
    with pytest.raises(InputError, match=rf"site '1' must .*; got {type(module).__name__}.* behind it, at '2'"):
        Gates(Chain(nn.Conv2d(3, 16, 3), GateSite(16), module, nn.Conv2d(16, 4, 3)))


ALLOWED = [
    *(nn.Identity(), nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.ELU(), nn.CELU(), nn.SELU()),
    *(nn.GELU(), nn.SiLU(), nn.Mish(), nn.Tanh(), nn.Softsign(), nn.Hardswish(), nn.Softshrink(), nn.PReLU()),
    *(nn.Dropout(), nn.Dropout2d(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(3)),
    *(nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.ReflectionPad2d(1)),
]


@pytest.mark.parametrize("module", ALLOWED, ids=repr)
@pytest.mark.parametrize("where", ["before", "behind"])
def test_what_is_allowed_leaves_masked_and_removed_the_same(module, where):
    assert keeps_channels_apart(module) and keeps_zero(module)
    assert difference(chain(**{where: [module]})) < 1e-12


def test_a_list_is_of_kinds_not_of_their_heirs():
    class Mean(nn.ReLU):
        def forward(self, x):
            return x - x.mean(1, keepdim=True)

    with pytest.raises(InputError, match=r"got Mean.* before it"):
        Gates(chain(before=[Mean()]))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(16), nn.BatchNorm2d(16, track_running_stats=False)])
def test_a_batch_normalisation_stands_before_the_site_and_is_cut(norm):
    assert difference(chain(before=[copy.deepcopy(norm), nn.ReLU()])) < 1e-12
    assert difference(chain(before=[nn.ReLU(), norm])) < 1e-12


def test_a_batch_normalisation_without_scale_and_shift_is_refused():
    with pytest.raises(InputError, match=r"norm of group '2' must have a scale and a shift"):
        Gates(Chain(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16, affine=False), GateSite(16), nn.Conv2d(16, 4, 3)))


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (nn.ConvTranspose2d(16, 16, 2), r"site '1' must .*; got ConvTranspose2d.* behind it, at '2'"),
        (nn.Conv2d(16, 16, 3, groups=16), "layers of group '1' must be ungrouped convolutions; got 16 groups"),
        (nn.Linear(16, 4), r"got a dense layer at '2' that reads an image's last dimension, without nn.Flatten"),
        (nn.Conv2d(32, 4, 3), "convolution behind group '1' must read its units .*; it reads 32 channels for 16 units"),
    ],
)
def test_readers_whose_columns_are_not_the_units_are_refused(reader, message):
    with pytest.raises(InputError, match=message):
        Gates(Chain(nn.Conv2d(3, 16, 3), GateSite(16), reader))


PARAMETRISED = {
    "weight norm": nn.utils.parametrizations.weight_norm,
    "spectral norm": nn.utils.parametrizations.spectral_norm,
    "orthogonal": nn.utils.parametrizations.orthogonal,
    "old spectral norm": nn.utils.spectral_norm,
    "pruned by torch": lambda layer: nn.utils.prune.random_unstructured(layer, "weight", 0.5),
}


@pytest.mark.parametrize("kind", PARAMETRISED)
@pytest.mark.parametrize("end", [0, 3])
def test_weights_computed_from_others_are_refused(kind, end):
    layers = [nn.Linear(8, 16), nn.ReLU(), GateSite(16), nn.Linear(16, 2)]
    PARAMETRISED[kind](layers[end])
    with pytest.raises(InputError, match=r"layers of group '2' must hold their weight as a parameter"):
        Gates(Chain(*layers))


class ByHand(nn.Module):
    """A network that lists what it is told to."""

    def __init__(self, group=None, branch=None, **modules):
        super().__init__()
        self.first, self.site, self.second = nn.Conv2d(3, 8, 1), GateSite(8), nn.Conv2d(8, 8, 1)
        self.norm, self.gate = nn.BatchNorm2d(8), GateSite(1)
        for name, module in modules.items():
            setattr(self, name, module)
        self.group, self.branch = group, branch

    def unit_groups(self):
        return self.group(self) if self.group is not None else []

    def branches(self):
        return self.branch(self) if self.branch is not None else []

    def remove_branch(self):
        pass


def changed(place, **changes):
    """Return a group or branch with other entries, their types unchecked as they are outside the tests."""
    for name, value in changes.items():
        object.__setattr__(place, name, value)
    return place


def group(n, **changes):
    return changed(UnitGroup("u", n.site, n.first, None, nn.Linear(8, 8)), **{"consumer": n.second} | changes)


def branch(n, **changes):
    return changed(Branch("b", n.gate, n.norm, n), **changes)


class Plain:
    """Not a module."""

    def remove_branch(self):
        pass


WRONG = {
    "transposed": (
        ByHand(lambda n: [group(n, producer=n.up)], up=nn.ConvTranspose2d(8, 8, 2)),
        r"layers of group 'u' must be nn.Conv2d or nn.Linear; got ConvTranspose2d",
    ),
    "one-dimensional": (
        ByHand(lambda n: [group(n, producer=n.one)], one=nn.Conv1d(3, 8, 1)),
        r"layers of group 'u' must be nn.Conv2d or nn.Linear; got Conv1d",
    ),
    "concatenated": (
        ByHand(lambda n: [group(n)], second=nn.Conv2d(16, 8, 1)),
        r"convolution behind group 'u' must read its units .*; it reads 16 channels for 8 units",
    ),
    "no reader": (ByHand(lambda n: [group(n, consumer=())]), r"units of group 'u' must be read by a layer; got none"),
    "norm of a group": (
        ByHand(lambda n: [group(n, norm=n.odd)], odd=nn.GroupNorm(2, 8)),
        r"norm of group 'u' must be nn.BatchNorm1d or nn.BatchNorm2d; got GroupNorm",
    ),
    "same name": (ByHand(lambda n: [group(n), group(n)]), r"name of each group must be its own; got 'u' 2 times"),
    "same site": (ByHand(lambda n: [group(n), group(n, name="v")]), r"site of 'v' must be its own; 'u' has the same"),
    "same reader": (
        ByHand(
            lambda n: [group(n), group(n, name="v", site=n.other, producer=n.third)],
            other=GateSite(8),
            third=nn.Conv2d(3, 8, 1),
        ),
        r"consumer of 'v' must be its own; 'u' has the same",
    ),
    "from elsewhere": (
        ByHand(lambda n: [group(n, site=GateSite(8))]),
        r"GateSite of 'u' must be one of the network's modules; it is not",
    ),
    "branch's norm a convolution": (
        ByHand(branch=lambda n: [branch(n, norm=n.second)]),
        r"norm of branch 'b' must be nn.BatchNorm1d or nn.BatchNorm2d; got Conv2d",
    ),
    "branch's block no module": (
        ByHand(branch=lambda n: [branch(n, block=Plain())]),
        r"block of branch 'b' must be the module that holds the branch, with a remove_branch\(\); got Plain",
    ),
    "branch's block cannot drop it": (
        ByHand(branch=lambda n: [branch(n, block=n.first)]),
        r"block of branch 'b' must be the module .*; got Conv2d",
    ),
    "branch outside its block": (
        ByHand(branch=lambda n: [branch(n, block=n.block)], block=ResNet(8, 2).blocks[0]),
        r"block of branch 'b' must hold the branch's site and norm; they lie outside it",
    ),
    "branch of many gates": (
        ByHand(branch=lambda n: [branch(n, site=n.site)]),
        r"site of branch 'b' must have one gate; got 8",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_lists_by_hand_are_refused_by_name(case):
    network, message = WRONG[case]
    with pytest.raises(InputError, match=message) as raised:
        Gates(network)
    assert "\n" not in str(raised.value)


def test_a_parameter_of_two_layers_is_refused():
    first, second = nn.Linear(16, 16), nn.Linear(16, 16)
    second.weight = first.weight
    with pytest.raises(InputError, match=r"parameters of '2' must belong to one layer; a Linear shares one"):
        Gates(Chain(nn.Linear(8, 16), nn.ReLU(), GateSite(16), first, nn.ReLU(), second, nn.Linear(16, 2)))


@pytest.mark.parametrize("tokens", [1, 4, 16])
def test_a_dense_layer_s_site_refuses_tokens(tokens):
    """Also where the tokens are as many as the units, or one, and masks would fit along the wrong dimension."""
    network = Chain(nn.Linear(5, 16), nn.ReLU(), GateSite(16), nn.Linear(16, 4))
    gates, images = Gates(network), torch.randn(3, tokens, 5)
    for put in (lambda: gates.sample(3), gates.decide):
        put()
        with pytest.raises(InputError, match=rf"must get the \[batch, units\] .*; got \[3, {tokens}, 16\]"):
            network(images)
    gates.sample(3)
    assert network(images[:, 0]).shape == (3, 4)


def test_one_activation_may_stand_at_several_places():
    act = nn.Tanh()
    network = Chain(nn.Linear(4, 4), act, GateSite(4), nn.Linear(4, 4), act, GateSite(4), nn.Linear(4, 2))
    assert [g.name for g in network.unit_groups()] == ["2", "5"]
    norm = nn.BatchNorm1d(4)
    twice = Chain(nn.Linear(4, 4), norm, GateSite(4), nn.Linear(4, 4), norm, GateSite(4), nn.Linear(4, 2))
    with pytest.raises(InputError, match=r"norm of '5' must be its own; '2' has the same"):
        Gates(twice)


def test_a_residual_block_in_the_way_is_named():
    inner = Residual(Chain(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    with pytest.raises(InputError, match=r"got Residual behind it, at '2'"):
        Gates(Chain(nn.Linear(4, 4), GateSite(4), inner, nn.Linear(4, 2)))
