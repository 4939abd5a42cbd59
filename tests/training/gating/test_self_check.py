"""What is gated wrongly is refused by name on a copy, whatever the code between; what is right passes untouched."""

import copy
import re
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.pruned_run import KINDS, Run, assert_equal
from training.errors import InputError
from training.gating import Branch, Gates, GateSite, UnitGroup, check_removal
from training.networks import Chain, ResNet, build

ADAM = {"lr": 0.01, "weight_decay": 0.01}
OPTIMIZERS = {
    "none": lambda p: None,
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "AdamW": lambda p: torch.optim.AdamW(p, **ADAM),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_right_passes_and_nothing_is_touched(kind, dtype):
    run = Run(kind, dtype=dtype)
    run.gates.sample(6)
    before, random = run.state(), torch.get_rng_state()
    identities = [*map(id, run.network.parameters()), *map(id, run.optimizer.state)]
    masks = [group.site.mask for group in run.gates.groups]
    check_removal(run.network, run.shape, run.optimizer)
    assert_equal(run.state(), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert identities == [*map(id, run.network.parameters()), *map(id, run.optimizer.state)]
    assert all(group.site.mask is mask for group, mask in zip(run.gates.groups, masks, strict=True))
    assert run.network.training and run.optimizer.param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_that_move_each_weight_by_itself_pass(optimizer):
    network = build("resnet8", 1, 3, width=3)
    check_removal(network, (1, 8, 8), OPTIMIZERS[optimizer](network.parameters()))


def test_an_optimizer_that_mixes_weights_is_refused():
    network = Chain(nn.Linear(4, 8, bias=False), nn.ReLU(), GateSite(8), nn.Linear(8, 2, bias=False))
    with pytest.raises(
        InputError, match=r"group '2' cannot be removed rightly: .*weights after a training step differ"
    ):
        check_removal(network, (4,), torch.optim.Muon(network.parameters(), 1e-3))
    with pytest.raises(InputError, match=r"network Chain must make a training step on .*; it cannot: LBFGS"):
        check_removal(network, (4,), torch.optim.LBFGS(network.parameters()))


def test_a_removed_network_passes_and_one_without_gates():
    run = Run("basic")
    check_removal(nn.ModuleList([run.network])[0], run.shape)
    from training.gating import shrink

    shrink(run.network, run.optimizer, run.gates, torch.arange(17) % 3 == 0)
    check_removal(run.network, run.shape, run.optimizer)
    shrink(run.network, run.optimizer, run.gates, torch.ones(len(run.gates.theta), dtype=torch.bool))
    check_removal(run.network, run.shape, run.optimizer)
    with pytest.raises(TypeError, match=r"Linear must offer unit_groups\(\) and branches\(\)"):
        check_removal(nn.Linear(2, 2), (2,))


# ---- what is gated wrongly


class ByHand(nn.Module):
    """Two layers with any code between them, the first one's outputs listed as units."""

    def __init__(self, first, second, forward, count=8, norm=None, **others):
        super().__init__()
        self.first, self.site, self.second, self.norm = first, GateSite(count), second, norm
        for name, module in others.items():
            setattr(self, name, module)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)

    def unit_groups(self):
        return [UnitGroup("u", self.site, self.first, self.norm, self.second)]

    def branches(self):
        return []


def conv(inputs=3, outputs=8, kernel=3):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def with_layer(layer):
    return ByHand(conv(), conv(8, 4), lambda n, x: n.second(n.site(n.layer(n.first(x)))), layer=layer)


def behind(function):
    return ByHand(conv(), conv(8, 4), lambda n, x: n.second(function(n.site(F.relu(n.first(x))))))


class Scaled(nn.Module):
    """Entries for every channel, in no layer that is listed."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(channels, 1, 1))

    def forward(self, x):
        return x * self.scale


def tokens(n, x):
    return n.second(n.site(F.relu(n.first(x))))


def twice(n, x):
    y = n.site(n.first(x))
    return n.second(y) + n.aside(y)


IMAGE = (3, 6, 6)
#: Network, shape, and the first module in the way.
WRONG = {
    "GroupNorm": (with_layer(nn.GroupNorm(4, 8)), IMAGE, "'layer' (GroupNorm)"),
    "GroupNorm without scale": (with_layer(nn.GroupNorm(2, 8, affine=False)), IMAGE, "'layer' (GroupNorm)"),
    "one group": (with_layer(nn.GroupNorm(1, 8, affine=False)), IMAGE, "'layer' (GroupNorm)"),
    "InstanceNorm": (with_layer(nn.InstanceNorm2d(8, affine=True)), IMAGE, "'layer' (InstanceNorm2d)"),
    "LayerNorm": (with_layer(nn.LayerNorm([8, 6, 6])), IMAGE, "'layer' (LayerNorm)"),
    "Softmax": (with_layer(nn.Softmax2d()), IMAGE, "'layer' (Softmax2d)"),
    "PReLU": (with_layer(nn.PReLU(8)), IMAGE, "'layer' (PReLU)"),
    "LocalResponseNorm": (with_layer(nn.LocalResponseNorm(3)), IMAGE, "'layer' (LocalResponseNorm)"),
    "an unlisted BatchNorm": (with_layer(nn.BatchNorm2d(8)), IMAGE, "'layer' (BatchNorm2d)"),
    "entries in a module of one's own": (with_layer(Scaled(8)), IMAGE, "'layer' (Scaled)"),
    "depthwise between": (with_layer(nn.Conv2d(8, 8, 3, padding=1, groups=8)), IMAGE, "'layer' (Conv2d)"),
    "zero moved": (behind(lambda y: y + 1), IMAGE, "'second' (Conv2d)"),
    "sigmoid behind": (behind(torch.sigmoid), IMAGE, "'second' (Conv2d)"),
    "mean over channels": (behind(lambda y: y - y.mean(1, keepdim=True)), IMAGE, "'second' (Conv2d)"),
    "concatenated": (
        ByHand(nn.Linear(5, 8), nn.Linear(16, 4), lambda n, x: n.second(torch.cat(2 * [n.site(n.first(x))], 1))),
        (5,),
        "'second' (Linear)",
    ),
    "flattened the other way": (
        ByHand(conv(), nn.Linear(288, 4), lambda n, x: n.second(n.site(n.first(x)).permute(0, 2, 3, 1).flatten(1))),
        IMAGE,
        "'second' (Linear)",
    ),
    "a reader that is not listed": (
        ByHand(conv(), conv(8, 4), twice, aside=conv(8, 4)),
        IMAGE,
        "'aside' (Conv2d)",
    ),
    "tokens as many as units": (ByHand(nn.Linear(5, 8), nn.Linear(8, 4), tokens), (8, 5), "'site' (GateSite)"),
    "another norm's": (
        ByHand(
            conv(),
            conv(8, 4),
            lambda n, x: n.second(n.site(n.used(n.first(x)))),
            norm=nn.BatchNorm2d(8),
            used=nn.BatchNorm2d(8),
        ),
        IMAGE,
        "'used' (BatchNorm2d)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_gated_wrongly_is_refused_by_its_name_and_the_module_in_the_way(case):
    network, shape, module = WRONG[case]
    Gates(network)  # no list of layers would find it
    before = copy.deepcopy(network.state_dict())
    message = f"group 'u' cannot be removed rightly: .*first at {re.escape(module)}"
    with pytest.raises(InputError, match=message) as raised:
        check_removal(network, shape)
    assert "\n" not in str(raised.value)
    assert_equal(network.state_dict(), before)


def test_tokens_that_are_not_as_many_are_refused_too():
    network = ByHand(nn.Linear(5, 8), nn.Linear(8, 4), tokens)
    with pytest.raises(InputError, match=r"group 'u' .*site of 8 units must get them along the second dimension"):
        check_removal(network, (7, 5))


def test_a_wrong_group_is_found_among_right_ones():
    network = ResNet(14, 4, 1, 3)
    block = network.blocks[3]
    block.norm1 = nn.Sequential(block.norm1, nn.GroupNorm(2, 8, affine=False))

    class Wrong(ResNet):
        def unit_groups(self):
            named = self._present()
            return [
                UnitGroup(f"g{i}", b.units, b.conv1, self.norm_of(b), b.conv2, f"block{i}.branch") for i, b in named
            ]

        @staticmethod
        def norm_of(block):
            return block.norm1[0] if isinstance(block.norm1, nn.Sequential) else block.norm1

    network.__class__ = Wrong
    with pytest.raises(InputError, match=r"group 'g3' .*first at 'blocks\.3\.norm1\.1' \(GroupNorm\)"):
        check_removal(network, (1, 8, 8))


class Block(nn.Module):
    """A residual block whose branch is removed in a way of its own."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.norm, self.gate, self.way, self.removed = conv(4, 4), nn.BatchNorm2d(4), GateSite(1), way, False
        if way == "leaves something":
            self.shift = nn.Parameter(torch.ones(()))

    def forward(self, x):
        if self.removed:
            return 2 * x if self.way == "doubles" else x
        return x + self.gate(self.norm(self.conv(x))) + (self.shift if self.way == "leaves something" else 0)

    def remove_branch(self):
        if self.way == "fails":
            raise KeyError("no branch here")
        del self.conv, self.norm, self.gate
        self.removed = True


class Blocks(nn.Module):
    def __init__(self, *ways):
        super().__init__()
        self.stem, self.blocks = conv(3, 4), nn.Sequential(*map(Block, ways))

    def forward(self, x):
        return self.blocks(self.stem(x)).mean((2, 3))

    def unit_groups(self):
        return []

    def branches(self):
        return [Branch(f"b{i}", b.gate, b.norm, b) for i, b in enumerate(self.blocks) if not b.removed]


def test_branches_are_tried_too():
    check_removal(Blocks("right", "right", "right"), IMAGE)
    for way, message in {
        "doubles": r"branch 'b1' .*outputs in evaluation differ, first at 'blocks\.1' \(Block\)",
        "leaves something": r"branch 'b1' .*outputs in evaluation differ, first at 'blocks\.1' \(Block\)",
        "fails": r"branch 'b1' .*it stops with KeyError: 'no branch here'",
    }.items():
        with pytest.raises(InputError, match=message):
            check_removal(Blocks("right", way, "right"), IMAGE)


def test_a_network_that_cannot_be_tried_is_refused():
    network = Chain(nn.Linear(4, 8), nn.ReLU(), GateSite(8), nn.Linear(8, 2))
    with pytest.raises(
        InputError, match=r"network Chain must make a training step on images of shape \[5\].*it cannot: ."
    ):
        check_removal(network, (5,))
    groups = network.unit_groups()
    network.unit_groups = lambda: groups
    with pytest.raises(InputError, match=r"lists? the modules of the network .* list the original's \('2'\)"):
        check_removal(network, (4,))
    del network.unit_groups
    network.stored = iter(())  # a generator cannot be copied
    network.lock = (x for x in ())
    with pytest.raises(InputError, match="network Chain must be one that can be copied"):
        check_removal(network, (4,))


def test_random_layers_are_no_difference():
    class Noisy(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5, self.training)

    network = ByHand(conv(), conv(8, 4), lambda n, x: n.second(n.noise(n.site(n.first(x)))), noise=Noisy())
    check_removal(network.train(), IMAGE)
    check_removal(Chain(conv(), nn.Dropout(), GateSite(8), nn.Dropout2d(), conv(8, 4)).train(), IMAGE)


def test_it_is_cheap():
    network = build("resnet20", 3, 10)
    start = time.process_time()
    check_removal(network, (3, 32, 32))
    assert time.process_time() - start < 10  # half a second on an idle core
