"""Methods in the training loop: each one's own property, exact resume, bad input before anything is trained."""

import copy
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from dynamics.models.complexity import training_flops
from training.certificates.tracker import TrackerSettings
from training.data.data_sets import load_digits
from training.engine.build import network_of
from training.engine.callbacks import Callback
from training.engine.config import PruneSettings, RunConfig
from training.engine.loop import Training
from training.engine.method import NoPruning
from training.engine.pruning_method import PruningMethod
from training.errors import InputError
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import shrink
from training.methods.amount import macs_without, removed_at
from training.methods.base import MethodSettings, training_run
from training.methods.criteria import CRITERIA, scores
from training.methods.library import named
from training.methods.registry import METHODS, method
from training.methods.smaller import macs_at, nearest
from training.networks import build
from training.runtime.progress import Progress

BATCH, EACH = 48, 5
EPOCHS = 4
IMAGES = ("train_images", "train_labels", "test_images", "test_labels")


@pytest.fixture(scope="module")
def digits():
    whole = load_digits()  # a part of them: 240 and 60 images
    parts = {name: getattr(whole, name)[::5] for name in IMAGES}
    return replace(whole, **{name: part[: 240 if "train" in name else 60] for name, part in parts.items()})


def config(**changes):
    chosen = {"network": "resnet8", "width": 4, "epochs": EPOCHS, "batch": BATCH, "lr": 0.05}
    certificates = {"tracker": TrackerSettings(warmup=5, window=5, every=5), "prune": PruneSettings(every=5)}
    return RunConfig(**(chosen | certificates | changes))


class Watch(Callback):
    """What is removed, when; stops the run as suddenly as a kill would."""

    def __init__(self, stop=None):
        self.removals, self.stop, self.saved = [], stop, None

    def log(self, **values):
        if "removed" in values:
            self.removals.append((values["step"], values["removed"], values["macs_left"]))

    def save(self, training, last):
        if training.at.step == self.stop and not last:
            buffer = io.BytesIO()
            torch.save(training.state_dict(), buffer)
            self.saved = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
            raise KeyboardInterrupt


def run(training, hooks=None):
    return training.run(Progress("test", 1, quiet=True), hooks or Callback())


#: The methods as small runs try them.
TRIED = {
    "none": {},
    "smaller": {"share": 0.5, "tolerance": 0.5},
    "while-training": {"ratio": 0.5, "first": 0.2, "last": 0.7},
    "prune-and-retrain": {"ratio": 0.5, "retrain": 2, "criterion": "activation"},
    "torch-pruning": {"share": 0.5, "retrain": 2},
    "channel-masking": {"share": 0.5, "every": 2},
    "snacs": {"retrain": 2, "per_class": 5, "drop": 1.0, "protect": 0.0},  # so much that whole filters leave
    "parsimonious": {"cost": 0.5},
    "layer-pruning": {"nu": 20.0},
    "certified-gates": {"nu": 20.0},
}


def test_every_system_is_tried_here():
    assert list(TRIED) == list(METHODS)
    assert all(isinstance(method(name), MethodSettings) for name in METHODS)


@pytest.mark.parametrize("name", TRIED)
def test_a_run_that_was_stopped_ends_as_one_that_was_not_and_a_seed_fixes_it(name, digits):
    start = lambda: training_run(method(name, **TRIED[name]), config(epochs=2 if name == "none" else 3), digits)  # noqa: E731
    whole, watch = start(), Watch()
    trained = run(whole, watch)
    removal = watch.removals[0][0] if watch.removals else EACH
    for stop in (removal, removal + 2) if watch.removals else (EACH,):
        broken, stopped = start(), Watch(stop)
        with pytest.raises(KeyboardInterrupt):
            run(broken, stopped)
        again = start()
        again.load_state_dict(stopped.saved)
        resumed = run(again)
        assert (resumed.accuracy, resumed.loss, resumed.flops) == (trained.accuracy, trained.loss, trained.flops)
        for key, value in whole.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[key], value), (stop, key)


