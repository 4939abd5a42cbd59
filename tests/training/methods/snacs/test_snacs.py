"""SNACS in the training loop: nothing protected goes, no layer passes its limit, what is pruned stays zero."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.data.data_sets import load_digits
from training.engine.callbacks import Callback
from training.engine.config import RunConfig
from training.engine.loop import Training, evaluate
from training.errors import InputError
from training.gating.sites import GateSite
from training.methods.base import training_run
from training.methods.registry import method
from training.methods.snacs.method import Snacs, within
from training.networks.chain import Chain
from training.runtime.progress import Progress

EPOCHS, RETRAIN, EACH = 2, 2, 5


@pytest.fixture(scope="module")
def digits():
    whole = load_digits()  # a part of them: 240 and 60 images
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return replace(whole, **{name: getattr(whole, name)[::5][: 240 if "train" in name else 60] for name in names})


def config(**changes):
    return RunConfig(**({"network": "resnet8", "width": 4, "epochs": EPOCHS, "batch": 48, "lr": 0.05} | changes))


def snacs(**changes):
    return method("snacs", **({"retrain": RETRAIN, "per_class": 8} | changes))


def run(training):
    return training.run(Progress("test", 1, quiet=True), Callback())


@pytest.fixture(scope="module")
def trained(digits):
    """The loop of a run at the end of its first phase: its learner can look at the trained network, again and again."""
    training = training_run(snacs(), config(), digits)
    training.method.select_removals = lambda step: None
    training.config = replace(training.config, epochs=EPOCHS)
    run(training)
    return training.method


# ---- the choice


@pytest.mark.parametrize(
    "changes",
    [
        {"share": 0.4},
        {"drop": 1.0, "protect": 0.3},  # limits of 97 per cent: what is protected must hold them back
        {"scale": "magnitude", "protect": 0.0},
    ],
)
def test_never_a_protected_kernel_nor_beyond_a_limit(changes, trained):
    before = {key: value.clone() for key, value in trained.network.state_dict().items()}
    trained.settings = snacs(**changes)
    choice = trained.look()
    assert all(torch.equal(value, before[key]) for key, value in trained.network.state_dict().items())
    assert choice.names == [f"blocks.{i}.conv{j}" for i in range(3) for j in (1, 2)]
    gone = sum(int((~kept).sum()) for kept in choice.kept)
    allowed, reached = 0, 0
    for score, stay, limit, kept in zip(choice.scores, choice.protected, choice.limits, choice.kept, strict=True):
        assert kept.shape == score.shape == stay.shape and (score >= 0).all()
        assert kept[stay].all()
        assert (~kept).sum() <= limit / 100 * kept.size
        assert not (~kept).any() or score[~kept].max() <= score[kept & ~stay].min(initial=np.inf)
        allowed += min(int(limit * kept.size // 100), int((~stay).sum()))
        reached += (~kept).sum() == min(int(limit * kept.size // 100), int((~stay).sum()))
    assert gone == int(trained.settings.share * allowed) > 0
    assert trained.settings.share < 1 or reached == 6
    if trained.settings.drop == 1:
        assert choice.limits == [97] * 6
        assert all((kept == stay).all() for kept, stay in zip(choice.kept, choice.protected, strict=True))
    spared = np.split(choice.spared, np.cumsum(trained.gates.sizes[:3])[:-1])
    for block, units in enumerate(spared):  # a critical unit keeps all that it reads and all that reads it
        assert units.sum() == (max(1, int(trained.settings.protect * len(units))) if trained.settings.protect else 0)
        assert choice.kept[2 * block][units].all() and choice.kept[2 * block + 1][:, units].all()


def test_the_same_seed_chooses_the_same(trained):
    trained.settings = snacs(per_class=3)
    first, second = trained.look(), trained.look()
    assert first.limits == second.limits
    assert all((a == b).all() for a, b in zip(first.kept, second.kept, strict=True))
    assert all((a == b).all() for a, b in zip(first.scores, second.scores, strict=True))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100), st.floats(0, 1)), min_size=1, max_size=5),
    st.floats(0.01, 1),
    st.integers(0, 99),
)
def test_the_lowest_of_all_layers_go_as_far_as_the_limits(layers, share, seed):
    random = np.random.default_rng(seed)
    scores = [np.round(random.random(size), 1) for size, _, _ in layers]  # with ties
    parts = [random.random(size) < part for size, _, part in layers]
    orders = [(o := np.argsort(s, kind="stable"))[part[o]] for s, part in zip(scores, parts, strict=True)]
    limits = [limit for _, limit, _ in layers]
    gone = within(scores, orders, limits, share)
    room = [min(len(order), len(s) * limit // 100) for s, order, limit in zip(scores, orders, limits, strict=True)]
    assert sum(map(len, gone)) == int(share * sum(room))
    could = [s[o[len(g) : r]] for s, o, g, r in zip(scores, orders, gone, room, strict=True)]
    kept_lowest = min(values.min(initial=9) for values in could)
    for score, order, some, most in zip(scores, orders, gone, room, strict=True):
        assert len(some) <= most and (some == order[: len(some)]).all()
        assert score[some].max(initial=0) <= kept_lowest


# ---- the run


@pytest.mark.parametrize(("network", "width"), [("resnet8", 8), ("lenet-300-100", 40)])
def test_kernels_stay_zero_and_protected_filters_stay_through_retraining(network, width, digits):
    training = training_run(snacs(retrain=1), config(network=network, width=width, epochs=1, decay=0.01), digits)
    learner, looked, after = training.method, [], []
    look, stepped = learner.look, learner.after_step

    def watched_look():
        looked.append(look())
        return looked[-1]

    def watched_step():
        stepped()
        if learner.masks is not None:
            after.append({name: training.network.get_submodule(name).weight.clone() for name in learner.masks.kept})

    learner.look, learner.after_step = watched_look, watched_step
    full = learner.counts()
    run(training)
    (choice,) = looked
    assert len(after) == EACH
    moved = 0
    for name, kept in learner.masks.kept.items():
        weight = training.network.get_submodule(name).weight
        momentum = training.optimizer.state[weight]["momentum_buffer"]
        for values in (weight, momentum, *(step[name] for step in after)):
            each = values.detach().unflatten(1, (kept.shape[1], -1)).flatten(2)
            assert (each[~kept] == 0).all()
        moved += int((after[0][name] != after[-1][name]).any())
    assert moved == len(learner.masks.kept)  # what is left has learned
    origin = set(learner.gates.origin.tolist())
    assert set(np.flatnonzero(choice.spared).tolist()) <= origin
    counts = learner.counts()
    zeros = sum(
        int((training.network.get_submodule(name).weight == 0).sum()) for name in learner.masks.kept
    )  # no weight that is on is exactly zero
    assert counts["parameters_masked"] == sum(p.numel() for p in training.network.parameters()) - zeros
    assert counts["parameters"] == sum(p.numel() for p in training.network.parameters())
    assert counts["kernels_on"] < counts["kernels_full"] == full["kernels_on"] == full["kernels_full"]
    assert full["parameters_masked"] == full["parameters"] == full["parameters_full"]


def test_retraining_brings_back_what_pruning_costs():
    whole = load_digits()
    training = training_run(
        snacs(retrain=4, per_class=30), config(network="lenet-300-100", width=60, epochs=5, lr=0.1), whole
    )
    accuracies = {}

    class Watch(Callback):
        def save(self, training, last):
            if training.at.step in (training.method._border - 1, training.method._border):
                accuracies[training.at.step] = evaluate(training.network, training.dataset, 64)
                training.network.train()

    trained = training.run(Progress("test", 1, quiet=True), Watch())
    full, pruned = (accuracies[step] for step in sorted(accuracies))
    counts = training.method.counts()
    assert counts["kernels_on"] < 0.5 * counts["kernels_full"]
    assert full > 0.85 and pruned < full - 0.05 and trained.accuracy > full - 0.03


# ---- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 0.0}, r"share must be in \(0, 1\]; got 0.0"),
        ({"share": 1.5}, r"share must be in \(0, 1\]; got 1.5"),
        ({"per_class": 1}, "per_class must be ≥ 2; got 1"),
        ({"scale": "l2"}, "scale must be one of gaussian, magnitude, none; got 'l2'"),
        ({"protect": 1.0}, r"protect must be in \[0, 1\); got 1.0"),
        ({"protect": float("nan")}, r"protect must be in \[0, 1\); got nan"),
        ({"drop": -0.1}, r"drop must be in \[0, 1\]; got -0.1"),
        ({"retrain": 0}, "retrain must be ≥ 1 epochs; got 0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        snacs(**changes)


def hidden(*layers):
    return Chain(nn.Flatten(), *layers, nn.Linear(64, 6), nn.ReLU(), GateSite(6), nn.Linear(6, 10))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (hidden(), "network must have at least three layers, so that kernels join filters with filters; got 2"),
        (
            Chain(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 8, groups=2), *hidden()[:1], nn.Linear(4, 6), *hidden()[2:]),
            "layer '1' must be an ungrouped convolution; got 2 groups",
        ),
        (Chain(nn.Linear(8, 8), *hidden()), "layer '0' must read one vector an image; it is executed at several"),
    ],
)
def test_networks_that_it_cannot_handle_are_refused_before_training(network, message, digits):
    maker = Snacs(retrain=1).build
    with pytest.raises(InputError, match=message):
        Training(config(), network, digits, maker)


def test_a_share_with_which_no_kernel_can_go_is_refused_before_training(digits):
    """ResNet-8 of width 4: six layers between the first and the last, of which one critical filter a side stays."""
    with pytest.raises(InputError, match=r"share must be ≥ 1/\d+, so that a kernel goes: .*; got 0.0001") as refused:
        training_run(snacs(share=1e-4), config(), digits)
    most = int(str(refused.value).split("1/")[1].split(",")[0])
    training_run(snacs(share=1.01 / most), config(), digits)
    with pytest.raises(InputError, match="share must be"):
        training_run(snacs(share=0.99 / most), config(), digits)


def test_data_of_one_class_is_refused_before_training(digits):
    one = digits.train_labels == 3
    single = replace(digits, train_images=digits.train_images[one], train_labels=digits.train_labels[one])
    with pytest.raises(InputError, match="data digits must have images of at least two classes"):
        training_run(snacs(), config(batch=8), single)


def test_weights_that_have_diverged_are_named(digits):
    training = training_run(snacs(), config(), digits)
    with torch.no_grad():
        training.network.linear.weight[0, 0] = torch.nan
    with pytest.raises(InputError, match="weights must be finite: training has diverged; lower the learning rate"):
        training.method.look()
