"""Dynamic channel masking in the training loop: who moves when, that ratios learn, that the target is met for good."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.data.batches import batches
from training.data.data_sets import load_digits
from training.engine.build import network_of
from training.engine.callbacks import Callback
from training.engine.config import RunConfig
from training.engine.loop import Training
from training.engine.method import RunContext
from training.engine.optimizer import weight_optimizer
from training.errors import InputError
from training.gating.network_structure import structure_of
from training.methods import whole_units
from training.methods.amount import macs_without
from training.methods.base import training_run
from training.methods.channel_masking.dynamic_mask import share_at
from training.methods.registry import method
from training.networks.chain import Chain, Residual
from training.runtime.progress import Progress

BATCH, EACH = 48, 5


@pytest.fixture(scope="module")
def digits():
    whole = load_digits()  # a part of them: 240 and 60 images
    parts = {name: getattr(whole, name)[::5] for name in ("train_images", "train_labels", "test_images", "test_labels")}
    return replace(whole, **{name: part[: 240 if "train" in name else 60] for name, part in parts.items()})


@pytest.fixture(scope="module")
def large(digits):
    """The same images at 32 × 32, for networks that halve them often."""
    grown = {name: F.interpolate(getattr(digits, name), size=32) for name in ("train_images", "test_images")}
    return replace(digits, **grown)


def config(**changes):
    return RunConfig(**({"network": "lenet-300-100", "width": 30, "epochs": 4, "batch": BATCH, "lr": 0.05} | changes))


def masking(**changes):
    return method("channel-masking", **({"every": 2, "first": 0.2, "last": 0.8} | changes))


def run(training, hooks=None):
    return training.run(Progress("test", 1, quiet=True), hooks or Callback())


def copied(training):
    """Weights with their momentum, and ratios."""
    weights = {name: p.detach().clone() for name, p in training.network.named_parameters()}
    moved = training.optimizer.state
    momentum = {
        name: moved[p]["momentum_buffer"].clone() for name, p in training.network.named_parameters() if p in moved
    }
    return weights, momentum, training.method.ratios.detach().clone()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Steps(Callback):
    """The state after every step; stops as suddenly as a kill would."""

    def __init__(self, stop=None):
        self.after, self.stop, self.saved = {}, stop, None

    def save(self, training, last):
        self.after[training.at.step] = copied(training)
        if training.at.step == self.stop and not last:
            buffer = io.BytesIO()
            torch.save(training.state_dict(), buffer)
            self.saved = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
            raise KeyboardInterrupt


# ---- alternation


def test_weights_and_ratios_take_turns_and_neither_moves_in_a_step_of_the_other(digits):
    training, steps = training_run(masking(every=3), config(network="resnet8", width=4), digits), Steps()
    steps.after[0] = copied(training)
    run(training, steps)
    assert (training.method.begin, training.method.end) == (4, 16)
    for step in range(20):
        (weights, momentum, ratios), (others, pushed, moved) = steps.after[step], steps.after[step + 1]
        if step in (6, 9, 12, 15):
            assert not torch.equal(ratios, moved)
            if step != 15:  # behind the last one channels are removed
                assert same(weights, others) and same(momentum, pushed)
        else:
            assert torch.equal(ratios, moved)
            assert all(not torch.equal(weights[name], others[name]) for name in weights)


def test_the_slope_of_a_ratio_is_that_of_the_loss(digits):
    """What autograd brings to the ratios in the loop's order of calls, against the loss at neighbouring ratios."""
    learner = training_run(masking(first=0.0), config(network="resnet8", width=4), digits).method
    learner.network.double()
    learner.gates.theta.data = learner.gates.theta.data.double()
    images, labels = next(batches(digits, BATCH, torch.Generator().manual_seed(0)))
    start = torch.tensor([0.6, 0.55, 0.78], dtype=torch.double)  # no whole numbers of 4, 8 and 16

    def loss(ratios):
        with torch.no_grad():
            learner.ratios.copy_(ratios)
        learner.lr_factor(1, 20)
        learner.before_step(BATCH)
        return F.cross_entropy(learner.network(images.double()), labels)

    loss(start).backward()
    slope, tiny = learner.ratios.grad.clone(), 1e-7  # hardly a ReLU turns on or off within
    for i, change in enumerate(tiny * torch.eye(3, dtype=torch.double)):
        difference = float(loss(start + change).detach() - loss(start - change).detach()) / (2 * tiny)
        assert abs(difference) > 1e-4 and float(slope[i]) == pytest.approx(difference, rel=1e-4)


