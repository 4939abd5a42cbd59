"""Complexity divided by that of a larger network, of which this is what is left."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.models.complexity import Structure
from dynamics.models.layer_shapes import dense, resnet

FULL = resnet(8, (4, 8, 16), size=8)


def left_of(full, units, branches):
    """What is left of a basic residual net: these numbers of units, these branches."""
    gone = set(full.branches) - set(branches)
    layers = [layer for layer in full.layers if layer.branch not in gone]
    groups = {name: units[name] for name in full.units if name not in gone}
    counts = {"full_macs": full.full_macs, "full_parameters": full.full_parameters}
    return Structure(layers, groups, branches, **counts)


@given(st.data())
@settings(max_examples=30)
def test_costs_of_units_and_complexity_do_not_change_when_others_leave(data):
    units = {name: data.draw(st.integers(1, count)) for name, count in FULL.units.items()}
    branches = [name for name in FULL.branches if data.draw(st.booleans())]
    left = left_of(FULL, units, branches)
    xi = [float(i < units[name] and name in branches) for name, count in FULL.units.items() for i in range(count)]
    xi += [float(name in branches) for name in FULL.branches]
    ones = np.ones(left.gates)
    assert left.macs(ones) == FULL.macs(xi) and left.parameters(ones) == FULL.parameters(xi)
    assert left.complexity(ones, 0.4) == pytest.approx(FULL.complexity(xi, 0.4), rel=1e-13)
    before, after = (net.costs(np.ones(net.gates), 0.4, 0.3, 0.2) for net in (FULL, left))
    for name, where in left.unit_slices.items():
        np.testing.assert_allclose(after[where], before[FULL.unit_slices[name]][: units[name]], rtol=1e-13)
    for name, where in left.branch_index.items():
        ratio = after[where] / before[FULL.branch_index[name]]  # a branch is charged with the units it has left
        assert ratio == pytest.approx(1, rel=1e-13) if units[name] == FULL.units[name] else ratio < 1


def test_by_default_it_is_the_network_itself():
    net = dense([3, 4, 2])
    again = Structure(net.layers, net.units, net.branches, full_macs=20, full_parameters=26)
    assert (net.full_macs, net.full_parameters) == (20, 26)
    np.testing.assert_array_equal(net.costs([1] * 4, 1, 0, 0.5), again.costs([1] * 4, 1, 0, 0.5))


def test_copies_and_pickles_carry_it():
    net = Structure(dense([3, 4, 2]).layers, {"hidden0": 4}, [], full_macs=40, full_parameters=52)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert again.complexity([1] * 4, 0.5) == 0.5


@pytest.mark.parametrize(
    ("full", "message"),
    [
        ({"full_macs": 19}, "full_macs must be at least the structure's own count, 20; got 19"),
        ({"full_parameters": 3}, "full_parameters must be at least the structure's own count, 26; got 3"),
        ({"full_macs": 40.0}, "full_macs must be an integer ≥ 0; got 40.0"),
    ],
)
def test_bad_full_counts_are_refused(full, message):
    net = dense([3, 4, 2])
    with pytest.raises(ValueError, match=message):
        Structure(net.layers, net.units, net.branches, **full)
