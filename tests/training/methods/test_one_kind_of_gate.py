"""Methods that gate one kind of structure: units only at equal prices, and layers only.

The digits are enlarged where a network needs larger images.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.models.hyperprior import cost_from_gamma
from training.certificates.tracker import TrackerSettings
from training.data.data_sets import load_digits
from training.engine.callbacks import Callback
from training.engine.config import PruneSettings, RunConfig
from training.errors import InputError
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import shrink
from training.methods.base import training_run
from training.methods.registry import method
from training.methods.views import LayersOnly, UnitsOnly, View
from training.networks import build
from training.runtime.progress import Progress

BATCH, EACH = 48, 5
SIZES = {"resnet8": 8, "lenet-300-100": 8, "lenet-5": 16, "vgg16": 32, "vgg16-bypass": 32}
BRANCHED = ("resnet8", "vgg16-bypass")


@pytest.fixture(scope="module")
def digits():
    whole = load_digits()  # a part of them: 240 and 60 images

    def at(size):
        parts = {name: getattr(whole, name)[::5] for name in ("train_images", "test_images")}
        parts = {
            name: part.repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3) for name, part in parts.items()
        }
        parts |= {name: getattr(whole, name)[::5] for name in ("train_labels", "test_labels")}
        return replace(whole, **{name: part[: 240 if "train" in name else 60] for name, part in parts.items()})

    return at


def config(**changes):
    chosen = {"network": "resnet8", "width": 4, "epochs": 3, "batch": BATCH, "lr": 0.05}
    certificates = {"tracker": TrackerSettings(warmup=5, window=5, every=5), "prune": PruneSettings(every=5)}
    return RunConfig(**(chosen | certificates | changes))


class Watch(Callback):
    """The records and removals, and whether masks were in place in the steps, by kind of gate."""

    def __init__(self):
        self.records, self.removals, self.masked = [], [], {"units": set(), "layers": set()}

    def record(self, record):
        self.records.append(record)

    def log(self, **values):
        if "removed" in values:
            self.removals.append(values)


def run(training):
    watch, learn = Watch(), training.method.after_backward

    def watched(*arguments):
        watch.masked["units"] |= {group.site.mask is not None for group in training.network.unit_groups()}
        watch.masked["layers"] |= {branch.site.mask is not None for branch in training.network.branches()}
        return learn(*arguments)

    training.method.after_backward = watched
    return training.run(Progress("test", 1, quiet=True), watch), watch


def sizes(network):
    return {group.name: group.site.count for group in network.unit_groups()}


def names(network):
    return [branch.name for branch in network.branches()]


# ---- views


@pytest.mark.parametrize("name", SIZES)
@settings(max_examples=5)
@given(seed=st.integers(0, 999), share=st.floats(0, 1))
def test_through_a_view_of_units_only_units_leave(name, seed, share):
    torch.manual_seed(seed)
    network, shape = build(name, 1, 10, width=3, size=SIZES[name]), (1, SIZES[name], SIZES[name])
    before, layers, view = sizes(network), names(network), UnitsOnly(network)
    gates = Gates(view)
    assert len(gates.theta) == sum(before.values()) and not gates.is_branch.any()
    shrunk = shrink(view, None, gates, torch.rand(len(gates.theta)) < share)
    after = sizes(network)
    assert names(network) == layers and list(after) == list(before)  # every layer is there
    assert min(after.values()) >= 1 and sum(after.values()) == sum(before.values()) - len(shrunk.removed)
    seen, whole = structure_of(view, shape), structure_of(network, shape)
    assert (seen.total_macs, seen.total_parameters) == (whole.total_macs, whole.total_parameters)


@pytest.mark.parametrize("name", BRANCHED)
@settings(max_examples=5)
@given(seed=st.integers(0, 999), share=st.floats(0, 1))
def test_through_a_view_of_layers_only_whole_branches_leave(name, seed, share):
    torch.manual_seed(seed)
    network, shape = build(name, 1, 10, width=3, size=SIZES[name]), (1, SIZES[name], SIZES[name])
    images = torch.randn(2, *shape)
    before, layers, view = sizes(network), names(network), LayersOnly(network)
    gates = Gates(view)
    assert gates.is_branch.all() and len(gates.theta) == len(layers)
    going = torch.rand(len(layers)) < share
    gates.put((~going).float()[None])
    masked = network.eval()(images)
    shrink(view, None, gates, going)
    torch.testing.assert_close(network(images), masked, rtol=1e-4, atol=1e-5)
    assert names(network) == [layer for layer, gone in zip(layers, going, strict=True) if not gone]
    after = sizes(network)
    assert after == {name: before[name] for name in after}  # no unit left on its own
    gone = {layer for layer in layers if layer not in names(network)}
    assert {name.rpartition(".")[0] for name in before if name not in after} <= {
        g.removesuffix(".branch") for g in gone
    }
    seen, whole = structure_of(view, shape), structure_of(network, shape)
    assert (seen.total_macs, seen.total_parameters) == (whole.total_macs, whole.total_parameters)


def test_a_view_shows_the_network_as_it_is():
    network = build("resnet8", 1, 10, width=3).eval()
    view = View(network)
    assert not view.training and sizes(view) == sizes(network) and names(view) == names(network)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(view(images), network(images))
    with pytest.raises(TypeError, match=r"Linear must offer unit_groups\(\) and branches\(\)"):
        View(torch.nn.Linear(1, 1))


# ---- units only, equal costs


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5", "vgg16", "resnet8"])
def test_every_unit_has_the_same_price_and_no_layer_is_gated(name, digits):
    data = digits(SIZES[name])
    training = training_run(method("parsimonious", cost=0.3), config(network=name, gate_lr=0.5), data)
    full, layers = sizes(training.network), names(training.network)
    _, watch = run(training)
    assert len(watch.records) == 3 and watch.removals
    price = float(torch.tensor(0.3))  # in the precision of θ
    for record in watch.records:
        present = ~np.isnan(record.cost)
        assert present.any() and (record.cost[present] == price).all()  # exactly
    complexity = training.method.full.costs(np.ones(training.method.full.gates), 1.0, 0.0, 0.0)
    assert len(np.unique(complexity)) > 1  # what the price would be otherwise differs from layer to layer
    assert watch.masked == {"units": {True}, "layers": {False} if layers else set()}  # layers were never sampled
    left = sizes(training.network)
    assert names(training.network) == layers and list(left) == list(full)  # every layer is there
    assert sum(left.values()) == sum(full.values()) - sum(len(line["removed"]) for line in watch.removals)
    counts = training.method.counts()
    assert counts["layers_on"] == counts["layers_left"] == len(layers) and counts["units_left"] == sum(left.values())


def test_at_any_price_every_layer_keeps_a_unit(digits):
    training = training_run(method("parsimonious", cost=100.0), config(gate_lr=1.0), digits(8))
    trained, watch = run(training)
    assert set(sizes(training.network).values()) == {1} and len(training.network.branches()) == 3
    assert training.method.counts()["units_on"] == 3 and trained.flops < trained.flops_full and watch.removals


def test_the_price_is_that_of_the_hyper_prior():
    for cost, samples in ((0.01, 1437), (2e-4, 50_000)):
        log_gamma = method("parsimonious", cost=cost).log_gamma(samples)
        assert cost_from_gamma(float(np.exp(log_gamma)), samples) == pytest.approx(cost)


def test_the_runs_own_pressure_plays_no_part(digits):
    ends = []
    for nu in (0.1, 5.0):
        training = training_run(method("parsimonious", cost=0.3), config(nu=nu, gate_lr=0.5), digits(8))
        trained, watch = run(training)
        ends.append((trained.loss, trained.flops, [line["removed"] for line in watch.removals]))
    assert ends[0] == ends[1]


# ---- layers only


@pytest.mark.parametrize("name", ["resnet8", "vgg16-bypass"])
def test_whole_branches_leave_and_no_unit_is_gated(name, digits):
    data = digits(SIZES[name])
    training = training_run(method("layer-pruning", nu=4.0), config(network=name, gate_lr=0.5, epochs=4), data)
    full, layers = sizes(training.network), names(training.network)
    assert training.method.full.names == layers and training.config.alpha == 1
    trained, watch = run(training)
    assert watch.removals and trained.flops < trained.flops_full
    assert watch.masked == {"units": {False}, "layers": {True}}  # units were never sampled
    gone = {layers[gate] for line in watch.removals for gate in line["removed"]}
    assert names(training.network) == [layer for layer in layers if layer not in gone]
    left = sizes(training.network)
    assert left == {name: full[name] for name in left} and training.method.counts()["units_left"] == sum(left.values())


def test_at_any_price_what_is_left_is_the_shortcuts(digits):
    training = training_run(method("layer-pruning", nu=1000.0), config(gate_lr=1.0), digits(8))
    run(training)
    assert not training.network.branches() and not training.network.unit_groups()
    counts = training.method.counts()
    assert counts["units_left"] == counts["layers_left"] == counts["units_on"] == 0
    shape = (1, 8, 8)
    assert counts["macs"] == structure_of(training.network, shape).total_macs < counts["macs_full"]


def test_units_of_a_branch_that_is_off_are_off(digits):
    training = training_run(method("layer-pruning"), config(), digits(8))
    with torch.no_grad():
        training.method.gates.theta[:] = torch.tensor([0.9, 0.2, 0.6])
    counts = training.method.counts()
    assert (counts["units_on"], counts["units_left"], counts["layers_on"], counts["layers_left"]) == (20, 28, 2, 3)


def test_the_pressure_is_the_runs_own_unless_it_is_given(digits):
    data = digits(8)
    assert training_run(method("layer-pruning"), config(nu=0.7), data).config.nu == 0.7
    assert training_run(method("layer-pruning", nu=3.0), config(nu=0.7), data).config.nu == 3.0


# ---- both


@pytest.mark.parametrize(("name", "chosen"), [("parsimonious", {"cost": 0.2}), ("layer-pruning", {"nu": 3.0})])
def test_a_seed_fixes_the_result_and_another_gives_another(name, chosen, digits):
    def end(seed):
        training = training_run(method(name, **chosen), config(seed=seed, gate_lr=0.3, epochs=2), digits(8))
        trained, watch = run(training)
        return (trained.accuracy, trained.loss, trained.flops), training.method.gates.theta.tolist(), watch.removals

    first, other = end(0), end(1)
    assert first == end(0) and first[0][1] != other[0][1]


@pytest.mark.parametrize(
    ("name", "chosen", "changes", "message"),
    [
        ("parsimonious", {"cost": 0.0}, {}, "cost must be > 0 and finite; got 0.0"),
        ("parsimonious", {"cost": float("inf")}, {}, "cost must be > 0 and finite; got inf"),
        ("layer-pruning", {"nu": -1.0}, {}, r"nu must be ≥ 0 and finite; got -1\.0"),
        (
            "layer-pruning",
            {},
            {"network": "lenet-300-100"},
            "network must have residual branches for layers to be removed; lenet-300-100 has none",
        ),
        (
            "parsimonious",
            {},
            {"tracker": TrackerSettings(warmup=500, every=5)},
            "epochs must be ≥ 100, 500 steps of which an epoch has 5",
        ),
        (
            "layer-pruning",
            {},
            {"tracker": TrackerSettings(warmup=500, every=5)},
            "epochs must be ≥ 100, 500 steps of which an epoch has 5",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(name, chosen, changes, message, digits):
    with pytest.raises(InputError, match=message) as raised:
        training_run(method(name, **chosen), config(**changes), digits(8))
    assert "\n" not in str(raised.value)
