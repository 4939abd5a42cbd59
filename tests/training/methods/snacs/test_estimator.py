"""Conditional mutual information by hashing: against brute force, closed forms, and what must be zero.

How long it takes against brute force and with the samples: `python -m benchmarks.snacs_estimator`.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.data_sets import load_digits
from training.errors import InputError
from training.gating.gates import Gates
from training.methods.activations import activations, fixed_images
from training.methods.snacs.cells import Hashing
from training.methods.snacs.estimator import conditional_information, reference
from training.networks import build

#: Cells that no value is far enough out to share with another.
EXACT = {"buckets": 24, "rest_buckets": 24}


def layer(n, parents, children, seed=0):
    """Parents and children of a random layer with ReLUs and noise."""
    random = np.random.default_rng(seed)
    y = random.standard_normal((n, parents))
    x = y @ random.standard_normal((parents, children)) / np.sqrt(parents) + 0.3 * random.standard_normal((n, children))
    return np.maximum(x, 0), np.maximum(y, 0)


def plain(x, y):
    """Unconditional information."""
    return conditional_information(x[:, None], y[:, None])[0, 0]


# ---- against brute force


@given(st.integers(2, 60), st.integers(1, 6), st.integers(1, 3), st.integers(0, 99), st.floats(0.6, 3))
@settings(max_examples=15)
def test_without_collisions_it_is_the_brute_force_one(n, parents, children, seed, width):
    x, y = layer(n, parents, children, seed)
    chosen = Hashing(width, width, tables=2, **EXACT)
    found, expected = conditional_information(x, y, chosen), reference(x, y, chosen)
    assert found.shape == expected.shape == (children, parents)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_at_its_size_the_error_is_small_and_the_order_is_kept():
    x, y = layer(600, 16, 2)
    found, expected = conditional_information(x, y), reference(x, y)
    assert np.sqrt(np.square(found - expected).mean()) < 0.05 * expected.std()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


# ---- truths that need the other parents to be conditioned on, at 16 parents and more


@pytest.mark.parametrize("parents", [2, 4, 8, 16, 64])
def test_what_only_acts_through_one_of_the_others_has_no_information_left(parents):
    """Y → Z → X: 0.63 nats of X are in Y, none that are not in Z, and Z is one of many parents."""
    random = np.random.default_rng(parents)
    z = random.standard_normal((2500, parents - 1))
    y = z[:, 0] + 0.43 * random.standard_normal(2500)
    x = z[:, 0] + 0.43 * random.standard_normal(2500)
    found = conditional_information(x[:, None], np.column_stack([y, z]))[0]
    assert plain(x, y) > 0.5
    assert abs(found[0]) < 0.012
    assert found[1] > 0.15  # Z itself: ½ log(1 + 0.43²/(1 + 0.43²)/0.43²) = 0.31 without cells


@pytest.mark.parametrize("parents", [16, 64])
def test_what_only_acts_through_all_of_the_others_together_has_none_either(parents):
    """Y is a noisy sum of all others, and X another."""
    random = np.random.default_rng(parents)
    z = random.standard_normal((2500, parents - 1))
    total = z.sum(1) / np.sqrt(parents - 1)
    x, y = (total + 0.4 * random.standard_normal(2500) for _ in range(2))
    assert plain(x, y) > 0.5
    assert abs(conditional_information(x[:, None], np.column_stack([y, z]))[0, 0]) < 0.012


def test_a_parent_that_another_one_duplicates_says_nothing():
    random = np.random.default_rng(0)
    y = random.standard_normal((2500, 20))
    y[:, 7] = 3 * y[:, 2] - 1
    x = y[:, 2] + 0.5 * random.standard_normal(2500)
    found = conditional_information(x[:, None], y)[0]
    assert plain(x, y[:, 7]) > 0.5
    assert abs(found[2]) < 0.01 and abs(found[7]) < 0.01
    alone = conditional_information(x[:, None], np.delete(y, 7, 1))[0]
    assert alone[2] > 0.5


def test_irrelevant_parents_scatter_around_zero():
    """Half of the parents, correlated with those that the children read."""
    parents, means, scatter = 16, [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        y = random.standard_normal((1000, 2 * parents)) @ random.standard_normal((2 * parents, parents))
        read = y[:, : parents // 2]
        x = read @ random.standard_normal((parents // 2, 3)) + 3 * random.standard_normal((1000, 3))
        found = conditional_information(x, y)[:, parents // 2 :]
        means.append(found.mean())
        scatter.append(found.std())
    assert abs(np.mean(means)) < 3 * np.std(means, ddof=1) / np.sqrt(len(means))
    assert np.mean(scatter) < 0.02


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.75])
def test_a_parent_that_alone_drives_the_child_has_the_gaussian_closed_form(correlation):
    """−½ log(1 − ρ²): smaller by the cells, by a sixth at most. The other 19 parents are correlated with it."""
    random = np.random.default_rng(1)
    y = random.standard_normal((10_000, 20))
    y[:, 0] += y[:, 1:].sum(1) / 4  # of which the other parents know all, so its residual has deviation 1
    noise = np.sqrt(1 / correlation**2 - 1)
    x = y[:, 0] + noise * random.standard_normal(10_000)
    truth = -np.log(1 - correlation**2) / 2
    found = conditional_information(x[:, None], y)[0, 0]
    assert 5 / 6 * truth < found < 1.1 * truth
    assert plain(x, y[:, 0]) > 1.3 * truth


def test_gaussians_have_their_closed_form_in_fine_cells():
    """X = aY + Z + noise: I(X; Y | Z) = ½ log(1 + a²)."""
    random = np.random.default_rng(0)
    z, noise, own = random.standard_normal((3, 20_000, 1))
    y = 0.7 * z + own
    for a in (0.0, 0.5, 1.0):
        found = conditional_information(
            a * y + z + noise, np.hstack([y, z]), Hashing(0.4, 1, buckets=24, rest_buckets=8)
        )[0, 0]
        assert found == pytest.approx(np.log1p(a * a) / 2, abs=0.035)


def test_what_varies_with_a_prediction_is_conditioned_on():
    """X and Y are noise whose size Z decides: uncorrelated given Z, but large together where Z is not known."""
    random = np.random.default_rng(1)
    z = random.random((20_000, 16))
    x, y = (z[:, 0] * (1 + random.standard_normal(20_000)) for _ in range(2))
    both = x[:, None], np.column_stack([y, z])
    one_cell = Hashing(rest_width=100.0)
    assert conditional_information(*both, one_cell)[0, 0] > 0.03
    assert abs(conditional_information(*both, Hashing(rest_width=0.3, rest_buckets=16))[0, 0]) < 0.01


def test_a_filter_that_is_a_copy_of_its_parent_stands_out():
    x, y = layer(2000, 32, 4, seed=2)
    x[:, 1] = y[:, 7]
    found = conditional_information(x, y)
    assert found[1].argmax() == 7 and found[1, 7] > 5 * np.delete(found[1], 7).max()


# ---- bias


@pytest.mark.parametrize("samples", [20, 60, 200])
def test_few_samples_in_many_cells_are_no_information(samples):
    """Independent variables with about as many cells as samples."""
    random = np.random.default_rng(samples)
    found = np.concatenate(
        [
            conditional_information(*random.standard_normal((2, samples, 1)), Hashing(0.4, buckets=24))
            for _ in range(200)
        ]
    )
    assert abs(found.mean()) < 3 * found.std(ddof=1) / np.sqrt(len(found))
    assert found.std() < 0.25


# ---- invariance, dead units


@given(st.floats(-3, 3), st.floats(0.1, 10), st.integers(0, 9))
@settings(max_examples=10)
def test_scale_and_shift_do_not_matter_nor_does_the_order_of_samples(shift, scale, seed):
    x, y = layer(100, 5, 3, seed)
    order = np.random.default_rng(seed).permutation(100)
    found = conditional_information(x, y)
    np.testing.assert_allclose(conditional_information(x[order], y[order]), found, atol=1e-9)
    np.testing.assert_allclose(conditional_information(scale * x + shift, y / scale - shift), found, atol=1e-9)


def test_real_activations_of_dead_units_say_nothing():
    digits = load_digits()
    torch.manual_seed(0)
    network = build("lenet-300-100", 1, 10, size=8, width=12)
    with torch.no_grad():
        network.linear1.weight[3] = 0
        network.linear1.bias[3] = -1
    images, _ = fixed_images(digits, 500, 0)
    first, second = (values.double().numpy() for values in activations(network, Gates(network), images))
    found = conditional_information(second, first)
    assert np.abs(found[:, 3]).max() < 1e-12 and (np.abs(found).max(0) > 1e-3).sum() >= 6


# ---- bad input


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"width": 0.0}, "width must be > 0 and finite; got 0.0"),
        ({"rest_width": float("nan")}, "rest_width must be > 0 and finite; got nan"),
        ({"ridge": 0.0}, "ridge must be > 0 and finite; got 0.0"),
        ({"buckets": 1}, "buckets must be ≥ 2; got 1"),
        ({"rest_buckets": 0}, "rest_buckets must be ≥ 2; got 0"),
        ({"tables": 0}, "tables must be ≥ 1; got 0"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        Hashing(**bad)


def test_bad_arrays_are_refused():
    x, y = layer(10, 3, 2)
    for arguments, message in [
        ((x[:1], y[:1]), "must be on the same ≥ 2 samples; got 1, 1"),
        ((x, y[:, :0]), "parents must be one or more; got 0"),
        ((x * np.nan, y), "children must be finite"),
    ]:
        with pytest.raises(InputError, match=message):
            conditional_information(*arguments)
