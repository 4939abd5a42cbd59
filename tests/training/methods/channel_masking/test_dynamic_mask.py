"""Remaining ratios as masks: exact sums, slopes, and the complexity that both give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.methods.channel_masking.dynamic_mask import channel_mask, places, share_at
from training.methods.criteria import lowest
from training.networks import build


@st.composite
def groups(draw):
    """Sizes, ratios in [1/n, 1], whole numbers of units among them, and scores."""
    sizes = draw(st.lists(st.integers(1, 30), min_size=1, max_size=3))
    whole = [draw(st.integers(1, n)) / n for n in sizes]
    free = [draw(st.floats(1 / n, 1)) for n in sizes]
    ratios = [draw(st.sampled_from(pair)) for pair in zip(whole, free, strict=True)]
    scores = draw(st.lists(st.integers(0, 5), min_size=sum(sizes), max_size=sum(sizes)))
    return sizes, torch.tensor(ratios, dtype=torch.double), np.array(scores, float)


def masks(ratios, place, sizes):
    return channel_mask(ratios, torch.as_tensor(place), torch.tensor(sizes))


@given(groups())
@settings(max_examples=25)
def test_a_mask_keeps_its_ratio_of_the_units_the_best_ones(given_groups):
    sizes, ratios, scores = given_groups
    place = places(scores, sizes)
    parts = zip(masks(ratios, place, sizes).split(sizes), np.split(scores, np.cumsum(sizes)[:-1]), strict=True)
    for (mask, score), ratio, size in zip(parts, ratios, sizes, strict=True):
        assert ((mask >= 0) & (mask <= 1)).all()
        assert float(mask.sum()) == pytest.approx(float(ratio) * size, abs=1e-8)
        assert ((mask > 1e-8) & (mask < 1 - 1e-8)).sum() <= 1  # one unit is partly on
        assert float(mask.max()) == pytest.approx(1)
        off = mask.numpy() < 1e-8
        assert not off.any() or score[off].max() <= score[~off].min()


@given(groups(), st.integers(0, 2**32))
@settings(max_examples=25)
def test_the_slope_is_the_change_by_a_small_change_of_the_ratio(given_groups, seed):
    sizes, ratios, scores = given_groups
    place = places(scores, sizes)
    weights = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    value = lambda r: (masks(r, place, sizes) * weights).sum()  # noqa: E731
    at = ratios.clone().requires_grad_()
    value(at).backward()
    counts = ratios * torch.tensor(sizes)
    for i, size in enumerate(sizes):
        step = torch.zeros_like(ratios)
        # A step that crosses no whole number: to the right, at all units to the left.
        whole = float((counts[i] + 1e-9).floor())
        step[i] = (min(whole + 1, size + 1) - float(counts[i])) / size / 4 if whole < size else -0.25 / size
        slope = (value(ratios + step) - value(ratios)) / step[i]
        assert float(at.grad[i]) == pytest.approx(float(slope), rel=1e-4, abs=1e-5)


NETWORKS = {
    "resnet8": {"width": 4},
    "resnet50": {"width": 2, "size": 64},
    "vgg16": {"width": 2},
    "vgg16-bypass": {"width": 2},
    "lenet-5": {"width": 4},
    "lenet-300-100": {"width": 9},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_ratios_cost_what_their_masks_and_their_channels_cost(name):
    size = NETWORKS[name].get("size", 32)
    network = build(name, 3, 10, **{"size": size} | NETWORKS[name])
    structure, gates = structure_of(network, (3, size, size)), Gates(network)
    sizes = list(structure.units.values())
    random = np.random.default_rng(0)
    for whole in (True, False):
        stay = np.array([random.integers(1, n + 1) if whole else random.uniform(1, n) for n in sizes])
        ratios = torch.tensor(stay / np.array(sizes), requires_grad=True)
        scores = random.integers(0, 9, sum(sizes)).astype(float)
        mask = masks(ratios, places(scores, sizes), sizes)
        theta = torch.cat([mask, mask.new_ones(len(structure.branches))])
        share = share_at(ratios, structure)
        assert float(share.detach()) == pytest.approx(float(structure.macs(theta.detach())) / structure.full_macs)
        if whole:
            going = lowest(scores, gates, np.array(sizes) - stay)
            assert ((1 - going) == theta.detach().numpy()).all()  # what leaves is what the mask leaves out
        share.backward()
        costs = structure.costs(theta.detach(), 1.0, 0.0, 0.0)[: sum(sizes)]  # a unit's share of the full network
        assert ratios.grad.tolist() == pytest.approx([float(part.sum()) for part in costs.split(sizes)])