def test_the_interface_alone_changes_nothing(digits):
    ends = []
    for maker in (NoPruning, PruningMethod):
        training = Training(config(epochs=1), network_of(config(), digits), digits, maker)
        trained = run(training)
        ends.append((trained.accuracy, trained.loss, trained.flops, training.network.state_dict()))
    assert ends[0][:3] == ends[1][:3]
    assert all(torch.equal(ends[0][3][key], ends[1][3][key]) for key in ends[0][3])


# ---- pruning filters while training


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_ratio_is_hit_exactly_and_the_lowest_leave_for_good(criterion, digits, monkeypatch):
    chosen = method("while-training", ratio=0.6, criterion=criterion, first=0.2, last=0.7)
    training, watch = training_run(chosen, config(), digits), Watch()
    learner = training.method
    remove, sizes = learner.remove, list(learner.gates.sizes)

    def watched(going):
        values = scores(criterion, training.network, learner.gates, digits, seed=0, images=256)
        for part, lost in zip(
            np.split(values, np.cumsum(learner.gates.sizes[:3])[:-1]),
            np.split(going[: learner.gates.units], np.cumsum(learner.gates.sizes[:3])[:-1]),
            strict=True,
        ):
            assert not lost.any() or part[lost].max() <= part[~lost].min()
        assert not going[learner.gates.units :].any()
        return remove(going)

    monkeypatch.setattr(learner, "remove", watched)
    trained = run(training, watch)
    assert [step for step, *_ in watch.removals] == [EACH * epoch for epoch in (1, 2, 3)]
    target = removed_at(0.6, learner.full)
    left = [group.producer.weight.shape[0] for group in training.network.unit_groups()]
    assert left == [size - gone for size, gone in zip(sizes, target, strict=False)]  # physically, at the ratio
    assert (
        watch.removals[-1][2]
        == macs_without(target, learner.full)
        == structure_of(training.network, digits.shape).total_macs
    )
    macs = [learner.full.full_macs, *(left for *_, left in watch.removals)]
    spent = sum(training_flops(m, BATCH) * EACH for m in macs)
    looks = 2 * 240 * sum(macs[:-1]) if criterion == "activation" else 0  # 256 images of 240, before each removal
    assert trained.flops == spent + looks < trained.flops_full


def test_l1_by_hand(digits):
    training = training_run(method("while-training"), config(), digits)
    values = scores("l1", training.network, training.method.gates, digits, seed=0, images=1)
    block = training.network.blocks[1]
    assert values[4:12] == pytest.approx(block.conv1.weight.detach().abs().sum((1, 2, 3)).tolist())


def test_mean_activations_by_hand(digits):
    training = training_run(method("while-training"), config(network="lenet-300-100", width=6), digits)
    network = training.network
    values = scores("activation", network, training.method.gates, digits, seed=3, images=20)
    images, _ = next(digits.batches(20, torch.Generator().manual_seed(3), augment=False))
    hidden = torch.relu(network.linear1(images.flatten(1)))
    expected = torch.cat([hidden.mean(0), torch.relu(network.linear2(hidden)).mean(0)])
    np.testing.assert_allclose(values, expected.detach(), rtol=1e-5, atol=1e-7)
    assert network.training is True  # left as it was


def test_a_random_unit_keeps_its_number_when_others_leave(digits):
    learner = training_run(method("while-training", criterion="random"), config(), digits).method
    draw = lambda seed: scores("random", learner.network, learner.gates, digits, seed=seed, images=1)  # noqa: E731
    before, other = draw(0), draw(1)
    going = np.arange(len(learner.gates.theta)) % 4 == 0
    going[learner.gates.units :] = False
    learner.remove(going)
    assert (draw(0) == before[~going[: len(before)]]).all() and (before != other).all()


# ---- after training


