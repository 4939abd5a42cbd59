"""Whole units for a FLOPs target: against brute force, on the way that the ratios point, for real networks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.models.complexity import Layer, Structure
from training.errors import InputError
from training.gating.network_structure import structure_of
from training.methods.amount import macs_without
from training.methods.whole_units import LIMIT, nearest_units, whole_units
from training.networks import build


def chain(sizes, fixed):
    """Layers 3 → sizes → 2 of very different cost, all hidden units gated, and a layer beside them that is not."""
    names = [f"group{i}" for i in range(len(sizes))]
    layers = [
        Layer(f"layer{i}", a, b, 1 + 7 * (i % 2), 1) for i, (a, b) in enumerate(itertools.pairwise([3, *names, 2]))
    ]
    return Structure([*layers, Layer("fixed", 1, 1, fixed, 1)], dict(zip(names, sizes, strict=True)), [])


def left(counts, structure):
    return macs_without(np.array(list(structure.units.values())) - counts, structure) / structure.full_macs


@st.composite
def problems(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    ratios = np.array([draw(st.floats(1 / n, 1)) for n in sizes])
    return (
        chain(sizes, draw(st.integers(0, 40))),
        ratios,
        draw(st.floats(0.05, 0.98)),
        draw(st.sampled_from([0.005, 0.02])),
    )


@given(problems())
@settings(max_examples=40)
def test_there_is_an_answer_where_brute_force_has_one_and_else_a_clear_error(problem):
    structure, ratios, share, tolerance = problem
    sizes = list(structure.units.values())
    every = np.array(list(itertools.product(*(range(1, n + 1) for n in sizes))))[:-1]  # the last is the full network
    if not len(every):
        with pytest.raises(InputError, match=r"must be met within .*; the nearest that whole units give is 1\.0000"):
            whole_units(ratios, structure, share, tolerance)
        return
    shares = structure.macs((every / sizes).repeat(sizes, axis=1)) / structure.full_macs
    nearest = min(shares, key=lambda found: abs(found - share))
    try:
        counts = whole_units(ratios, structure, share, tolerance)
    except InputError as error:
        assert abs(nearest - share) > tolerance * share
        assert abs(float(str(error).split("give is ")[1].split(",")[0]) - share) == pytest.approx(
            abs(nearest - share), abs=1e-4
        )
        assert f"one unit in every group {shares.min():.4f}" in str(error) and "\n" not in str(error)
        return
    assert (counts >= 1).all() and (counts <= sizes).all()
    assert abs(left(counts, structure) - share) <= tolerance * share


NETWORKS = [("resnet8", 8), ("resnet20", 4), ("resnet50", 4), ("vgg16", 4), ("vgg16-bypass", 4), ("lenet-5", 5)]


@pytest.fixture(scope="module", params=NETWORKS, ids=[name for name, _ in NETWORKS])
def structure(request):
    name, width = request.param
    return structure_of(build(name, 3, 10, width=width), (3, 32, 32))


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_targets_are_met_for_all_kinds_of_networks_and_ratios(structure, share):
    random = np.random.default_rng(0)
    sizes = np.array(list(structure.units.values()))
    for _ in range(3):
        counts = whole_units(random.uniform(1 / sizes, 1), structure, share)
        assert (counts >= 1).all() and (counts <= sizes).all()
        assert abs(left(counts, structure) - share) <= 0.02 * share


def test_ratios_that_meet_the_target_stay_as_they_are_and_others_keep_their_proportions(structure):
    random = np.random.default_rng(1)
    sizes = np.array(list(structure.units.values()))
    counts = random.integers(1, sizes + 1)
    share = left(counts, structure)
    assert (whole_units(counts / sizes, structure, share) == counts).all()
    assert (whole_units(0.6 * counts / sizes, structure, share) == counts).all()


def test_where_the_path_passes_the_target_by_units_move_by_few():
    """Not the far architecture that a search of all would come upon first."""
    structure = structure_of(build("vgg16", 3, 10, width=4), (3, 32, 32))
    sizes = np.array(list(structure.units.values()))
    counts = whole_units(np.ones(len(sizes)), structure, 0.4)
    assert abs(left(counts, structure) / 0.4 - 1) <= 0.02
    shares = counts / sizes
    assert (np.abs(counts - shares.mean() * sizes) <= 0.15 * sizes + 1).all()


def test_a_network_without_gated_units_is_refused():
    with pytest.raises(InputError, match="network must have gated units, of which a share may remain; got none"):
        whole_units(np.ones(0), Structure([Layer("a", 3, 2, 1, 1)], {}, []), 0.5)


@pytest.mark.parametrize("share", [-0.1, 0.0, 1.0, 1.5, float("nan")])
def test_shares_outside_are_refused(share):
    with pytest.raises(InputError, match=r"share must be in \(0, 1\); got"):
        whole_units(np.ones(1), chain([4], 0), share)


def test_a_search_without_end_is_ended_and_the_nearest_found_is_known():
    """Twenty groups of thirty units: more architectures than could ever be tried, and none meets this target."""
    structure, looks = chain([30] * 20, 1000), 0
    count, share, ratios = structure.macs, 0.512345678, np.random.default_rng(0).uniform(0.1, 1, 20)

    def counting(theta):
        nonlocal looks
        looks += 1
        assert looks < 3 * LIMIT, "the search goes on and on"
        return count(theta)

    structure.macs = counting
    with pytest.raises(InputError, match=rf"within 1e-08%; the nearest found in {LIMIT} steps of search is 0\.51"):
        whole_units(ratios, structure, share, tolerance=1e-10)
    looks = 0
    counts = nearest_units(ratios, structure, share, tolerance=1e-10)
    assert (counts >= 1).all() and 1e-10 < abs(left(counts, structure) / share - 1) < 1e-3


def test_the_full_network_meets_no_target():
    structure = chain([4], 0)
    with pytest.raises(InputError, match=r"share = 0\.999 .* the nearest that whole units give is 0\.7500"):
        whole_units(np.ones(1), structure, 0.999)


@pytest.mark.parametrize("tolerance", [-0.1, 0.0, 1.0, float("nan")])
def test_tolerances_outside_are_refused(tolerance):
    with pytest.raises(InputError, match=r"tolerance must be in \(0, 1\); got"):
        whole_units(np.ones(1), chain([4], 0), 0.5, tolerance)


def test_the_tolerance_is_relative_to_the_target():
    """One unit in four leaves 31% of this network: 3% more than 30% of it, though less than 1% of the whole."""
    structure = Structure([Layer("in", 1, "group", 8, 1), Layer("fixed", 1, 1, 3, 1)], {"group": 4}, [])
    assert left(np.array([1]), structure) == pytest.approx(0.314, abs=1e-3)
    with pytest.raises(InputError, match=r"share = 0\.3 of the .* must be met within 2%; the nearest .* is 0\.3143"):
        whole_units(np.ones(1), structure, 0.3)
    assert whole_units(np.ones(1), structure, 0.3, tolerance=0.05).tolist() == [1]
