"""Gates against the plain network, exact enumeration, and loops over samples."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.data.batches import batches
from training.data.data_sets import load_digits
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.sites import Branch, GateSite, UnitGroup
from training.networks import ResNet


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(depth=8, width=3, seed=0, channels=1):
    """A ResNet whose normalisations are not in their initial state: nothing in it is 0 or 1 by accident."""
    torch.manual_seed(seed)
    net = ResNet(depth, width, channels=channels)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    return net


def digits(count=16):
    return next(batches(load_digits(), count, seeded()))


class Small(nn.Module):
    """Two dense layers without normalisation, one unit group, no branch."""

    def __init__(self):
        super().__init__()
        self.first, self.site, self.second = nn.Linear(3, 4), GateSite(4), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(self.site(torch.tanh(self.first(x))))

    def unit_groups(self):
        return [UnitGroup("hidden", self.site, self.first, None, self.second)]

    def branches(self):
        return []


@pytest.mark.parametrize("depth, width", [(8, 1), (8, 3), (20, 2)])
@pytest.mark.parametrize("training", [False, True])
def test_open_gates_give_the_plain_network(depth, width, training):
    net = network(depth, width).train(training)
    images, _ = digits()
    with torch.no_grad():
        plain = net(images)
        gates = Gates(net, 1.0)
        for set_masks in (gates.decide, lambda: gates.sample(16, seeded()), gates.open):
            set_masks()
            torch.testing.assert_close(net(images), plain, rtol=0, atol=1e-6)


def test_closed_branches_leave_the_shortcuts():
    net = network().eval()
    images, _ = digits()
    gates = Gates(net, 1.0)
    with torch.no_grad():
        gates.theta[gates.units :] = 0
        gates.decide()
        x = F.relu(net.norm(net.conv(images)))
        for block in net.blocks:
            x = F.relu(block.shortcut(x))
        torch.testing.assert_close(net(images), net.linear(x.mean((2, 3))))


def test_a_closed_unit_is_a_unit_removed():
    """Zeroing its fan-out weights is the slow way to remove it."""
    net = network().eval()
    images, _ = digits()
    gates = Gates(net, 1.0)
    with torch.no_grad():
        gates.theta[[0, 4, 10]] = 0.2  # block 0 has gates 0 to 2, block 1 has 3 to 8, block 2 has 9 to 20
        gates.decide()
        gated = net(images)
        gates.open()
        for block, unit in ((0, 0), (1, 1), (2, 1)):
            net.blocks[block].conv2.weight[:, unit] = 0
        torch.testing.assert_close(net(images), gated, rtol=0, atol=1e-6)


def test_masks_are_drawn_for_each_sample_and_act_on_it_alone():
    net = network().eval()
    images, _ = digits()
    gates = Gates(net, 0.6)
    with torch.no_grad():
        masks = gates.sample(16, seeded())
        assert len(masks.unique(dim=0)) == 16
        together = net(images)
        for i in range(16):
            gates.put(masks[i : i + 1])
            torch.testing.assert_close(net(images[i : i + 1]), together[i : i + 1], rtol=1e-4, atol=1e-5)


@given(st.lists(st.sampled_from([0.0, 1e-3, 0.1, 0.5, 0.9, 1.0]), min_size=4, max_size=4), st.integers(0, 99))
@settings(max_examples=15)
def test_frequencies_follow_theta(theta, seed):
    gates = Gates(Small())
    with torch.no_grad():
        gates.theta.copy_(torch.tensor(theta))
    share = gates.sample(20_000, seeded(seed)).mean(0)
    exact = gates.theta.detach()
    assert ((share - exact).abs() <= 5 * (exact * (1 - exact) / 20_000).sqrt()).all()  # equal at θ = 0 and θ = 1


def test_sampling_repeats_with_the_generator():
    gates = Gates(Small(), 0.5)
    assert torch.equal(gates.sample(50, seeded(1)), gates.sample(50, seeded(1)))
    assert not torch.equal(gates.sample(50, seeded(1)), gates.sample(50, seeded(2)))


def test_difference_is_exact_where_the_loss_is_linear_in_the_masks():
    """Against D = E[loss | ξ=1] − E[loss | ξ=0], every state of the gates written out with its probability."""
    torch.manual_seed(0)
    net, weight = Small().double(), torch.randn(2).double()
    images = torch.randn(7, 3).double()
    gates = Gates(net).double()
    with torch.no_grad():
        gates.theta.copy_(torch.tensor([0.9, 0.2, 0.5, 0.7]))

    def loss():
        return (net(images) @ weight).mean()

    gates.sample(7, seeded())
    loss().backward()
    estimate = gates.difference()
    theta = gates.theta.detach()
    for gate in range(4):
        means = {0: 0.0, 1: 0.0}
        for state in itertools.product([0.0, 1.0], repeat=4):
            others = [theta[i] if on else 1 - theta[i] for i, on in enumerate(state) if i != gate]
            gates.put(torch.tensor([state]).double())
            means[int(state[gate])] += float(torch.stack(others).prod() * loss().detach())
        assert float(estimate[gate]) == pytest.approx(means[1] - means[0], abs=1e-12)


def test_difference_is_the_sum_of_gradients_taken_sample_by_sample():
    net = network().double().eval()
    images, labels = digits(8)
    gates = Gates(net, 0.7).double()
    masks = gates.sample(8, seeded()).detach()
    F.cross_entropy(net(images.double()), labels).backward()
    fast = gates.difference()
    slow = torch.zeros_like(fast)
    for i in range(8):
        mine = masks[i : i + 1].clone().requires_grad_()
        gates.put(mine)
        loss = F.cross_entropy(net(images[i : i + 1].double()), labels[i : i + 1]) / 8
        (gradient,) = torch.autograd.grad(loss, mine)
        slow += gradient[0]
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-14)


def test_euler_a_gate_s_weights_times_their_gradient_is_mask_times_slope():
    """⟨∇_w loss, w⟩ = Σ ξ ∂loss/∂ξ, with the normalisation's batch statistics too: the weights are the right ones."""
    net = network().double().train()
    images, labels = digits()
    gates = Gates(net, 0.7).double()
    masks = gates.sample(16, seeded())
    F.cross_entropy(net(images.double()), labels).backward()
    expected = (masks.detach() * masks.grad).sum(0)
    found = [(b.conv2.weight * b.conv2.weight.grad).sum((0, 2, 3)) for b in net.blocks]
    found += [(b.norm2.weight * b.norm2.weight.grad + b.norm2.bias * b.norm2.bias.grad).sum()[None] for b in net.blocks]
    torch.testing.assert_close(torch.cat(found).detach(), expected, rtol=1e-9, atol=1e-13)