@pytest.mark.parametrize("name", ["prune-and-retrain", "torch-pruning", "snacs"])
def test_taking_over_a_plain_run_is_training_the_network_oneself(name, digits):
    plain = training_run(method("none"), config(epochs=2), digits)
    run(plain)
    whole, begun = (training_run(method(name, **TRIED[name]), config(epochs=2), digits) for _ in range(2))
    seen, watch = Watch(), Watch()
    trained = run(whole, seen)
    begun.take_over(plain.state_dict(), Progress("test", 1, quiet=True), watch)
    assert begun.at.seconds > plain.at.seconds  # choosing what leaves takes time
    found = run(begun, watch)
    assert watch.removals == seen.removals and len(seen.removals) == 1
    assert (found.accuracy, found.loss, found.flops, found.steps) == (
        trained.accuracy,
        trained.loss,
        trained.flops,
        trained.steps,
    )
    ends = whole.network.state_dict(), begun.network.state_dict()
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert found.processor_seconds > plain.at.processor_seconds > 0


@pytest.mark.parametrize("changes", [{"seed": 1}, {"lr": 0.04}, {"epochs": 1}])
def test_only_the_same_first_phase_is_taken_over(changes, digits):
    plain = training_run(method("none"), config(epochs=2), digits)
    begun = training_run(method("prune-and-retrain"), config(epochs=2), digits)
    run(plain)
    state = plain.state_dict()
    with pytest.raises(ValueError, match="only the end of a plain run of the same settings"):
        other = training_run(method("none"), config(**({"epochs": 2} | changes)), digits)
        begun.take_over(
            state | {"settings": other.state_dict()["settings"]}, Progress("test", 1, quiet=True), Callback()
        )


@pytest.mark.parametrize("name", ["prune-and-retrain", "torch-pruning"])
def test_the_trained_network_is_that_of_a_run_without_pruning(name, digits):
    plain = training_run(method("none"), config(epochs=1), digits)
    run(plain)
    training = training_run(method(name, **TRIED[name]), config(epochs=1), digits)
    assert training.config.epochs == 3
    remove, seen = training.method.remove, []

    def watched(going):
        seen.append({key: value.clone() for key, value in training.network.state_dict().items()})
        return remove(going)

    choose, looks = training.method.choose, []

    def counted():
        with FlopCounterMode(display=False) as counter:  # of the operations that torch executes
            going = choose()
        looks.append(counter.get_total_flops())
        return going

    training.method.remove, training.method.choose = watched, counted
    watch = Watch()
    trained = run(training, watch)
    (before,), ((step, _, left),) = seen, watch.removals
    assert step == EACH and all(torch.equal(value, before[key]) for key, value in plain.network.state_dict().items())
    spent = training_flops(training.method.full.full_macs, BATCH) * EACH + training_flops(left, BATCH) * 2 * EACH
    # What the choice executes is counted too, all but the library's own look at a few images.
    assert trained.flops == spent + (looks[0] if name != "torch-pruning" else 0)
    assert looks[0] > 0 and (name != "prune-and-retrain" or looks == [2 * 240 * training.method.full.full_macs])
    rates = [training.method.lr_factor(step, 15) for step in range(15)]
    assert rates[0] == 1 and rates[5] == 0.1 and np.argmax(np.diff(rates)) == 4


@pytest.fixture(scope="module")
def by_the_library(digits):
    """A network, and what the library leaves of it at a fine grid of ratios: steps of a quarter of a unit."""
    training = training_run(method("torch-pruning", share=0.5, retrain=1), config(epochs=1), digits)
    training.method.select_removals = lambda step: None
    run(training)
    learner, example = training.method, torch.zeros(1, *digits.shape)
    ratios = np.linspace(0, 1, 4 * learner.gates.units + 1)[1:-1]
    left = [learner.full.macs(1.0 - named(copy.deepcopy(training.network), example, ratio)) for ratio in ratios]
    return learner, np.array(left) / learner.full.full_macs


