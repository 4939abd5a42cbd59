"""Expected complexity against counts that know nothing of the polynomial, and against real shrunken modules."""

import copy
import itertools
import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dynamics.claims import complexity as claims
from dynamics.models.complexity import Layer, Structure, forward_flops, training_flops
from dynamics.models.layer_shapes import bottleneck_resnet, chain, dense, resnet
from dynamics.proofs.claim import Status

SMALL = claims.small()


@st.composite
def structures(draw):
    """A few gated groups and branches, joined by layers at random."""
    units = {f"g{i}": draw(st.integers(0, 4)) for i in range(draw(st.integers(0, 3)))}
    branches = [f"b{i}" for i in range(draw(st.integers(0, 2)))]
    count, end = st.integers(0, 9), st.one_of(st.integers(0, 3), *([st.sampled_from([*units])] if units else []))
    layers = [Layer("stem", 1, 2, 3, 4)]  # so that there is something to divide by
    for i in range(draw(st.integers(0, 5))):
        inputs, outputs = draw(end), draw(end)
        branch = draw(st.sampled_from([None, *branches]))
        if not (isinstance(inputs, str) and inputs == outputs):
            layers.append(Layer(f"l{i}", inputs, outputs, draw(count), draw(count), draw(count), branch))
    return Structure(layers, units, branches)


def thetas(structure):
    unit = st.floats(0, 1, allow_subnormal=False)
    return st.lists(unit, min_size=structure.gates, max_size=structure.gates).map(lambda v: np.array(v, dtype=float))


# ---- laws, on random structures


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_vertices_are_counted_exactly(data):
    net = data.draw(structures())
    xi = tuple(data.draw(st.lists(st.integers(0, 1), min_size=net.gates, max_size=net.gates)))
    assert net.macs(xi) == claims.slow_count(net, "macs", xi)
    assert net.parameters(xi) == claims.slow_count(net, "parameters", xi)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_costs_are_differences_and_multilinear(data):
    net = data.draw(structures())
    if not net.gates:
        return
    theta, g = data.draw(thetas(net)), data.draw(st.integers(0, net.gates - 1))
    alpha, beta = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    ends = np.repeat(theta[None], 3, axis=0)
    ends[:, g] = (0, 0.5, 1)
    low, middle, high = net.objective(ends, 1.0, alpha, beta)
    assert middle == pytest.approx((low + high) / 2, abs=1e-12)
    assert net.costs(theta, 1.0, alpha, beta)[g] == pytest.approx(high - low, abs=1e-12)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_costs_are_nonnegative_and_complexity_is_a_fraction(data):
    net = data.draw(structures())
    theta, beta = data.draw(thetas(net)), data.draw(st.floats(0, 1))
    assert 0 <= net.complexity(theta, beta) <= 1 + 1e-12
    assert net.complexity(np.ones(net.gates), beta) == pytest.approx(1)
    assert (net.costs(theta, 2.0, 0.3, beta) >= 0).all()


@pytest.mark.parametrize("net", SMALL.values(), ids=SMALL)
def test_objective_is_the_symbolic_regulariser(net):
    theta = np.random.default_rng(1).uniform(size=net.gates)
    values = {net.unit_symbols[g]: theta[where].sum() for g, where in net.unit_slices.items()}
    values |= {net.branch_symbols[b]: theta[i] for b, i in net.branch_index.items()}
    for prices in claims.PRICES:
        expected = float(net.regulariser(*prices).subs(values))
        assert float(net.objective(theta, *prices)) == pytest.approx(expected, rel=1e-12)


# ---- backends and shapes


@pytest.mark.parametrize("net", SMALL.values(), ids=SMALL)
def test_torch_equals_numpy_and_batches_equal_single_states(net):
    theta = np.random.default_rng(2).uniform(size=(3, 2, net.gates))
    for name, args in (("macs", ()), ("parameters", ()), ("complexity", (0.3,)), *(
        (name, prices) for name in ("objective", "costs") for prices in claims.PRICES
    )):  # fmt: skip
        function = getattr(net, name)
        batch = function(theta, *args)
        assert batch.shape[:2] == (3, 2)
        np.testing.assert_allclose(function(torch.from_numpy(theta), *args).numpy(), batch, rtol=1e-14)
        np.testing.assert_allclose(function(theta[1, 0], *args), batch[1, 0], rtol=1e-14)


