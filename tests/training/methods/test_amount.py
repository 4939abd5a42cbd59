"""How much goes: ratios, equal steps, FLOPs targets."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.models.complexity import Layer, Structure
from training.errors import InputError
from training.methods.amount import macs_without, ratio_for_macs, removed_at, removed_by


def chain(sizes, fixed=0):
    """Dense layers 3 → sizes → 2, all hidden units gated, and a layer beside them that is not."""
    names = [f"group{i}" for i in range(len(sizes))]
    ends = [3, *names, 2]
    layers = [Layer(f"layer{i}", a, b, 1, 1) for i, (a, b) in enumerate(itertools.pairwise(ends))]
    return Structure([*layers, Layer("fixed", 1, 1, fixed, 1)], dict(zip(names, sizes, strict=True)), [])


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)
ratios = st.floats(0.001, 0.999)


@given(sizes, ratios)
def test_a_ratio_takes_the_nearest_whole_number_of_every_group_or_is_refused(sizes, ratio):
    shares = [ratio * size for size in sizes]
    try:
        removed = removed_at(ratio, chain(sizes))
    except InputError as error:
        assert "\n" not in str(error) and str(ratio) in str(error)
        emptied = any(share >= size - 0.5 - 1e-6 for share, size in zip(shares, sizes, strict=True))
        assert emptied or all(share < 0.5 + 1e-6 for share in shares)
        return
    assert (np.abs(removed - shares) <= 0.5 + 1e-6).all()
    assert (removed < sizes).all() and removed.any()


@pytest.mark.parametrize(("ratio", "of"), [(0.7, 10), (0.3, 10), (0.1, 10), (0.29, 100), (0.57, 100)])
def test_a_ratio_that_is_whole_is_met_exactly(ratio, of):
    assert removed_at(ratio, chain([of]))[0] == round(100 * ratio) * of // 100


@pytest.mark.parametrize("ratio", [-0.1, 0, 1, 1.5, float("nan"), float("inf")])
def test_ratios_outside_are_refused(ratio):
    with pytest.raises(InputError, match=r"ratio must be in \(0, 1\); got"):
        removed_at(ratio, chain([4]))
    with pytest.raises(InputError, match=r"share must be in \(0, 1\); got"):
        ratio_for_macs(ratio, chain([4]))
    with pytest.raises(InputError, match=r"tolerance must be in \(0, 1\); got"):
        ratio_for_macs(0.5, chain([4]), ratio)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), st.integers(1, 30))
def test_removals_come_in_equal_steps_and_all_are_gone_after_the_last(removed, events):
    path = np.array([removed_by(event, events, removed) for event in range(events + 1)])
    assert not path[0].any() and (path[-1] == removed).all()
    steps = np.diff(path, axis=0)
    assert (steps >= 0).all() and (np.ptp(steps, axis=0) <= 1).all()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.floats(0.02, 0.98), st.integers(0, 300))
@settings(max_examples=25)
def test_the_ratio_for_a_flops_target_is_the_best_there_is(sizes, share, fixed):
    structure = chain(sizes, fixed)
    reached = {}
    for ratio in np.linspace(0, 1, 201)[1:-1]:
        try:
            reached[ratio] = macs_without(removed_at(ratio, structure), structure) / structure.full_macs
        except InputError:
            continue
    best = min((abs(found - share) for found in reached.values()), default=np.inf)
    try:
        ratio = ratio_for_macs(share, structure, tolerance=0.1)
    except InputError as error:
        assert best > 0.1 * share - 1e-9 and "\n" not in str(error)
        return
    found = macs_without(removed_at(ratio, structure), structure) / structure.full_macs
    assert abs(found - share) <= min(best, 0.1 * share) + 1e-9


def test_counts_are_the_polynomials():
    structure = chain([5, 4])
    assert macs_without([2, 3], structure) == 3 * 3 + 3 * 1 + 1 * 2


def test_what_is_not_gated_cannot_go():
    with pytest.raises(InputError, match=r"share = 0.2 .* the smallest 0.9"):
        ratio_for_macs(0.2, chain([4, 4], fixed=900))