# ---- what is learned


@pytest.mark.parametrize(
    ("network", "width", "share", "epochs"), [("lenet-300-100", 60, 0.3, 24), ("resnet8", 4, 0.6, 10)]
)
def test_ratios_learn_to_differ_and_to_cost_the_target_and_whole_channels_meet_it(
    network, width, share, epochs, digits
):
    training = training_run(
        masking(share=share, ratio_lr=0.05), config(network=network, width=width, epochs=epochs), digits
    )
    learner, steps = training.method, Steps()
    run(training, steps)
    ratios = learner.ratios.detach()
    assert ((1 - ratios) > 0.03).all() and float(ratios.max() - ratios.min()) > 0.05
    assert abs(float(share_at(ratios, learner.full)) - share) < 0.05  # by learning, before anything is rounded
    left = structure_of(training.network, digits.shape)
    assert abs(left.total_macs / learner.full.full_macs - share) <= 0.02 * share
    counts = np.array(list(left.units.values()))
    full = np.array(list(learner.full.units.values()))
    assert (counts >= 1).all()
    # Whole channels follow the learned proportions: all ratios times one factor, to the nearest whole number.
    low, high = (counts - 0.5) / (ratios.numpy() * full), (counts + 0.5) / (ratios.numpy() * full)
    low[counts == 1], high[counts == full] = 0, np.inf
    assert low.max() <= high.min()


def test_the_loss_has_a_say_in_the_ratios(digits):
    """Those learned with it differ from those of the FLOPs term alone."""

    def learned(blind):
        training = training_run(masking(ratio_lr=0.2, strength=2.0), config(epochs=12), digits)
        learner = training.method
        if blind:
            learn = learner.after_backward

            def unseeing(losses, step, factor, forward=None):
                if learner.moves_ratios(step):
                    learner.ratios.grad.zero_()
                return learn(losses, step, factor, forward)

            learner.after_backward = unseeing
        run(training)
        return learner.ratios.detach()

    seeing, blind = learned(False), learned(True)
    assert float((seeing - blind).abs().max()) > 0.02


def test_channels_are_ranked_anew_whenever_the_ratios_move(digits):
    """A channel that grows heavy comes back into the mask, one that grows light leaves it."""
    learner = training_run(masking(first=0.0), config(network="resnet8", width=4), digits).method
    group = learner.gates.groups[0]
    with torch.no_grad():
        learner.ratios.fill_(0.5)
    for heavy in ([0, 1], [2, 3], [1, 3]):
        with torch.no_grad():
            group.producer.weight.fill_(0.1)
            group.producer.weight[heavy] = 1.0
        learner.lr_factor(1, 20)  # a step of the ratios
        learner.before_step(BATCH)
        assert group.site.mask[0].flatten().nonzero().flatten().tolist() == heavy


def test_an_evaluation_rounds_the_masks(digits):
    learner = training_run(masking(first=0.0), config(network="resnet8", width=4), digits).method
    with torch.no_grad():
        learner.ratios.copy_(torch.tensor([0.6, 0.55, 0.78]))  # 2.4 of 4, 4.4 of 8, 12.48 of 16
    learner.lr_factor(1, 20)
    learner.before_step(BATCH)  # a step of the ratios, in which they are not moved
    with torch.no_grad():
        learner.gates.theta.copy_(torch.cat([*(group.site.mask[0] for group in learner.gates.groups), torch.ones(3)]))
    learner.before_evaluation()
    sites = [group.site.mask for group in learner.gates.groups]
    assert [int(mask.sum()) for mask in sites] == [2, 4, 12]
    assert all(set(mask.flatten().tolist()) <= {0.0, 1.0} for mask in sites)
    assert learner.counts()["macs"] == macs_without([2, 4, 4], learner.full)


