"""The targets of the comparisons that are shipped: every method with one comes as near as it says."""

import numpy as np
import pytest
import torch

from training.experiments.compare import COMPARISONS
from training.gating.network_structure import structure_of
from training.methods.amount import TOLERANCE, macs_without, ratio_for_macs, removed_at
from training.methods.registry import TARGETS, method
from training.methods.smaller import macs_at, nearest
from training.methods.whole_units import whole_units
from training.networks import build

#: Channels, size and classes of the images.
IMAGES = {"digits": (1, 8, 10), "cifar10": (3, 32, 10)}


@pytest.fixture(scope="module", params=COMPARISONS)
def preset(request):
    """The comparison, the structure of its network and the multiply–accumulates at a width."""
    chosen = COMPARISONS[request.param]
    channels, size, classes = IMAGES[chosen.data]
    with torch.device("meta"):
        network = build(chosen.network, channels, classes, size=size, width=chosen.width)

    def count(width):
        return macs_at(chosen.network, width, channels=channels, classes=classes, size=size)

    return chosen, structure_of(network, (channels, size, size)), count


def test_units_meet_the_target_by_a_ratio_and_by_learned_ones(preset):
    chosen, full, _ = preset
    sizes = np.array(list(full.units.values()))
    for gone in (
        removed_at(ratio_for_macs(chosen.share, full), full),
        sizes - whole_units(sizes / 40, full, chosen.share),
    ):
        assert abs(macs_without(gone, full) / (chosen.share * full.full_macs) - 1) <= 0.02


def test_a_width_meets_the_target_as_nearly_as_is_said(preset):
    chosen, full, count = preset
    off = abs(count(nearest(chosen.share * full.full_macs, count)) / (chosen.share * full.full_macs) - 1)
    assert off <= (0.025 if chosen.preset == "cifar10-full" else 0.02)


def test_one_tolerance_for_all_but_whole_widths():
    assert TOLERANCE == method("channel-masking").tolerance == 0.02
    own = {name: method(name).tolerance for name in TARGETS if hasattr(method(name), "tolerance")}
    assert own == {"smaller": 0.05, "channel-masking": TOLERANCE}