@pytest.mark.parametrize("net", SMALL.values(), ids=SMALL)
def test_autograd_of_the_objective_is_costs(net):
    theta = torch.rand(net.gates, dtype=torch.float64, requires_grad=True, generator=torch.manual_seed(0))
    net.objective(theta, 0.4, 0.3, 0.2).backward()
    np.testing.assert_allclose(theta.grad, net.costs(theta.detach(), 0.4, 0.3, 0.2), rtol=1e-12)


def test_dtypes_follow_theta_but_counts_stay_exact():
    net = resnet(20)
    ones = torch.ones(net.gates)
    assert net.macs(ones).dtype == torch.float64 and int(net.macs(ones)) == net.full_macs  # above float32's integers
    assert net.costs(ones, 0.4, 0.5, 0.0).dtype == torch.float32
    assert net.objective(np.ones(net.gates, np.float32), 0.4, 0.5, 0.0).dtype == np.float32
    assert net.objective([1] * net.gates, 0.4, 0.5, 0.0) == pytest.approx(0.4)


def test_copies_and_pickles_after_use():
    net = dense([2, 3, 1])
    net.macs(np.ones(3))
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert again.macs([1, 0, 1]) == net.macs([1, 0, 1]) and again.names == net.names


def test_gate_order_is_groups_then_branches():
    net = Structure([Layer("a", 1, "x", 1, 1, branch="b"), Layer("c", "x", "y", 1, 1)], {"x": 2, "y": 1}, ["b"])
    assert net.gates == 4 and net.names == ["x[0]", "x[1]", "y[0]", "b"]
    assert net.unit_slices == {"x": slice(0, 2), "y": slice(2, 3)} and net.branch_index == {"b": 3}
    assert net.is_branch.tolist() == [False, False, False, True]


# ---- known numbers, computed by hand


def test_published_sizes():
    # stem 3·16·9·32² = 442,368; six 16→16 at 32²: 14,155,776; 16→32 and five 32→32 at 16², 32→64 and five 64→64 at 8²:
    # 2 · (1,179,648 + 5 · 2,359,296); classifier 640.
    small = resnet(20)
    assert small.full_macs == 442_368 + 14_155_776 + 2 * (1_179_648 + 5 * 2_359_296) + 640 == 40_551_040
    assert small.full_parameters == 269_722  # "0.27 M"
    assert resnet(56).full_macs == 125_485_696 and resnet(56).full_parameters == 853_018  # "0.85 M"
    assert chain().full_macs == 313_201_664
    assert resnet(110).full_parameters == 1_727_962  # "1.7 M"


def test_resnet_110_is_built_and_priced_fast():
    start = time.perf_counter()
    net = resnet(110)
    assert net.gates == 2070
    theta = np.full(net.gates, 0.5)
    net.costs(theta, 0.4, 0.5, 0.1)
    assert time.perf_counter() - start < 5  # 0.2 s on a quiet machine
    start = time.perf_counter()
    for _ in range(20):
        net.costs(theta, 0.4, 0.5, 0.1)
    assert (time.perf_counter() - start) / 20 < 0.01  # 0.06 ms on a quiet machine


def test_basic_blocks_have_constant_costs_and_bottlenecks_do_not():
    for net, constant in ((resnet(20), True), (bottleneck_resnet(29), False), (chain(), False)):
        high, low = (net.costs(np.full(net.gates, v), 1.0, 0.5, 0.2) for v in (1.0, 0.3))
        assert np.array_equal(high, low) is constant
        assert (low <= high + 1e-15).all()  # neighbours that die make a gate cheaper


