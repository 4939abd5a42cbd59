"""Removal: masked network = shrunken network, now and after further steps; nothing stale, nothing mixed up."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.support.pruned_run import KINDS, Run, assert_equal, removal, removals
from training.errors import InputError
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import restore, shrink
from training.gating.sites import Branch
from training.networks import ResNet


def runs():
    """What a run is made from, and what is to go from it (plain values: networks are made in the test)."""
    run = st.tuples(st.sampled_from([*KINDS]), st.integers(0, 99), st.integers(0, 2), st.booleans())
    return st.tuples(run, removals())


def made(case):
    run = Run(*case[0])
    return run, removal(run.gates, case[1])


def live_once(network, optimizer):
    """Every live parameter is in the optimizer exactly once, and nothing else is, its state included."""
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(map(id, network.parameters()))
    assert {id(p) for p in optimizer.state} <= set(held)
    for parameter, entries in optimizer.state.items():
        assert all(v.shape == parameter.shape for v in entries.values() if isinstance(v, torch.Tensor) and v.dim())


@given(runs())
@settings(max_examples=25)
def test_every_live_parameter_is_in_the_optimizer_once_and_moves(case):
    run, remove = made(case)
    shrink(run.network, run.optimizer, run.gates, remove)
    live_once(run.network, run.optimizer)
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    run.gates.sample(6)
    run.step()
    for name, parameter in run.network.named_parameters():
        assert parameter.grad is not None and not torch.equal(parameter, before[name]), name


@given(runs())
@settings(max_examples=50)
def test_masked_and_shrunken_networks_are_the_same_now_and_after_further_steps(case):
    run, remove = made(case)
    shrunken = run.twin()
    going = run.gates.with_dependents(remove)
    result = shrink(shrunken.network, shrunken.optimizer, shrunken.gates, remove)
    assert result.removed.tolist() == going.nonzero().flatten().tolist()
    assert sorted([*result.kept, *result.removed]) == list(range(len(going)))
    masks = (~going).to(run.images.dtype)[None]
    for train in (False, True):
        torch.testing.assert_close(shrunken.outputs(train=train), run.outputs(masks, train), rtol=1e-9, atol=1e-9)
    kept = torch.from_numpy(result.kept)
    torch.testing.assert_close(shrunken.gates.theta, run.gates.theta[kept])
    consumers = {layer for group in run.gates.groups for layer in group.consumers}
    if not any(group.producer in consumers for group in run.gates.groups):  # otherwise ρ counted weights that went
        for norms, of_masked in zip(shrunken.gates.weight_norms(), run.gates.weight_norms(), strict=True):
            torch.testing.assert_close(norms, of_masked[kept], equal_nan=True)
    # Three steps with masks that differ from sample to sample: momentum, statistics and estimates of D agree.
    for _ in range(3):
        drawn = (torch.rand(6, len(going)) < 0.7).to(masks.dtype) * masks
        slope = run.step(drawn.clone().requires_grad_())
        if len(kept):
            own = shrunken.step(drawn[:, kept].clone().requires_grad_())
            torch.testing.assert_close(own, slope[:, kept], rtol=1e-7, atol=1e-9)
        else:
            shrunken.step()
    for train in (False, True):
        torch.testing.assert_close(shrunken.outputs(train=train), run.outputs(masks, train), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_in_single_precision(kind):
    run = Run(kind, dtype=torch.float32)
    remove = torch.rand(len(run.gates.theta)) < 0.5
    masks = (~run.gates.with_dependents(remove)).float()[None]
    expected = run.outputs(masks)
    shrink(run.network, run.optimizer, run.gates, remove)
    torch.testing.assert_close(run.outputs(), expected, rtol=1e-5, atol=1e-5)


@given(runs())
@settings(max_examples=15)
def test_counts_are_those_of_the_real_network(case):
    run, remove = made(case)
    full = structure_of(run.network, run.shape)
    vertex = (~run.gates.with_dependents(remove)).double().numpy()
    assert full.full_parameters == sum(p.numel() for p in run.network.parameters())
    shrink(run.network, run.optimizer, run.gates, remove)
    left = structure_of(run.network, run.shape, full)
    ones = np.ones(left.gates)
    run.gates.open()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run.network.eval()(run.images[:1])
    assert 2 * left.macs(ones) == counter.get_total_flops() and left.macs(ones) == full.macs(vertex)
    parameters = sum(p.numel() for p in run.network.parameters())
    assert left.parameters(ones) == parameters == full.parameters(vertex)
    assert left.complexity(ones, 0.3) == pytest.approx(full.complexity(vertex, 0.3), rel=1e-12)


@given(runs())
@settings(max_examples=15)
def test_unit_costs_do_not_jump_when_others_leave(case):
    run, remove = made(case)
    full = structure_of(run.network, run.shape)
    theta = torch.where(run.gates.with_dependents(remove), 0.0, run.gates.theta.detach())
    result = shrink(run.network, run.optimizer, run.gates, remove)
    left = structure_of(run.network, run.shape, full)
    for alpha in (0.0, 0.5):
        before = full.costs(theta, 0.4, alpha, 0.3)[torch.from_numpy(result.kept)]
        after = left.costs(run.gates.theta.detach(), 0.4, alpha, 0.3)
        units = slice(run.gates.units)
        torch.testing.assert_close(after[units], before[units], rtol=1e-12, atol=0)
        # R charges for a branch with all of its units on, and now there are fewer.
        assert (after[run.gates.units :] <= before[run.gates.units :] * (1 + 1e-12)).all()


@given(runs(), st.lists(removals(), min_size=2, max_size=2))
@settings(max_examples=15)
def test_several_removals_are_one(case, later):
    run, remove = made(case)
    once, total = run.twin(), len(remove)
    for mask in (remove, *(removal(once.gates, drawn) for drawn in later)):
        shrink(run.network, run.optimizer, run.gates, mask[run.gates.origin])
    together = torch.ones(total, dtype=torch.bool)
    together[run.gates.origin] = False
    shrink(once.network, once.optimizer, once.gates, together)
    assert_equal(run.state(), once.state())


@given(runs())
@settings(max_examples=15)
def test_a_saved_run_goes_on_bit_for_bit(case):
    run, remove = made(case)
    shrink(run.network, run.optimizer, run.gates, remove)
    network, gates, optimizer = run.state()
    again = copy.copy(run)
    again.network = run.make().double()
    again.gates = Gates(again.network).double()
    again.optimizer = type(run.optimizer)(again.network.parameters(), lr=0.1)
    restore(again.network, again.optimizer, again.gates, gates["origin"])
    for part, saved in ((again.network, network), (again.gates, gates), (again.optimizer, optimizer)):
        part.load_state_dict(saved)
    for each in (run, again):
        torch.manual_seed(1)
        for _ in range(2):
            each.gates.sample(6)
            each.step()
    assert_equal(run.state(), again.state())


@pytest.mark.parametrize("kind", KINDS)
def test_removing_nothing_changes_nothing(kind):
    run = Run(kind)
    before, parameters = run.state(), list(run.network.parameters())
    result = shrink(run.network, run.optimizer, run.gates, np.zeros(len(run.gates.theta), dtype=bool))
    assert_equal(run.state(), before)
    assert all(a is b for a, b in zip(run.network.parameters(), parameters, strict=True))
    assert result.kept.tolist() == list(range(len(run.gates.theta))) and not len(result.removed)


def test_rows_by_hand():
    """Weights, statistics and momentum of one block against plain indexing."""
    run = Run("basic")
    block = run.network.blocks[1]  # 4 units: gates 2 to 5
    theta = run.gates.theta
    before = copy.deepcopy(block)
    momentum = {n: run.optimizer.state[p]["momentum_buffer"].clone() for n, p in block.named_parameters()}
    remove = torch.zeros(len(theta), dtype=torch.bool)
    remove[[2, 5]] = True
    kept = [1, 2]
    shrink(run.network, run.optimizer, run.gates, remove)
    rows = {"conv1.weight": 0, "norm1.weight": 0, "norm1.bias": 0, "conv2.weight": 1}
    for name, parameter in block.named_parameters():
        old = before.get_parameter(name)
        for now, then in ((parameter, old), (run.optimizer.state[parameter]["momentum_buffer"], momentum[name])):
            assert torch.equal(now, then.index_select(rows[name], torch.tensor(kept)) if name in rows else then), name
    for name in ("running_mean", "running_var"):
        assert torch.equal(getattr(block.norm1, name), getattr(before.norm1, name)[kept])
    assert (block.conv1.out_channels, block.norm1.num_features, block.conv2.in_channels, block.units.count) == (2,) * 4
    assert run.gates.theta is theta and run.gates.origin.tolist() == [0, 1, 3, 4, *range(6, 17)]
    assert run.gates.sizes == [2, 2, 8, 1, 1, 1]
    assert run.gates.parent.tolist() == [12] * 2 + [13] * 2 + [14] * 8 + [-1] * 3
    assert [g.name for g in run.gates.groups] == ["block0.units", "block1.units", "block2.units"]


@pytest.mark.parametrize("by", ["branch", "units"])
def test_a_branch_leaves_its_shortcut(by):
    run = Run("basic")
    size = run.gates.sizes
    remove = torch.zeros(len(run.gates.theta), dtype=torch.bool)
    remove[[15] if by == "branch" else range(size[0], size[0] + size[1])] = True
    shrink(run.network, run.optimizer, run.gates, remove)
    assert run.gates.origin.tolist() == [0, 1, *range(6, 15), 16]
    block = run.network.blocks[1]
    assert not list(block.modules())[1:] and not list(block.parameters())
    x = torch.rand(2, 2, 8, 8, dtype=torch.double)  # as behind a ReLU
    assert torch.equal(block(x), F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)))
    assert [b.name for b in run.network.branches()] == ["block0.branch", "block2.branch"]
    assert [g.name for g in run.network.unit_groups()] == ["block0.units", "block2.units"]
    live_once(run.network, run.optimizer)


def test_one_group_of_two_takes_its_branch_along_and_the_projection_stays():
    run = Run("imagenet")
    assert [g.name for g in run.gates.groups][:2] == ["block0.units1", "block0.units2"]
    remove = torch.zeros(len(run.gates.theta), dtype=torch.bool)
    remove[4:8] = True  # block 1's first group
    shrink(run.network, run.optimizer, run.gates, remove)
    assert [b.name for b in run.network.branches()] == ["block0.branch"] and run.gates.sizes == [2, 2, 1]
    left = [name for name, _ in run.network.blocks[1].named_parameters()]
    assert left == ["shortcut.0.weight", "shortcut.1.weight", "shortcut.1.bias"]


@pytest.mark.parametrize("kind", ["vgg", "dense", "lenet-5"])
def test_a_layer_in_no_branch_keeps_the_unit_of_largest_theta(kind):
    run = Run(kind)
    best = [int(part.argmax()) for part in run.gates.theta.split(run.gates.sizes)]
    starts = np.cumsum([0, *run.gates.sizes[:-1]])
    shrink(run.network, run.optimizer, run.gates, torch.ones(len(run.gates.theta), dtype=torch.bool))
    assert run.gates.sizes == [1] * len(best) and run.gates.origin.tolist() == (starts + best).tolist()
    assert run.outputs().isfinite().all()


@pytest.mark.parametrize("kind", ["basic", "bottleneck", "imagenet"])
def test_training_goes_on_when_no_gate_is_left(kind):
    run = Run(kind)
    full = structure_of(run.network, run.shape)
    shrink(run.network, run.optimizer, run.gates, torch.ones(len(run.gates.theta), dtype=torch.bool))
    structure = structure_of(run.network, run.shape, full)
    run.gates.sample(6)
    run.step()
    assert run.gates.difference().shape == (0,) == structure.costs(run.gates.theta.detach(), 0.4, 0.5, 0.1).shape
    assert run.gates.decide().shape == (1, 0) and run.gates.weight_norms()[0].shape == (0,)
    shrink(run.network, run.optimizer, run.gates, torch.zeros(0, dtype=torch.bool))


def test_memory_format_stays():
    run = Run("basic", steps=0)
    run.network.to(memory_format=torch.channels_last)
    run.gates.sample(6)
    run.step()
    remove = torch.zeros(len(run.gates.theta), dtype=torch.bool)
    remove[[0, 3, 7]] = True
    shrink(run.network, run.optimizer, run.gates, remove)
    for module in run.network.modules():
        if isinstance(module, nn.Conv2d):
            for tensor in (module.weight, run.optimizer.state[module.weight]["momentum_buffer"]):
                assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_parameter_groups_gradients_and_frozen_parameters_keep_their_place():
    run = Run("basic")
    weights = [p for p in run.network.parameters() if p.dim() > 1]
    others = [p for p in run.network.parameters() if p.dim() == 1]
    run.optimizer = torch.optim.SGD([{"params": weights, "lr": 0.2}, {"params": others}], lr=0.1)
    run.network.blocks[0].norm1.bias.requires_grad_(False)
    run.gates.sample(6)
    run.step()
    conv2 = run.network.blocks[0].conv2
    gradient = conv2.weight.grad
    remove = torch.zeros(len(run.gates.theta), dtype=torch.bool)
    remove[0] = remove[16] = True
    shrink(run.network, run.optimizer, run.gates, remove)
    live_once(run.network, run.optimizer)
    first, second = (group["params"] for group in run.optimizer.param_groups)
    assert all(p.dim() > 1 for p in first) and all(p.dim() == 1 for p in second)
    assert torch.equal(conv2.weight.grad, gradient[:, 1:])
    assert not run.network.blocks[0].norm1.bias.requires_grad and conv2.weight.requires_grad


def test_without_an_optimizer():
    run = Run("basic")
    shrink(run.network, None, run.gates, torch.arange(len(run.gates.theta)) == 0)
    assert run.gates.sizes[0] == 1


# ---- refused, and nothing changed


def refused(run, remove, error, message, **changed):
    before = run.state()
    given = {"network": run.network, "optimizer": run.optimizer, "gates": run.gates} | changed
    with pytest.raises(error, match=message) as raised:
        shrink(**given, remove=remove)
    assert "\n" not in str(raised.value)
    assert_equal(run.state(), before)


@pytest.mark.parametrize(
    ("remove", "got"),
    [
        (torch.ones(16, dtype=torch.bool), r"torch.bool of shape \[16\]"),
        (torch.ones(1, 17, dtype=torch.bool), r"torch.bool of shape \[1, 17\]"),
        (torch.ones(17), r"torch.float32 of shape \[17\]"),
        (np.ones(17, dtype=int), r"torch.int64 of shape \[17\]"),
        (torch.tensor(True), r"torch.bool of shape \[\]"),
    ],
)
def test_bad_masks_are_refused(remove, got):
    refused(Run("basic"), remove, InputError, r"remove must be bool of shape \[17\], one entry a gate; got " + got)


def test_other_mistakes_are_refused():
    run = Run("basic")
    everything = torch.ones(17, dtype=torch.bool)
    refused(run, everything, InputError, "gates must be those of this network", gates=Run("basic").gates)
    refused(run, everything, TypeError, r"Linear must offer unit_groups\(\) and branches\(\)", network=nn.Linear(1, 1))
    run.optimizer.state[run.network.linear.weight]["odd"] = torch.zeros(2)
    refused(run, everything, InputError, r"optimizer state 'odd' must have the parameter's shape; got \[2\]")


def test_a_branch_that_cannot_be_dropped_is_refused():
    run = Run("basic")
    run.network.branches = lambda: [Branch(b.name, b.site, b.norm) for b in ResNet.branches(run.network)]
    run.gates.place(run.network)
    refused(run, torch.arange(17) == 16, InputError, "branch 'block2.branch' cannot be removed: its block must offer")
    shrink(run.network, run.optimizer, run.gates, torch.arange(17) == 0)  # units can


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ([0, 17], r"origin must be indices of gates, 0 to 16; got \[0, 17\]"),
        ([-1], "origin must be indices of gates"),
        ([0.5], "origin must be indices of gates"),
        ([0, 1], "origin must be what a removal leaves"),  # units without their branch
        ([14], "origin must be what a removal leaves"),  # a branch without units
    ],
)
def test_bad_origins_are_refused(origin, message):
    run = Run("basic")
    with pytest.raises(InputError, match=message):
        restore(run.network, run.optimizer, run.gates, np.array(origin))
