"""Readings of η: gate by gate from their definition, and again from stored columns what a tracker used."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from training.certificates.constants import Constants
from training.certificates.couplings import KINDS, bounds, couplings
from training.certificates.tracker import Tracker, TrackerSettings
from training.errors import InputError
from training.estimators import Sums
from training.gating.gates import Gates
from training.networks import ResNet

reals, positive = st.floats(-2, 2), st.floats(0, 2)
maybe = st.one_of(st.just(math.nan), reals)


def one(kind, z, pull, difference, error, square, deviation, rho, rho_in):
    """One gate, by definition: (linear, bilinear)."""

    def over(value, norm):
        return math.nan if math.isnan(norm) else value / norm if norm > 0 else math.inf

    along = pull
    if kind == "confident" and not math.isnan(difference):
        along = max(pull, z * error - difference)
    linear, bilinear = over(along, rho), over(along, rho_in * rho)
    if kind in ("along", "confident") or math.isnan(square):
        return linear, bilinear
    norm = math.inf if math.isinf(pull) else math.sqrt(max(0.0, square + z * deviation))
    if kind == "gradient":
        return norm, over(norm, rho_in)
    return max(norm, linear), math.nan if math.isnan(rho_in) else max(over(norm, rho_in), bilinear)


@pytest.mark.parametrize("kind", KINDS)
@given(
    z=st.floats(0, 3),
    pull=st.one_of(positive, st.just(math.inf)),
    difference=maybe,
    error=positive,
    square=maybe,
    deviation=positive,
    rho=positive,
    rho_in=st.one_of(positive, st.just(math.nan)),
)
def test_each_gate_by_its_definition(kind, z, **values):
    names = {"deviation": "gradient_error", "square": "gradient_square"}
    columns = {names.get(name, name): np.array([value]) for name, value in values.items()}
    found = couplings(columns, kind, z)
    np.testing.assert_allclose([array[0] for array in found], one(kind, z, **values), rtol=1e-12)


def test_stored_columns_give_again_what_every_tracker_used():
    """Four trackers watch one network; from the columns of one of them come the bounds of all."""
    torch.manual_seed(0)
    network = ResNet(8, 3, 1, 3).double()
    gates = Gates(network).double()
    gates.theta.data.uniform_(0.3, 0.8)
    gates.theta.data[2] = 0.0
    images, labels = torch.randn(48, 1, 8, 8).double(), torch.randint(3, (48,))
    settings = {kind: TrackerSettings(window=12, every=4, factor=1.5, coupling=kind, z=0.7) for kind in KINDS}
    trackers = {kind: Tracker(gates, chosen) for kind, chosen in settings.items()}
    records = {kind: [] for kind in KINDS}
    for _ in range(24):
        masks = gates.sample(48)
        network.zero_grad()
        losses = F.cross_entropy(network(images), labels, reduction="none")
        losses.mean().backward()
        for kind, tracker in trackers.items():
            sums = Sums.of(masks.detach(), masks.grad, losses.detach(), gates.informative())
            record = tracker.observe(
                sums, torch.full_like(gates.theta.detach(), 0.01), lambda: Constants(5e-4, 0.5, 1.0)
            )
            if record is not None:
                records[kind].append(record)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.sub_(0.02 * parameter.grad)
    kept = records["along"]
    columns = {
        name: np.stack([getattr(record, name) for record in kept]).astype(np.float32)
        for name in ("pull", "difference", "error", "gradient_square", "gradient_error", "rho", "rho_in")
    }
    found = {kind: bounds(columns, kind, 0.7, records=3, factor=1.5) for kind in KINDS}
    for kind in KINDS:
        used = [np.stack([getattr(r, n) for r in records[kind]]) for n in ("coupling", "coupling_bilinear")]
        for ours, theirs in zip(found[kind], used, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    linear = {kind: bound[0] for kind, bound in found.items()}
    assert all((linear[kind] >= linear["along"]).all() for kind in ("confident", "robust"))
    for kind in KINDS[1:]:
        assert (linear[kind] != linear["along"])[:, 3:].mean() > 0.2, kind
    np.testing.assert_array_equal(linear["gradient"][:, 2], linear["along"][:, 2])  # θ = 0: never sampled


@pytest.mark.parametrize("bad", [{"z": -0.1}, {"z": math.inf}, {"probe_every": -1}])
def test_impossible_settings_of_couplings_are_refused(bad):
    (name,) = bad
    with pytest.raises(InputError, match=rf"tracker\.{name} must be"):
        TrackerSettings(**bad)


def test_an_unknown_reading_is_refused():
    settings = TrackerSettings()
    object.__setattr__(settings, "coupling", "across")  # as a config.json might say it; types are checked here only
    with pytest.raises(InputError, match=r"tracker\.coupling must be one of along, confident, gradient, robust; got"):
        settings.__post_init__()