def test_alpha_splits_the_pressure():
    net = resnet(20)
    theta = np.full(net.gates, 0.7)
    units_only, layers_only = net.costs(theta, 0.4, 0.0, 0.0), net.costs(theta, 0.4, 1.0, 0.0)
    assert (units_only[net.is_branch] == 0).all() and (units_only[~net.is_branch] > 0).all()
    assert (layers_only[~net.is_branch] == 0).all() and (layers_only[net.is_branch] > 0).all()
    np.testing.assert_allclose(layers_only[net.is_branch], 0.4 * net.shares(0.0)[net.is_branch])


# ---- against real modules with their channels cut out


class Block(nn.Module):
    """x + conv(relu(conv(x))) with `width` channels inside; nothing but x where the branch is shut."""

    def __init__(self, channels: int, width: int, runs: bool) -> None:
        super().__init__()
        parts = (nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        last = (nn.Conv2d(width, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.branch = nn.Sequential(*parts, *last) if runs else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.branch is None else x + self.branch(x)


def module_macs(network: nn.Module, image: torch.Tensor) -> int:
    """Multiply–accumulates of every convolution and dense layer in a forward pass."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(image)
    return total


def shrunk(channels: int, widths: list[int], runs: list[int]) -> nn.Module:
    blocks = [Block(channels, width, bool(run)) for width, run in zip(widths, runs, strict=True)]
    stem = (nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


def test_polynomial_counts_real_shrunken_modules():
    net = resnet(6, (3,), channels=1, size=6, classes=5)  # two blocks of three units
    for widths, runs in itertools.product(itertools.product((1, 2, 3), repeat=2), itertools.product((0, 1), repeat=2)):
        module = shrunk(3, list(widths), list(runs)).eval()
        xi = [1 if i < width else 0 for width in widths for i in range(3)] + list(runs)
        assert net.macs(xi) == module_macs(module, torch.zeros(1, 1, 6, 6))
        assert net.parameters(xi) == sum(p.numel() for p in module.parameters())


# ---- bad input

FIRST = Layer("a", 1, "x", 1, 1)


@pytest.mark.parametrize(
    ("layers", "units", "branches", "message"),
    [
        ([FIRST, FIRST], {"x": 2}, [], "layers must have distinct names; got 'a' twice"),
        ([FIRST], {"x": 2}, ["b", "b"], "branches must have distinct names; got 'b' twice"),
        ([FIRST], {"y": 2}, [], "outputs of layer 'a' must be a group of units; got 'x'"),
        ([replace(FIRST, inputs="y")], {"x": 2}, [], "inputs of layer 'a' must be a group of units; got 'y'"),
        ([replace(FIRST, inputs="x")], {"x": 2}, [], "layer 'a' must not read and write the same group; got 'x'"),
        ([replace(FIRST, branch="b")], {"x": 2}, ["c"], "branch of layer 'a' must be one of branches; got 'b'"),
        ([replace(FIRST, macs=-1)], {"x": 2}, [], "macs of layer 'a' must be an integer ≥ 0; got -1"),
        ([replace(FIRST, weights=1.5)], {"x": 2}, [], "weights of layer 'a' must be an integer ≥ 0; got 1.5"),
        ([replace(FIRST, per_output=True)], {"x": 2}, [], "per_output of layer 'a' must be an integer ≥ 0; got True"),
        ([replace(FIRST, inputs=-3)], {"x": 2}, [], "inputs of layer 'a' must be an integer ≥ 0; got -3"),
        ([FIRST], {"x": -2}, [], r"units\['x'\] must be an integer ≥ 0; got -2"),
        ([FIRST], {"x": 0}, [], "layers must have some macs and some parameters .* got 0 and 0"),
        ([], {}, [], "layers must have some macs"),
    ],
)
def test_bad_structures_are_refused(layers, units, branches, message):
    with pytest.raises(ValueError, match=message) as raised:
        Structure(layers, units, branches)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("theta", "prices", "message"),
    [
        ([1.0] * 4, (1, 0.5, 0.5), r"theta must have 3 entries in its last axis; got shape \(4,\)"),
        (1.0, (1, 0.5, 0.5), "theta must have 3 entries"),
        ([0.5, 1.5, 0], (1, 0.5, 0.5), r"theta must be in \[0, 1\]; got 1.5"),
        ([0.5, np.nan, 0], (1, 0.5, 0.5), r"theta must be in \[0, 1\]; got nan"),
        ([1.0] * 3, (-1, 0.5, 0.5), "nu must be ≥ 0 and finite; got -1"),
        ([1.0] * 3, (np.nan, 0.5, 0.5), "nu must be ≥ 0 and finite; got nan"),
        ([1.0] * 3, (np.inf, 0.5, 0.5), "nu must be ≥ 0 and finite; got inf"),
        ([1.0] * 3, (1, 1.01, 0.5), r"alpha must be in \[0, 1\]; got 1.01"),
        ([1.0] * 3, (1, 0.5, -0.1), r"beta must be in \[0, 1\]; got -0.1"),
    ],
)
def test_bad_states_and_prices_are_refused(theta, prices, message):
    net = dense([2, 3, 1])
    for function in (net.objective, net.costs):
        with pytest.raises(ValueError, match=message):
            function(theta, *prices)


def test_bad_kinds_and_builders_are_refused():
    with pytest.raises(ValueError, match="kind must be 'macs' or 'parameters'; got 'flops'"):
        dense([2, 3, 1]).polynomial("flops")
    with pytest.raises(ValueError, match="applied must be"):
        dense([2, 3, 1]).polynomial("macs", "layers")
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 2 with n ≥ 1; got 21"):
        resnet(21)
    with pytest.raises(ValueError, match=r"depth must be 9n \+ 2 with n ≥ 1; got 2"):
        bottleneck_resnet(2)
    with pytest.raises(ValueError, match="size must stay even"):
        chain((4, "M"), size=5)
    with pytest.raises(ValueError, match="widths must name at least inputs and outputs"):
        dense([3])


# ---- claims: they hold, and their checks can fail


def altered(net, **changes):
    """The structure with one thing wrong in its last layer but one."""
    layers = list(net.layers)
    layers[-2] = replace(layers[-2], **changes)
    return Structure(layers, net.units, net.branches)


@pytest.mark.parametrize("change", [{"per_output": 1}, {"branch": None}, {"macs": 143}, {"weights": 8}], ids=str)
def test_wrong_structures_are_refuted(change):
    net = SMALL["residual"]
    outcome = claims.check_enumeration(altered(net, **change), net)
    assert outcome.status == Status.REFUTED and outcome.witness
    big = resnet(20)
    wrong = {key: value * 50 if key == "per_output" else value for key, value in change.items()}
    assert claims.check_monte_carlo(altered(big, **wrong), big).status == Status.REFUTED


def test_a_square_is_no_multilinear_polynomial():
    net = SMALL["chain"]
    symbol = next(iter(net.unit_symbols.values()))
    outcome = claims.check_multilinear(net.polynomial("macs") + symbol**2, net)
    assert outcome.status == Status.REFUTED and outcome.witness["second derivative"] == "2"


def test_wrong_costs_shares_and_gammas_are_refuted():
    net = SMALL["bottleneck"]

    def costs_of_the_full_network(theta, *prices):
        return net.costs(np.ones_like(theta), *prices)

    assert claims.check_costs(net, costs_of_the_full_network).status == Status.REFUTED
    assert claims.check_shares(net, lambda beta: net.shares(1 - beta)).status == Status.REFUTED
    assert claims.check_gamma(resnet(8), 1500, lambda cost, n: np.exp(-(n + 1) * cost)).status == Status.REFUTED
    merged = claims.all_of({"net": claims.check_shares(net, lambda beta: net.shares(beta) * 1.01)})
    assert merged.status == Status.REFUTED and merged.witness


def test_the_two_counters_agree():
    for net in SMALL.values():
        masks = np.random.default_rng(3).integers(0, 2, (50, net.gates))
        for kind in claims.KINDS:
            slow = [claims.slow_count(net, kind, tuple(mask)) for mask in masks.tolist()]
            np.testing.assert_array_equal(claims.mask_counts(net, kind, masks), slow)


def test_a_training_step_is_a_forward_pass_and_two_more_backward():
    """By hand: ten multiply–accumulates are twenty operations, of four images eighty."""
    assert (forward_flops(10, 4), training_flops(10, 4)) == (80, 240)