# ---- what is removed

WIDTHS = {"resnet8": 8, "resnet14": 4, "vgg16": 4, "vgg16-bypass": 4, "lenet-5": 6, "lenet-300-100": 30}


@pytest.mark.parametrize("network", WIDTHS)
@pytest.mark.parametrize("share", [0.5, 0.7])
def test_the_target_is_met_physically_and_the_heaviest_filters_stay(network, share, large):
    training = training_run(masking(share=share), config(network=network, width=WIDTHS[network]), large)
    learner = training.method
    full = np.array(learner.gates.sizes[: len(learner.gates.groups)])
    with torch.no_grad():
        learner.ratios.copy_(torch.as_tensor(np.random.default_rng(7).uniform(1 / full, 1)))
    norms = [group.producer.weight.detach().abs().flatten(1).sum(1) for group in learner.gates.groups]
    assert all(learner.select_removals(step) is None for step in range(20) if step != learner.end)
    learner.remove(learner.select_removals(learner.end))
    left = structure_of(training.network, large.shape)
    assert abs(left.total_macs / learner.full.full_macs - share) <= 0.02 * share
    assert len(learner.gates.groups) == len(full)  # no layer is lost
    for group, before, stay in zip(learner.gates.groups, norms, left.units.values(), strict=True):
        assert group.site.count == stay >= 1
        if group is learner.gates.groups[0]:  # the others' filters lose the columns of what was before them
            after = group.producer.weight.detach().abs().flatten(1).sum(1)
            assert sorted(after.tolist()) == sorted(before.tolist())[-stay:]
    assert (learner.gates.theta == 1).all()


@given(st.floats(0.3, 0.95), st.lists(st.floats(0.001, 1), min_size=2, max_size=2))
@settings(max_examples=10)
def test_whatever_was_learned_a_target_that_was_accepted_is_met(digits, share, ratios):
    learner = training_run(masking(share=share), config(), digits).method
    with torch.no_grad():
        learner.ratios.copy_(torch.tensor(ratios, dtype=torch.double).clamp(min=0.1))
    learner.remove(learner.select_removals(learner.end))
    assert abs(learner.structure.total_macs / learner.full.full_macs - share) <= 0.02 * share


def test_a_search_that_would_not_end_is_refused_before_training(digits):
    with pytest.raises(InputError, match=r"within 0\.001%; the nearest found in \d+ steps of search is 0\.39"):
        training_run(
            method("channel-masking", share=0.391234, tolerance=1e-5), config(network="resnet14", width=8), digits
        )


@pytest.mark.parametrize("limit", [0, whole_units.LIMIT])
def test_a_run_that_misses_its_target_says_so(limit, digits, monkeypatch, capsys):
    """What one architecture has is the target, so near that only the search of all finds it; without it, a miss."""
    tolerance, full = 1e-4, structure_of(network_of(config(), digits), digits.shape)
    share = macs_without([7, 6], full) / full.full_macs
    training = training_run(masking(share=share, tolerance=tolerance, ratio_lr=0.1), config(), digits)
    monkeypatch.setattr(whole_units, "LIMIT", limit)
    training.run(Progress("test", 1), Callback())
    off = training.method.structure.total_macs / (share * training.method.full.full_macs) - 1
    said = f"than the target of {share:g}, which was to be met within 0.01%" in " ".join(
        capsys.readouterr().err.split()
    )
    assert training.method.counts()["off_target"] == off
    assert said == (abs(off) > tolerance) == (limit == 0) and abs(off) < 0.05