def test_the_librarys_choice_is_the_nearest_to_the_target_that_it_can_give(by_the_library):
    learner, grid = by_the_library
    assert (np.diff(grid) > 0).any()  # what is left does not always fall: layers that would be emptied stay
    for share in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        learner.settings = method("torch-pruning", share=share)
        left = float(learner.full.macs(1.0 - learner.choose())) / learner.full.full_macs
        assert abs(left - share) == pytest.approx(np.abs(grid - share).min(), abs=1e-12), share


def test_the_librarys_choice_is_what_leaves_and_a_miss_is_said(digits, capsys):
    """A unit is up to 9% of this network, so its nearest may be off by more than is aimed at."""
    off = {}
    for share in (0.5, 0.45, 0.25):
        training = training_run(method("torch-pruning", share=share, retrain=1), config(epochs=1), digits)
        training.run(Progress("test", 1), Callback())
        off[share] = training.method.counts()["off_target"]
        macs = structure_of(training.network, digits.shape).total_macs
        assert off[share] == macs / (share * training.method.full.full_macs) - 1
        said = f"than the target of {share:g}, which was to be met within 2%"
        assert (said in " ".join(capsys.readouterr().err.split())) == (abs(off[share]) > 0.02)
    assert min(map(abs, off.values())) <= 0.02 < max(map(abs, off.values()))


def test_a_target_that_no_choice_of_units_meets_is_refused_before_training(digits):
    with pytest.raises(InputError, match=r"share = 0\.999 of the .* the nearest that whole units give is 0\.9"):
        training_run(method("torch-pruning", share=0.999), config(network="resnet8", width=2), digits)


@pytest.mark.parametrize("network", ["resnet8", "lenet-5", "vgg16", "vgg16-bypass"])
def test_filters_without_weight_leave_first_and_both_prune_alike(network):
    torch.manual_seed(0)
    net, shape = build(network, 1, 10, width=4), (1, 32, 32)
    gates = Gates(net)
    group = gates.groups[-1]
    dead = np.zeros(len(gates.theta), bool)
    dead[gates.units - group.site.count :][:2] = True
    with torch.no_grad():
        for tensor in (group.producer.weight, group.producer.bias, group.norm.weight if group.norm else None):
            if tensor is not None:
                tensor[:2] = 0
        group.consumer.weight.unflatten(1, (group.site.count, -1))[:, :2] = 0
    pruned = copy.deepcopy(net)
    going = named(pruned, torch.zeros(1, *shape), 0.3)
    assert going[dead].all() and 0.2 * gates.units < going.sum() < 0.4 * gates.units
    images = torch.randn(2, *shape)
    shrink(net, None, gates, going)
    torch.testing.assert_close(net.eval()(images), pruned.eval()(images), rtol=1e-4, atol=1e-5)


# ---- a smaller network


@pytest.mark.parametrize("network", ["resnet8", "lenet-300-100"])
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_no_other_width_is_nearer(network, share, digits):
    full = config(network=network, width=8)
    counts = {width: macs_at(network, width, channels=1, classes=10, size=8) for width in range(1, 9)}
    smaller = method("smaller", share=share, tolerance=0.5).run_config(full, digits)
    off = {width: abs(count - share * counts[8]) for width, count in counts.items()}
    assert off[smaller.width] == min(off.values())
    with pytest.raises(InputError, match=r"must be met within 0\.0001%; the nearest width of"):
        method("smaller", share=share, tolerance=1e-6).run_config(full, digits)


@given(st.floats(0.1, 1e4), st.integers(1, 3), st.integers(0, 50))
def test_the_nearest_width_is_found(target, power, offset):
    counts = [offset + width**power for width in range(1, 11_000 if power == 1 else 120)]
    best = min(abs(count - target) for count in counts)
    assert abs(offset + nearest(target, lambda width: offset + width**power) ** power - target) == pytest.approx(best)


