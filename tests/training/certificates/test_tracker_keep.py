"""A tracker that follows a removal measures what one of the masked network does."""

import copy
from dataclasses import fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.certificates.constants import Constants
from training.certificates.history import History, open_history
from training.certificates.tracker import Tracker, TrackerSettings
from training.errors import InputError
from training.estimators import Sums
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.networks import BottleneckResNet, ResNet, vgg

KINDS = {
    "basic": lambda: ResNet(8, 3, 1, 3),
    "bottleneck": lambda: BottleneckResNet((1, 1), 3, channels=1, classes=3, small_images=True),
    "vgg": lambda: vgg(((1, 2), (2,)), 4, channels=1, classes=3, size=8),
}
BATCH = 120  # enough for both sides to count in four steps
SETTINGS = TrackerSettings(warmup=0, window=8, every=4)


class Watched:
    """A network whose weights and gates stand still, watched by a tracker."""

    def __init__(self, kind):
        torch.manual_seed(0)
        self.network = KINDS[kind]().double()
        self.gates = Gates(self.network).double()
        self.gates.theta.data.uniform_(0.2, 1)
        self.tracker = Tracker(self.gates, SETTINGS)
        self.images, self.labels = torch.randn(BATCH, 1, 8, 8).double(), torch.randint(3, (BATCH,))

    def observe(self, masks):
        masks = masks.clone().requires_grad_()
        self.gates.put(masks)
        self.gates.sampled = masks
        losses = F.cross_entropy(self.network(self.images), self.labels, reduction="none")
        losses.mean().backward()
        sums = Sums.of(masks.detach(), masks.grad, losses.detach(), self.gates.informative())
        return self.tracker.observe(
            sums, torch.full_like(self.gates.theta.detach(), 0.01), lambda: Constants(5e-4, 0.5, 1.0)
        )


@pytest.mark.parametrize("steps", [8, 10])  # at a record, and in the middle of an interval
@pytest.mark.parametrize("kind", KINDS)
def test_records_are_those_of_the_masked_network(kind, steps):
    masked = Watched(kind)
    remove = torch.rand(len(masked.gates.theta)) < 0.4
    remove[-1] = kind != "vgg"
    off = masked.gates.with_dependents(remove)
    masked.gates.theta.data[off] = 0
    drawn = (torch.rand(12, BATCH, len(off)) < masked.gates.theta).double()
    for masks in drawn[:steps]:
        masked.observe(masks)
    shrunken = copy.deepcopy(masked)
    result = shrink(shrunken.network, None, shrunken.gates, remove)
    shrunken.tracker.keep(result.kept, result.rho_in, result.rho)
    for masks in drawn[steps:]:
        full, left = masked.observe(masks), shrunken.observe(masks[:, result.kept])
    assert left is not None and left.step == full.step == 12
    same = {"theta", "difference", "error", "cost"} | ({"rho", "rho_in"} if kind == "basic" else set())
    for name in same:
        np.testing.assert_allclose(getattr(left, name), getattr(full, name)[result.kept], rtol=1e-7, atol=1e-12)
    # What bounds D: η·ρ, the norms of chained layers being shorter now.
    assert np.isfinite(left.coupling).all()
    np.testing.assert_allclose(left.coupling * left.rho, (full.coupling * full.rho)[result.kept], rtol=1e-7)
    product = (full.coupling_bilinear * full.rho_in * full.rho)[result.kept]
    np.testing.assert_allclose(left.coupling_bilinear * left.rho_in * left.rho, product, rtol=1e-7)
    if kind == "basic":
        np.testing.assert_allclose(result.rho, 1, rtol=1e-12)
        for name in ("margin", "margin_bilinear", "in_box"):
            np.testing.assert_allclose(getattr(left, name), getattr(full, name)[result.kept], rtol=1e-7)
    elif kind == "vgg":
        assert result.rho.max() > 1.1


def test_a_history_keeps_its_columns(tmp_path):
    watched = Watched("basic")
    masks = (torch.rand(BATCH, len(watched.gates.theta)) < 0.5).double()
    for _ in range(4):
        first = watched.observe(masks)
    remove = torch.zeros(masks.shape[1], dtype=torch.bool)
    remove[[1, 4, -1]] = True
    result = shrink(watched.network, None, watched.gates, remove)
    watched.tracker.keep(result.kept, result.rho_in, result.rho)
    for _ in range(4):
        second = watched.observe(masks[:, result.kept])
    total, origin = watched.gates.total, watched.gates.origin.numpy()
    with History(tmp_path / "gates.zarr", [str(i) for i in range(total)], np.zeros(total, bool)) as history:
        for record in (first.spread(np.arange(total), total), second.spread(origin, total)):
            history.append(record)
    stored = open_history(tmp_path / "gates.zarr")
    gone = result.removed
    assert (stored.theta[1, gone] == 0).all() and not stored.in_box[1, gone].any()
    for name in (field.name for field in fields(second) if field.name not in ("step", "theta", "in_box")):
        assert np.isnan(stored[name].values[1, gone]).all()
        np.testing.assert_allclose(stored[name].values[1, origin], getattr(second, name), rtol=1e-6)


def test_another_number_of_gates_is_refused():
    watched = Watched("basic")
    with pytest.raises(InputError, match="kept must have 24 entries, one a gate left; got 3"):
        watched.tracker.keep(np.arange(3))
