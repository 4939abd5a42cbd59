"""Matched SGD: the clock, what it refuses, and the projection."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.certificates.constants import Constants
from training.engine.optimizer import ProjectedSGD, check_optimizer, cosine, read_constants, weight_optimizer
from training.errors import InputError

unit = st.floats(0, 1, width=32)
slopes = st.floats(-(2.0**100), 2.0**100, width=32)


def layer():
    return nn.Linear(2, 2)


@given(st.floats(1e-4, 10), st.floats(0, 0.99), st.floats(1e-4, 10))
def test_rate_is_the_ratio_of_the_clocks(lr, momentum, gate_lr):
    optimizer = weight_optimizer("sgd", layer(), lr=lr, momentum=momentum, decay=5e-4)
    now = read_constants(optimizer, gate_lr)
    assert now.rate == pytest.approx(gate_lr * (1 - momentum) / lr)
    assert (now.decay, now.step) == (5e-4, pytest.approx(lr / (1 - momentum)))


def test_the_rate_is_the_one_seen_in_the_steps():
    """Under a constant gradient a weight settles at steps of lr/(1 − m); a gate makes steps of gate_lr at once."""
    net = nn.Linear(1, 1, bias=False)
    optimizer = weight_optimizer("sgd", net, lr=1e-3, momentum=0.9, decay=0.0)
    theta = nn.Parameter(torch.tensor([0.9]))
    gate = ProjectedSGD(theta, 0.02)
    rate = read_constants(optimizer, 0.02).rate
    for _ in range(300):
        net.weight.grad = torch.ones(1, 1)
        before = net.weight.item()
        optimizer.step()
    moved = before - net.weight.item()
    gate.step(torch.ones(1))
    assert (0.9 - theta.item()) / moved == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize(
    "make",
    [
        lambda net: torch.optim.Adam(net.parameters()),
        lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True),
        lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, dampening=0.5),
        lambda net: torch.optim.SGD(net.parameters(), lr=0.1, maximize=True),
        lambda net: torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias], "lr": 0.2}], lr=0.1),
        lambda net: torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias], "weight_decay": 0.1}], lr=0.1),
        type(
            "Mine", (torch.optim.SGD,), {"__init__": lambda self, net: torch.optim.SGD.__init__(self, net.parameters())}
        ),
    ],
)
def test_optimizers_outside_the_theory_are_refused(make):
    with pytest.raises(InputError, match="theory") as caught:
        check_optimizer(make(layer()), layer())
    assert "\n" not in str(caught.value)


def test_two_groups_of_equal_settings_are_one():
    net = layer()
    optimizer = torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias]}], lr=0.1, momentum=0.5)
    assert read_constants(optimizer, 0.2).rate == pytest.approx(1.0)


def test_the_constants_are_those_of_the_moment():
    net = layer()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    with pytest.raises(InputError, match=r"lr of the optimizer must be > 0 and finite .*; got 0"):
        read_constants(optimizer, 0.5)
    optimizer.step()
    schedule.step()
    now = read_constants(optimizer, 0.5)
    assert (now.decay, now.rate, now.step) == (0.0, pytest.approx(0.5 * 0.1 / 0.01), pytest.approx(0.1))


def test_a_weight_that_the_optimizer_does_not_move_is_named():
    net = nn.Sequential(layer(), layer())
    with pytest.raises(InputError, match=r"must have all weights of the network; without 0\.weight, 0\.bias"):
        check_optimizer(torch.optim.SGD(net[1].parameters(), lr=0.1), net)


@pytest.mark.parametrize(
    "numbers", [(-1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.0, 1.0, -1.0), (math.nan, 1.0, 1.0), (0.0, math.inf, 1.0)]
)
def test_constants_out_of_range_are_refused(numbers):
    with pytest.raises(InputError, match=r"must be .*; got"):
        Constants(*numbers)


def test_other_names_are_refused():
    with pytest.raises(InputError, match=r"'adam'.*use sgd"):
        weight_optimizer("adam", layer(), lr=0.1, momentum=0.9, decay=0.0)


@given(st.lists(st.tuples(unit, slopes), min_size=1, max_size=20), st.floats(1e-3, 100))
def test_theta_stays_in_the_cube_whatever_the_slope(pairs, lr):
    start, slope = torch.tensor(pairs).T
    theta = nn.Parameter(start.clone())
    ProjectedSGD(theta, lr).step(slope)
    for after, before, along in zip(theta.tolist(), start.tolist(), slope.tolist(), strict=True):
        assert 0 <= after <= 1
        assert after == pytest.approx(min(1.0, max(0.0, before - lr * along)), abs=1e-5)


def test_dead_is_not_frozen_and_neither_is_one():
    theta = nn.Parameter(torch.tensor([0.0, 0.0, 1.0, 1.0]))
    optimizer = ProjectedSGD(theta, 0.1)
    optimizer.step(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    torch.testing.assert_close(theta.detach(), torch.tensor([0.0, 0.1, 1.0, 0.9]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_slopes_that_are_not_finite_leave_theta_as_it_was(bad):
    theta = nn.Parameter(torch.tensor([0.3, 0.6]))
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        ProjectedSGD(theta, 0.1).step(torch.tensor([0.5, bad]))
    assert theta.tolist() == pytest.approx([0.3, 0.6])


@given(st.integers(1, 1000))
def test_cosine_falls_from_one_to_zero(steps):
    factors = [cosine(step, steps) for step in range(steps + 1)]
    assert factors[0] == 1 and factors[-1] == pytest.approx(0)
    assert all(a >= b for a, b in itertools.pairwise(factors))
    assert all(a + b == pytest.approx(1) for a, b in zip(factors, reversed(factors), strict=True))
