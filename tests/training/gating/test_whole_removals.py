"""A removal is whole or has not happened; parameters keep what hangs on them; no backward pass is cut in two."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.pruned_run import KINDS, Run, assert_equal
from training.errors import InputError
from training.export.trace import trace
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.gating.sites import GateSite, UnitGroup
from training.networks import Chain


def everything(run):
    """All that a removal may touch: objects by identity, and their values."""
    modules = dict(run.network.named_modules())
    held = [p for group in run.optimizer.param_groups for p in group["params"]]
    objects = [*modules.values(), *run.network.parameters(), *run.network.buffers(), *held, *run.optimizer.state]
    plain = {
        name: {key: value for key, value in vars(module).items() if isinstance(value, int | float | str | bool)}
        for name, module in modules.items()
    }
    gradients = [p.grad for p in run.network.parameters()]
    sites = [(place.name, place.site.mask) for place in (*run.gates.groups, *run.gates.residual)]
    lists = (run.gates.sizes, run.gates.units, sites, run.gates.sampled, run.gates.theta.grad)
    return list(map(id, objects)), copy.deepcopy(plain), gradients, lists, run.state()


def same(before, after):
    assert before[:2] == after[:2]
    for a, b in zip(before[2:4], after[2:4], strict=True):
        assert_equal(list(a), list(b))
    assert_equal(before[4], after[4])


def fails_last(run, monkeypatch):
    """The last thing a removal does fails."""
    monkeypatch.setattr(run.gates, "place", lambda *_: 1 / 0)
    return ZeroDivisionError


def consumer_cannot_be_cut(run, monkeypatch):
    """The last group's reader has lost columns since the gates were placed."""
    layer = run.gates.groups[-1].consumers[0]
    run.optimizer.state.clear()
    layer.weight = nn.Parameter(layer.weight.detach()[:, :1])
    return RuntimeError


def optimizer_refuses(run, monkeypatch):
    """State of the last parameter cannot be cut."""
    *_, last = run.network.parameters()
    run.optimizer.state[last] = {"history": [torch.zeros(3)]}
    return InputError


def block_fails_midway(run, monkeypatch):
    block = run.gates.residual[-1].block

    def remove_branch():
        for name in list(dict(block.named_children())):
            delattr(block, name)
        raise KeyError("no such layer")

    monkeypatch.setattr(block, "remove_branch", remove_branch, raising=False)
    return KeyError


def other_class(run, monkeypatch):
    class Own(nn.Parameter):
        pass

    layer = run.gates.groups[-1].consumers[0]
    layer.weight = Own(layer.weight.detach())
    return InputError


@pytest.mark.parametrize(
    "way", [fails_last, consumer_cannot_be_cut, optimizer_refuses, block_fails_midway, other_class]
)
@pytest.mark.parametrize("kind", ["basic", "imagenet"])
def test_a_removal_that_fails_has_not_happened(kind, way, monkeypatch):
    run = Run(kind)
    error = way(run, monkeypatch)
    before = everything(run)
    remove = torch.zeros(len(run.gates.theta), dtype=torch.bool)
    if way is block_fails_midway:
        remove[-1] = True
    starts = torch.tensor([0, *run.gates.sizes]).cumsum(0)[: len(run.gates.groups)]
    remove[starts] = True  # a unit of every group, before and after what fails
    with pytest.raises(error):
        shrink(run.network, run.optimizer, run.gates, remove)
    same(before, everything(run))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_keep_attributes_and_hooks(kind):
    run = Run(kind)
    seen = []
    for name, parameter in run.network.named_parameters():
        parameter.tag, parameter.like, parameter.other = name, parameter.detach() * 2, torch.zeros(99)
        parameter.register_hook(lambda g, name=name: seen.append(name))
        parameter.register_post_accumulate_grad_hook(lambda p, name=name: seen.append(name))
    first, _ = next(iter(run.network.named_parameters()))
    handle = run.network.get_parameter(first).register_hook(lambda g: seen.append("taken away"))
    remove = torch.zeros(len(run.gates.theta), dtype=torch.bool)
    remove[torch.tensor([0, *run.gates.sizes]).cumsum(0)[: len(run.gates.groups)]] = True
    shrink(run.network, run.optimizer, run.gates, remove)
    handle.remove()  # also where the parameter is another
    run.step()
    names = [name for name, _ in run.network.named_parameters()]
    assert sorted(seen) == sorted(2 * names)
    for name, parameter in run.network.named_parameters():
        assert parameter.tag == name and parameter.like.shape == parameter.shape and len(parameter.other) == 99