def test_before_its_phase_training_is_that_of_a_run_without_pruning(digits):
    ends = []
    for chosen in (method("none"), masking(first=0.4)):
        training = training_run(chosen, config(), digits)

        class Stop(Callback):
            def save(self, training, last):
                if training.at.step == 8:
                    ends.append({name: p.detach().clone() for name, p in training.network.named_parameters()})
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(training, Stop())
    assert same(*ends)


# ---- again, and going on


def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(digits):
    """Stopped before the phase, at the end of an epoch, behind a step of either kind."""
    start = lambda: training_run(masking(), config(), digits)  # noqa: E731
    whole, steps = start(), Steps()
    trained = run(whole, steps)
    for stop in (3, 5, 8, 9):
        broken, stopped, again, rest = start(), Steps(stop), start(), Steps()
        with pytest.raises(KeyboardInterrupt):
            run(broken, stopped)
        again.load_state_dict(stopped.saved)
        resumed = run(again, rest)
        assert (resumed.accuracy, resumed.loss, resumed.flops) == (trained.accuracy, trained.loss, trained.flops)
        for step, (weights, momentum, ratios) in rest.after.items():
            assert same(weights, steps.after[step][0]) and same(momentum, steps.after[step][1]), (stop, step)
            assert torch.equal(ratios, steps.after[step][2]), (stop, step)


# ---- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 0.0}, r"share must be in \(0, 1\); got 0.0"),
        ({"share": 1.0}, r"share must be in \(0, 1\); got 1.0"),
        ({"share": 0.01}, r"share = 0.01 .* within 2%; the nearest .* is 0\.0323, one unit in every group 0\.0323"),
        (
            {"share": 0.512345, "tolerance": 1e-9},
            "share = 0.512345 of the .* must be met within 1e-07%; the nearest that whole",
        ),
        ({"tolerance": 0.0}, r"tolerance must be in \(0, 1\); got 0.0"),
        ({"tolerance": 1.0}, r"tolerance must be in \(0, 1\); got 1.0"),
        ({"ratio_lr": -1.0}, "ratio_lr must be > 0 and finite; got -1.0"),
        ({"strength": float("nan")}, "strength must be > 0 and finite; got nan"),
        ({"every": 1}, "every must be ≥ 2, so that weights have steps too; got 1"),
        ({"first": 0.5, "last": 0.5}, "first and last must be 0 ≤ first < last < 1; got 0.5 and 0.5"),
        ({"last": 1.0}, "first and last must be 0 ≤ first < last < 1; got 0.2 and 1.0"),
        ({"every": 13}, "first and last must leave ≥ 13 steps between them, and one behind, of the run's 20; got"),
        ({"last": 0.99}, "and one behind, of the run's 20; got 0.2 and 0.99, steps 4 to 20"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_trained(changes, message, digits):
    with pytest.raises(InputError, match=message) as raised:
        training_run(masking(**changes), config(), digits)
    assert "\n" not in str(raised.value)


def test_networks_without_units_are_refused(digits):
    branch = Chain(nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4))
    for parts in ([Residual(branch), nn.ReLU()], []):
        network = Chain(nn.Conv2d(1, 4, 3, 1, 1), *parts, nn.Flatten(), nn.Linear(256, 10))
        optimizer = weight_optimizer("sgd", network, lr=0.1, momentum=0.9, decay=0.0)
        with pytest.raises(InputError, match="network must have gated units, whose ratios can be learned"):
            masking().build(RunContext(config(), network, optimizer, digits))


def test_a_loss_that_diverges_is_told(digits):
    with pytest.raises(InputError, match=r"the loss diverged at step \d+: lower lr = 1e\+18"):
        run(training_run(masking(first=0.0), config(lr=1e18), digits))


def test_states_of_other_methods_are_refused(digits):
    training = training_run(masking(), config(), digits)
    other = Training(config(), training_run(method("none"), config(), digits).network, digits)
    with pytest.raises(KeyError):
        training.load_state_dict(other.state_dict())