def test_a_published_width_is_known(digits):
    assert method("smaller", share=0.25, tolerance=0.1).run_config(config(width=None), digits).width == 8


# ---- bad input


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("while-training", {"ratio": 0.0}, r"ratio must be in \(0, 1\); got 0.0"),
        ("while-training", {"ratio": 1.0}, r"ratio must be in \(0, 1\); got 1.0"),
        ("while-training", {"ratio": 0.9}, "ratio must leave each group a unit; 0.9 takes all 4 of group"),
        ("while-training", {"ratio": 0.01}, "ratio must remove at least one unit; 0.01 takes none"),
        ("while-training", {"criterion": "l3"}, "criterion must be one of l1, activation, random; got 'l3'"),
        ("while-training", {"first": 0.5, "last": 0.4}, "first and last must be 0 ≤ first ≤ last < 1; got 0.5 and 0.4"),
        ("while-training", {"images": 0}, "images must be ≥ 1; got 0"),
        ("prune-and-retrain", {"ratio": -1.0}, r"ratio must be in \(0, 1\); got -1.0"),
        ("prune-and-retrain", {"retrain": 0}, "retrain must be ≥ 1 epochs; got 0"),
        ("prune-and-retrain", {"criterion": "l3"}, "criterion must be one of l1, activation, random; got 'l3'"),
        ("prune-and-retrain", {"criterion": "activation", "images": 0}, "images must be ≥ 1; got 0"),
        ("prune-and-retrain", {"peak": 0.0}, r"peak must be in \(0, 1\]; got 0.0"),
        ("torch-pruning", {"share": 1.0}, r"share must be in \(0, 1\); got 1.0"),
        (
            "torch-pruning",
            {"share": 0.01},
            "share = 0.01 of the .* must be met within 2%; .*, one unit in every group 0.1",
        ),
        ("smaller", {"share": 2.0}, r"share must be in \(0, 1\); got 2.0"),
        ("smaller", {"share": 0.001}, "share = 0.001 of the multiply–accumulates must be met within 5%"),
        ("smaller", {"tolerance": 0.0}, r"tolerance must be in \(0, 1\); got 0.0"),
        ("smaller", {"tolerance": 1.0}, r"tolerance must be in \(0, 1\); got 1.0"),
        ("certified-gates", {"nu": -1.0}, "nu must be ≥ 0 and finite; got -1.0"),
        ("certified-gates", {"alpha": 1.5}, r"alpha must be in \[0, 1\]; got 1.5"),
        ("certified-gates", {"rule": "vote"}, "rule must be one of box, half-plane, bilinear"),
        ("none", {"ratio": 0.5}, "settings of method 'none'"),
        ("magic", {}, f"method must be one of {', '.join(METHODS)}; got 'magic'"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_trained(name, settings, message, digits):
    with pytest.raises(InputError, match=message) as raised:
        training_run(method(name, **settings), config(), digits)
    assert "\n" not in str(raised.value)


def test_a_run_too_short_for_a_removal_is_refused(digits):
    with pytest.raises(InputError, match="epochs must be ≥ 2, so that some are left after a removal; got 1"):
        training_run(method("while-training"), config(epochs=1), digits)


def test_a_network_that_the_library_cannot_handle_is_refused_before_training(digits, monkeypatch):
    import torch_pruning

    def broken(*arguments, **others):
        raise IndexError("index 8 is out of bounds")

    monkeypatch.setattr(torch_pruning.pruner, "MagnitudePruner", broken)
    with pytest.raises(InputError, match="network resnet8 cannot be handled by torch-pruning: index 8 is out"):
        training_run(method("torch-pruning"), config(), digits)


def test_states_of_other_systems_are_refused(digits):
    pruned = training_run(method("while-training"), config(), digits)
    other = training_run(method("while-training"), config(width=5), digits)
    with pytest.raises(ValueError, match=r"its settings are not those in config\.json"):
        other.load_state_dict(pruned.state_dict())