# ---- between a forward pass and its backward pass


@pytest.mark.parametrize("kind", ["basic", "vgg", "own", "by hand"])
@pytest.mark.parametrize("masks", [True, False])
def test_a_removal_between_forward_and_backward_is_refused(kind, masks):
    run = Run(kind)
    run.network.train()
    remove = torch.arange(len(run.gates.theta)) == 0
    run.gates.sample(6) if masks else run.gates.open()
    loss = F.cross_entropy(run.network(run.images), run.labels)
    before = everything(run)
    with pytest.raises(InputError, match=r"removal must not come between .*forward pass and its backward pass; at '"):
        shrink(run.network, run.optimizer, run.gates, remove)
    same(before, everything(run))
    shrink(run.network, run.optimizer, run.gates, ~torch.ones_like(remove))  # nothing goes, nothing is lost
    loss.backward()
    shrink(run.network, run.optimizer, run.gates, remove)  # the loss is still there, its graph is used up
    assert loss.isfinite()


def test_outputs_that_are_only_looked_at_do_not_hold_a_removal_up():
    run = Run("basic")
    run.gates.open()
    for look in (lambda: run.network.eval()(run.images), lambda: run.network.train()(run.images).detach()):
        out = look()
        shrink(run.network, run.optimizer, run.gates, torch.arange(len(run.gates.theta)) == 0)
        assert out.isfinite().all()
    run.network.train()
    run.network(run.images)  # dropped at once
    with torch.no_grad():
        out = run.network(run.images)
    shrink(run.network, run.optimizer, run.gates, torch.arange(len(run.gates.theta)) == len(run.gates.theta) - 1)
    (
        copy.deepcopy(run.network),
        torch.func.functional_call(run.network, dict(run.network.named_parameters()), run.images),
    )


# ---- masks of one step


def test_evaluation_never_uses_a_step_s_random_masks():
    run = Run("basic")
    run.gates.sample(6)
    run.step()
    network = run.network.eval()
    with pytest.raises(InputError, match=r"masks in evaluation mode must not be those that Gates\.sample drew"):
        network(run.images)
    run.gates.decide()
    decided = network(run.images)
    run.gates.put(run.gates.decided().double()[None])
    assert torch.equal(network(run.images), decided)
    run.gates.open()
    assert network(run.images[:1]).shape == (1, 3)
    run.gates.sample(6)  # drawn in evaluation mode: whoever does that means it
    assert network(run.images).shape == (6, 3)


@pytest.mark.parametrize("kind", ["basic", "vgg", "own", "dense"])
@pytest.mark.parametrize("batch", [1, 5])
def test_masks_of_another_batch_are_refused_and_one_image_gives_one_row(kind, batch):
    run = Run(kind)
    run.network.train()
    run.gates.sample(6)
    with pytest.raises(InputError, match=rf"masks must be for the batch at hand; got masks of 6 .* inputs \[{batch}, "):
        run.network(run.images[:batch].repeat(1, 1, 1, 1) if batch > 1 else run.images[:1].expand(1, -1, -1, -1))
    run.gates.open()
    assert run.network.eval()(run.images[:batch]).shape == (batch, 3)


def test_masks_along_another_dimension_are_refused():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.site, self.down = nn.Linear(4, 8), GateSite(8), nn.Linear(8, 4)

        def forward(self, x):
            return self.down(self.site(self.up(x)))

        def unit_groups(self):
            return [UnitGroup("u", self.site, self.up, None, self.down)]

        def branches(self):
            return []

    network = Tokens()
    Gates(network).decide()
    with pytest.raises(
        InputError, match=r"site of 8 units must get them along the second dimension; got .*\[2, 5, 8\]"
    ):
        network(torch.zeros(2, 5, 4))


def test_sites_can_be_traced_and_mapped():
    """What stands for a tensor while tracing or mapping meets no check."""
    network = Chain(nn.Linear(4, 8), nn.ReLU(), GateSite(8), nn.Linear(8, 2))
    images = torch.randn(3, 4)
    assert len(trace(network).nodes) == 5
    parameters = dict(network.named_parameters())

    def one(weights, image):
        return torch.func.functional_call(network, weights, (image[None],)).sum()

    slopes = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0))(parameters, images)
    network(images).sum().backward()
    assert torch.allclose(slopes["0.weight"].sum(0), network[0].weight.grad, atol=1e-6)
