"""Conditional mutual information by hashing: against brute force, closed forms, and the clock."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import load_digits
from training.errors import InputError
from training.gates import Gates
from training.methods.activations import activations, fixed_images
from training.methods.snacs_cells import Hashing, cells_of_rest, directions_of, standardised
from training.methods.snacs_estimator import conditional_information, reference
from training.networks import build


def layer(n, parents, children, seed=0):
    """Parents and children of a random layer with ReLUs and noise."""
    random = np.random.default_rng(seed)
    y = random.standard_normal((n, parents))
    x = y @ random.standard_normal((parents, children)) / np.sqrt(parents) + 0.3 * random.standard_normal((n, children))
    return np.maximum(x, 0), np.maximum(y, 0)


@given(
    st.integers(2, 60), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99), st.integers(1, 3), st.floats(0.3, 3)
)
@settings(max_examples=15)
def test_without_collisions_it_is_the_brute_force_one(n, parents, children, seed, projections, width):
    x, y = layer(n, parents, children, seed)
    groups = np.sort(np.random.default_rng(seed).integers(0, parents, parents))
    groups = np.unique(groups, return_inverse=True)[1]
    chosen = Hashing(width, width, projections, buckets=64, rest_buckets=1009, tables=2, seed=seed)
    found, expected = conditional_information(x, y, groups, chosen), reference(x, y, groups, chosen)
    assert found.shape == expected.shape == (children, groups.max() + 1)
    if projections == 1:  # intervals of one direction share no bucket; cells of several may, seldom
        np.testing.assert_allclose(found, expected, atol=1e-10)
    assert np.abs(found - expected).max() < 0.05


def test_at_its_size_the_error_is_small_and_the_order_is_kept():
    x, y = layer(600, 24, 4)
    found, expected = conditional_information(x, y, np.arange(24)), reference(x, y, np.arange(24))
    assert np.sqrt(np.square(found - expected).mean()) < 0.15 * expected.std()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("filters", [64, 128])
def test_it_is_17_times_faster_from_64_filters_on(filters):
    """At the method's size, 250 images of each of ten classes.

    The brute force one does the same for every pair of a child and a group; the time of a pair is taken from a few,
    and what it does once a child or once a group is left out.
    """
    x, y = layer(2500, filters, filters)
    once = Hashing(tables=1)
    begin = time.process_time()
    conditional_information(x, y, np.arange(filters), once)
    fast = time.process_time() - begin
    times = []
    for children in (1, 4):
        begin = time.process_time()
        reference(x[:, :children], y[:, :3], np.arange(3), once)
        times.append(time.process_time() - begin)
    a_pair = (times[1] - times[0]) / (3 * 3)
    assert a_pair * filters**2 > 17 * fast, (a_pair, fast)


def test_gaussians_have_their_closed_form():
    """X = aY + Z + noise: I(X; Y | Z) = ½ log(1 + a²)."""
    random = np.random.default_rng(0)
    z, noise, own = random.standard_normal((3, 20_000, 1))
    y = 0.7 * z + own
    fine = Hashing(width=0.5, rest_width=0.5, buckets=64, rest_buckets=64)
    for a in (0.0, 0.5, 1.0):
        found = conditional_information(a * y + z + noise, np.hstack([y, z]), np.arange(2), fine)[0, 0]
        assert found == pytest.approx(np.log1p(a * a) / 2, abs=0.05)


def test_what_only_acts_through_the_others_has_no_information_left():
    """Y → Z → X: Y says much of X, but nothing that Z does not say."""
    random = np.random.default_rng(1)
    y = random.standard_normal((20_000, 1))
    z = (y > 0) + 0.0
    x = z + 0.5 * random.standard_normal((20_000, 1))
    alone = conditional_information(x, y, np.zeros(1, int))[0, 0]
    given_z = conditional_information(x, np.hstack([y, z]), np.arange(2))[0, 0]
    assert alone > 0.2 and abs(given_z) < 0.01


def test_a_filter_that_is_a_copy_of_its_parent_stands_out():
    x, y = layer(2000, 32, 4, seed=2)
    x[:, 1] = y[:, 7]
    found = conditional_information(x, y, np.arange(32))
    assert found[1].argmax() == 7 and found[1, 7] > 5 * np.delete(found[1], 7).max()


@given(st.floats(-3, 3), st.floats(0.1, 10), st.integers(0, 9))
@settings(max_examples=10)
def test_scale_and_shift_do_not_matter_nor_does_the_order_of_samples(shift, scale, seed):
    x, y = layer(100, 5, 3, seed)
    order = np.random.default_rng(seed).permutation(100)
    found = conditional_information(x, y, np.arange(5))
    np.testing.assert_allclose(conditional_information(x[order], y[order], np.arange(5)), found, atol=1e-9)
    moved = conditional_information(scale * x + shift, y / scale - shift, np.arange(5))
    assert np.abs(moved - found).max() < 0.05  # a sample at a cell's border may be rounded across it


def test_leaving_a_group_out_is_projecting_the_others():
    parents = standardised(layer(50, 6, 1)[1])
    chosen, own = Hashing(), np.array([1, 4])
    directions = directions_of(6, chosen, 0)
    cells = cells_of_rest(parents, own, parents @ directions, directions, chosen, 0, 3)
    others = np.delete(parents, own, 1) @ np.delete(directions, own, 0)
    random = np.random.default_rng((0, 0, 2, 3)).random(2)
    assert (cells.places == np.floor(standardised(others) / chosen.rest_width + random)).all()


def test_real_activations_of_dead_units_say_nothing():
    digits = load_digits()
    torch.manual_seed(0)
    network = build("lenet-300-100", 1, 10, size=8, width=12)
    with torch.no_grad():
        network.linear1.weight[3] = 0
        network.linear1.bias[3] = -1
    images, _ = fixed_images(digits, 500, 0)
    first, second = (values.double().numpy() for values in activations(network, Gates(network), images))
    found = conditional_information(second, first, np.arange(12))
    assert np.abs(found[:, 3]).max() < 1e-12 and (np.abs(found).max(0) > 1e-3).sum() >= 6


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"width": 0.0}, "width must be > 0 and finite; got 0.0"),
        ({"rest_width": float("nan")}, "rest_width must be > 0 and finite; got nan"),
        ({"buckets": 1}, "buckets must be ≥ 2; got 1"),
        ({"rest_buckets": 0}, "rest_buckets must be ≥ 2; got 0"),
        ({"tables": 0}, "tables must be ≥ 1; got 0"),
        ({"projections": 5}, "projections must be 1 to 4; got 5"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        Hashing(**bad)


def test_bad_arrays_are_refused():
    x, y = layer(10, 3, 2)
    for arguments, message in [
        ((x[:1], y[:1], np.arange(3)), "must be on the same ≥ 2 samples; got 1, 1"),
        ((x, y, np.array([0, 2, 2])), "none of them empty"),
        ((x * np.nan, y, np.arange(3)), "children must be finite"),
    ]:
        with pytest.raises(InputError, match=message):
            conditional_information(*arguments)
