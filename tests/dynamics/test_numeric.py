"""One backend and one dtype for a computation: the widest of all values, so that no small constant becomes zero."""

import itertools

import numpy as np
import pytest
import torch

from dynamics import BilinearGate, LinearGate
from dynamics.numeric import operands

WIDTHS = ("float16", "float32", "float64")


def as_tensor(value, width):
    return torch.tensor(value, dtype=getattr(torch, width))


def as_array(value, width):
    return np.asarray(value, dtype=width)


@pytest.mark.parametrize("make", [as_array, as_tensor])
@pytest.mark.parametrize("state, constant", list(itertools.product(WIDTHS, WIDTHS)))
def test_the_widest_dtype_of_all_is_taken(make, state, constant):
    found = operands({"theta": make(1.0, state)}, {"decay": make(0.5, constant)})
    wide = max(state, constant)
    assert {str(value.dtype).removeprefix("torch.") for value in found.values.values()} == {wide}


def test_brain_floats_and_halves_meet_in_single_precision():
    found = operands({"theta": torch.tensor(1.0, dtype=torch.bfloat16)}, {"decay": torch.tensor(1.0).half()})
    assert found["theta"].dtype == torch.float32


@pytest.mark.parametrize("make", [as_array, as_tensor])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "number, least",
    [
        *((value, "float32") for value in (0.5, 70_000, 0.0, float("inf"))),
        *((value, "float64") for value in (1e-39, 1e-60, 1e39, -1e-39)),
    ],
)
def test_a_python_number_follows_as_far_as_it_is_not_lost(make, width, number, least):
    found = operands({"theta": make(1.0, width)}, {"decay": number})["decay"]
    assert str(found.dtype).removeprefix("torch.") == max(width, least)
    assert float(found) == pytest.approx(number, rel=1e-6)


def test_python_numbers_alone_are_double():
    assert operands({"theta": 1}, {"decay": 0.5})["theta"].dtype == np.float64


@pytest.mark.parametrize("make", [as_array, as_tensor])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_coupling_too_small_for_the_state_still_pulls(make, width):
    state = make(60_000.0, width), make(1.0, width)
    gate = LinearGate(decay=0.0, coupling=2e-8, cost=1e-4, rate=1.0)
    exact = float(gate.margin(float(state[0]), 1.0))
    assert float(gate.margin(*state)) == pytest.approx(exact) and 54_000 < exact < 56_000
    assert not bool(gate.certified(*state))
    for small in (1e-30, 1e-60):
        tiny = LinearGate(decay=0.0, coupling=small, cost=small / 1e4, rate=1.0)
        assert not bool(tiny.certified(*state))
    gate = BilinearGate(decay=0.0, coupling=2e-8, cost=1e-4, rate=1.0)
    assert not bool(gate.certified(state[0], *state))


def test_the_constants_of_a_gate_are_shown():
    assert repr(LinearGate(decay=0.1, coupling=2e-8, cost=1, rate=1.0)) == (
        "LinearGate(decay=0.1, coupling=2e-08, cost=1, rate=1.0)"
    )
    many = repr(BilinearGate(decay=np.zeros(1000), coupling=np.ones(1000), cost=1.0, rate=1.0))
    assert "\n" not in many and len(many) < 150 and many.startswith("BilinearGate(decay=[0. 0. ... 0. 0.], coupling=")