def test_difference_needs_a_backward_pass():
    gates = Gates(Small())
    with pytest.raises(RuntimeError, match="sample masks"):
        gates.difference()
    gates.sample(3)
    with pytest.raises(RuntimeError, match="sample masks"):
        gates.difference()


@torch.no_grad()
def test_norms_against_loops():
    net = network()
    rho_in, rho = Gates(net).weight_norms()
    at = 0
    for block in net.blocks:
        for unit in range(block.units.count):
            scale, shift = float(block.norm1.weight[unit]), float(block.norm1.bias[unit])
            assert float(rho_in[at]) == pytest.approx((scale**2 + shift**2) ** 0.5, rel=1e-5)
            square = sum(float(w) ** 2 for w in block.conv2.weight[:, unit].flatten())
            assert float(rho[at]) == pytest.approx(square**0.5, rel=1e-5)
            at += 1
    for block in net.blocks:
        square = sum(float(w) ** 2 for w in [*block.norm2.weight, *block.norm2.bias])
        assert torch.isnan(rho_in[at]) and float(rho[at]) == pytest.approx(square**0.5, rel=1e-5)
        at += 1
    assert at == len(rho) == len(rho_in)


@torch.no_grad()
def test_norms_of_a_dense_unit_count_weights_and_bias():
    net = Small()
    rho_in, rho = Gates(net).weight_norms()
    for unit in range(4):
        square = sum(float(w) ** 2 for w in [*net.first.weight[unit], net.first.bias[unit]])
        assert float(rho_in[unit]) == pytest.approx(square**0.5, rel=1e-5)
        assert float(rho[unit]) == pytest.approx(float(net.second.weight[:, unit].norm()), rel=1e-5)


def test_order_is_that_of_the_structure():
    net = network(14, 2)
    gates, structure = Gates(net), structure_of(net, (1, 8, 8))
    assert len(gates.theta) == structure.gates == len(structure.names)
    assert gates.is_branch.tolist() == structure.is_branch.tolist()
    for group, size, where in zip(gates.groups, gates.sizes, structure.unit_slices.values(), strict=False):
        assert where.stop - where.start == size
        assert all(name.startswith(group.name + "[") for name in structure.names[where])
    assert [branch.name for branch in gates.residual] == structure.names[gates.units :]


def test_parent_is_the_branch_around_each_unit():
    net = network(14, 2)
    gates, names = Gates(net), structure_of(net, (1, 8, 8)).names
    for gate, parent in enumerate(gates.parent.tolist()):
        if gate < gates.units:
            assert names[parent] == names[gate].partition(".")[0] + ".branch"
        else:
            assert parent == -1
    assert Gates(Small()).parent.tolist() == [-1] * 4


def test_decisions_follow_one_half_and_nothing_random():
    gates = Gates(Small())
    with torch.no_grad():
        gates.theta.copy_(torch.tensor([0.0, 0.4999, 0.5, 1.0]))
    assert gates.decide().tolist() == [[0, 0, 1, 1]]
    assert torch.equal(gates.decide(), gates.decide())


@pytest.mark.parametrize("start", [0.0, -0.1, 1.1, float("nan")])
def test_starts_outside_the_interval_are_refused(start):
    with pytest.raises(ValueError, match="start"):
        Gates(Small(), start)


def test_a_network_without_gates_is_refused():
    net = Small()
    net.unit_groups = list
    with pytest.raises(ValueError, match="no gates"):
        Gates(net)


def test_a_branch_named_by_no_group_is_refused():
    net = Small()
    net.unit_groups = lambda: [UnitGroup("hidden", net.site, net.first, None, net.second, branch="nowhere")]
    net.branches = lambda: [Branch("somewhere", GateSite(1), nn.BatchNorm2d(1))]
    with pytest.raises(ValueError, match=r"branch of group 'hidden' must be one of branches.*; got 'nowhere'"):
        Gates(net)


def test_a_branch_without_units_is_off_in_the_deterministic_network():
    gates = Gates(network(width=2))
    theta = torch.full_like(gates.theta, 0.9)
    first = gates.sizes[0]
    theta[:first] = 0.1  # all units of the first branch, whose own gate stands at 0.9
    theta[gates.units + 1] = 0.1  # the second branch, its units at 0.9
    gates.theta.data = theta
    on = gates.decided().tolist()
    second = gates.sizes[1]
    units = [False] * first + [False] * second + [True] * gates.sizes[2]
    assert on == [*units, False, False, True]
