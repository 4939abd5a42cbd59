"""Claims about expected complexity: the polynomial against counts that know nothing of it.

The checks take the structure whose polynomial is judged and, apart from it, the network that is counted. The
claims pass the same one twice; the tests also a wrong one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
import sympy as sp

from dynamics.models import hyperprior
from dynamics.models.complexity import Kind, Structure
from dynamics.models.layer_shapes import bottleneck_resnet, chain, dense, resnet
from dynamics.proofs.claim import Claim, Outcome, Status, claim, held, proved, refuted

__all__ = [
    "CLAIMS",
    "check_costs",
    "check_enumeration",
    "check_gamma",
    "check_monte_carlo",
    "check_multilinear",
    "check_shares",
    "mask_counts",
    "slow_count",
]

KINDS: tuple[Kind, ...] = ("macs", "parameters")

#: ν, α, β at which objective and costs are checked.
PRICES = ((0.4, 0.5, 0.0), (1.0, 0.0, 1.0), (0.7, 1.0, 0.5), (2.0, 0.3, 0.25))

ROUNDING = 1e-12  # relative; the counts themselves are sums of a few hundred products


@functools.cache
def small() -> dict[str, Structure]:
    """Return one net of each kind with few enough gates for all masks."""
    return {
        "residual": resnet(6, (2, 3), channels=1, size=4, classes=2),
        "bottleneck": bottleneck_resnet(8, (2, 1), expansion=2, channels=1, size=4, classes=2),
        "chain": chain((2, 3, "M", 3, 2), channels=1, size=4, classes=2),
        "dense": dense([3, 4, 3, 3, 2]),
    }


@functools.cache
def large() -> dict[str, Structure]:
    """Return nets of real size, the longest with about 2000 gates."""
    return {
        "ResNet-20": resnet(20),
        "ResNet-110": resnet(110),
        "bottleneck-29": bottleneck_resnet(29),
        "VGG-16": chain(),
    }


def slow_count(structure: Structure, kind: Kind, xi: tuple[int, ...]) -> int:
    """Count the masked network pair by pair: the reference for everything else."""
    gates = iter(xi)
    units = {group: [next(gates) for _ in range(count)] for group, count in structure.units.items()}
    branches = {branch: next(gates) for branch in structure.branches}
    total = 0
    for layer in structure.layers:
        if layer.branch is not None and not branches[layer.branch]:
            continue
        inputs = units[layer.inputs] if isinstance(layer.inputs, str) else [1] * layer.inputs
        outputs = units[layer.outputs] if isinstance(layer.outputs, str) else [1] * layer.outputs
        for open_output in outputs:
            if not open_output:
                continue
            total += layer.per_output if kind == "parameters" else 0
            for open_input in inputs:
                if open_input:
                    total += layer.macs if kind == "macs" else layer.weights
    return total


def slow_charge(structure: Structure, xi: tuple[int, ...], nu: float, alpha: float, beta: float) -> float:
    """Return what R charges for one mask, by definition: units with all layers on, layers with all units on."""
    for_units = tuple(1 if layer else x for x, layer in zip(xi, structure.is_branch, strict=True))
    for_layers = tuple(x if layer else 1 for x, layer in zip(xi, structure.is_branch, strict=True))

    def share(mask: tuple[int, ...]) -> float:
        macs, parameters = (
            slow_count(structure, kind, mask) / slow_count(structure, kind, (1,) * len(mask)) for kind in KINDS
        )
        return macs + beta * (parameters - macs)

    return nu * (share(for_units) + alpha * (share(for_layers) - share(for_units)))


def mask_counts(structure: Structure, kind: Kind, masks: np.ndarray) -> np.ndarray:
    """Return the counts of many masked networks [mask, G] → [mask], from the numbers of open channels."""
    ends = np.cumsum([0, *structure.units.values()])
    opened = {g: masks[:, a:b].sum(1) for g, a, b in zip(structure.units, ends, ends[1:], strict=False)}
    runs = {branch: masks[:, ends[-1] + i] for i, branch in enumerate(structure.branches)}
    total = np.zeros(len(masks), dtype=np.int64)
    for layer in structure.layers:
        inputs = opened[layer.inputs] if isinstance(layer.inputs, str) else layer.inputs
        outputs = opened[layer.outputs] if isinstance(layer.outputs, str) else layer.outputs
        on = 1 if layer.branch is None else runs[layer.branch]
        pairs, each = (layer.macs, 0) if kind == "macs" else (layer.weights, layer.per_output)
        total += on * outputs * (inputs * pairs + each)
    return total


def check_multilinear(value: sp.Expr, structure: Structure) -> Outcome:
    """Check: zero curvature in each group sum and branch gate, hence in each θ_g: group sums share no gate."""
    scope = f"{structure.gates} gates"
    symbols = [*structure.unit_symbols.values(), *structure.branch_symbols.values()]
    for symbol in symbols:
        curvature = sp.diff(value, symbol, 2)
        if sp.expand(curvature) != 0:
            return refuted(scope, {"symbol": symbol.name, "second derivative": str(curvature)})
    return proved(scope, cases=len(symbols))


def check_enumeration(claimed: Structure, counted: Structure, seed: int = 0) -> Outcome:
    """Check: exact at every mask; and at random Θ the probability-weighted sum of all masks' counts."""
    masks = np.array(list(itertools.product((0, 1), repeat=counted.gates)))
    theta = np.random.default_rng(seed).uniform(size=counted.gates)
    chances = np.where(masks, theta, 1 - theta).prod(1)
    scope, worst, cases = "all masks, and random Θ", 0.0, 0
    for kind in KINDS:
        counts = np.array([slow_count(counted, kind, tuple(mask)) for mask in masks.tolist()])
        function = claimed.macs if kind == "macs" else claimed.parameters
        wrong = np.flatnonzero(function(masks) != counts)
        if wrong.size:
            xi = masks[wrong[0]].tolist()
            return refuted(scope, {"kind": kind, "mask": xi, "count": int(counts[wrong[0]])})
        error = abs(float(function(theta)) / float(chances @ counts) - 1)
        worst, cases = max(worst, error), cases + len(masks) + 1
        if error > ROUNDING:
            return refuted(scope, {"kind": kind, "theta": theta.tolist(), "relative error": error})
    for nu, alpha, beta in PRICES:
        charged = np.array([slow_charge(counted, tuple(mask), nu, alpha, beta) for mask in masks.tolist()])
        error = abs(float(claimed.objective(theta, nu, alpha, beta)) / float(chances @ charged) - 1)
        worst, cases = max(worst, error), cases + 1
        if error > ROUNDING:
            return refuted(scope, {"nu, alpha, beta": (nu, alpha, beta), "relative error of R": error})
    return held(scope, cases=cases, margin=ROUNDING - worst)


def check_monte_carlo(claimed: Structure, counted: Structure, seed: int = 0, samples: int = 2000) -> Outcome:
    """Check: mean count of sampled masks within 5 standard errors, at random Θ."""
    rng, worst, cases, scope = (
        np.random.default_rng(seed),
        0.0,
        0,
        f"{samples} masks a Θ, within 5 standard errors",
    )
    for theta in (rng.uniform(size=counted.gates), np.full(counted.gates, 0.9), rng.beta(0.2, 0.2, counted.gates)):
        masks = (rng.random((samples, counted.gates), dtype=np.float32) < theta).astype(np.int64)
        for kind in KINDS:
            counts = mask_counts(counted, kind, masks)
            function = claimed.macs if kind == "macs" else claimed.parameters
            score = abs(float(function(theta)) - counts.mean()) / (counts.std(ddof=1) / samples**0.5)
            worst, cases = max(worst, float(score)), cases + 1
            if score > 5:
                return refuted(scope, {"kind": kind, "theta": theta[:10].tolist(), "standard errors": float(score)})
    return held(scope, cases=cases, margin=5 - worst)


def check_costs(structure: Structure, costs: Callable[..., np.ndarray], seed: int = 0, gates: int = 60) -> Outcome:
    """Check: κ_g = R(θ_g=1) − R(θ_g=0), the derivative of an affine function without any limit."""
    rng, worst, cases, scope = np.random.default_rng(seed), 0.0, 0, "random Θ, difference across each gate"
    chosen = rng.permutation(structure.gates)[:gates]
    for nu, alpha, beta in PRICES:
        theta = rng.uniform(size=structure.gates)
        ends = np.repeat(theta[None], 2 * len(chosen), axis=0).reshape(len(chosen), 2, -1)
        ends[np.arange(len(chosen)), :, chosen] = (0.0, 1.0)
        values = structure.objective(ends, nu, alpha, beta)
        # The difference cancels: its error is that of R itself, which is of order ν.
        errors = np.abs(values[:, 1] - values[:, 0] - costs(theta, nu, alpha, beta)[chosen]) / nu
        worst, cases = max(worst, float(errors.max())), cases + len(chosen)
        if errors.max() > ROUNDING:
            gate = structure.names[chosen[errors.argmax()]]
            witness = {"gate": gate, "nu, alpha, beta": (nu, alpha, beta), "error over nu": float(errors.max())}
            return refuted(scope, witness)
    return held(scope, cases=cases, margin=ROUNDING - worst)


def check_shares(structure: Structure, shares: Callable[[float], np.ndarray]) -> Outcome:
    """Check: the shares of a group, all equal, sum to what the full network saves without it; so does a branch's."""
    scope, worst, cases = "every group and branch, β in {0, 0.3, 1}", 0.0, 0
    blocks = [*structure.unit_slices.items()]
    blocks += [(branch, slice(i, i + 1)) for branch, i in structure.branch_index.items()]
    masks = np.ones((1 + len(blocks), structure.gates), dtype=np.int64)
    for row, (_, where) in enumerate(blocks, start=1):
        masks[row, where] = 0
    macs, parameters = (mask_counts(structure, kind, masks) for kind in KINDS)
    for beta in (0.0, 0.3, 1.0):
        saved = (1 - beta) * (1 - macs[1:] / macs[0]) + beta * (1 - parameters[1:] / parameters[0])
        found = shares(beta)
        for (block, where), expected in zip(blocks, saved, strict=True):
            error = max(abs(found[where].sum() - expected), float(np.ptp(found[where])))
            worst, cases = max(worst, error), cases + 1
            if error > ROUNDING:
                return refuted(scope, {"block": block, "beta": beta, "saved": expected, "error": error})
    return held(scope, cases=cases, margin=ROUNDING - worst)


def check_gamma(structure: Structure, samples: int, gamma: Callable[[float, int], float]) -> Outcome:
    """Check: where R is linear: R(Θ) − R(0) = −(1/N) Σ θ_g ln γ_g, the hyper-prior's penalty; and κ_g comes back."""
    scope, worst, cases = f"N = {samples}, gates of a basic residual net", 0.0, 0
    theta = np.random.default_rng(0).uniform(size=structure.gates)
    for nu, alpha, beta in PRICES:
        prices = (nu, alpha, beta)
        kappa = structure.costs(theta, *prices)
        gammas = {cost: gamma(cost, samples) for cost in set(kappa.tolist())}
        if min(gammas.values()) == 0:
            raise ValueError(f"gamma underflows at N = {samples}; a smaller N shows the same")
        logs = np.array([np.log(gammas[cost]) for cost in kappa.tolist()])
        risen = structure.objective(theta, *prices) - structure.objective(np.zeros_like(theta), *prices)
        back = np.array([hyperprior.cost_from_gamma(gammas[cost], samples) for cost in kappa.tolist()])
        error = max(abs(float(risen + theta @ logs / samples)), float(np.abs(back - kappa).max()))
        worst, cases = max(worst, error), cases + structure.gates
        if error > 1e-11:
            return refuted(scope, {"nu, alpha, beta": prices, "error": error})
    return held(scope, cases=cases, margin=1e-11 - worst)


def all_of(outcomes: dict[str, Outcome]) -> Outcome:
    """Return one outcome for several nets: the first that failed, otherwise the sum of cases and the least margin."""
    for name, outcome in outcomes.items():
        if outcome.status not in (Status.PROVED, Status.HELD):
            return refuted(f"{name}: {outcome.scope}", outcome.witness)
    (*_, last) = outcomes.values()
    margins = [outcome.margin for outcome in outcomes.values() if outcome.margin is not None]
    scope = f"{', '.join(outcomes)}: {last.scope}"
    return Outcome(last.status, scope, sum(o.cases or 0 for o in outcomes.values()), min(margins, default=None))


@claim(
    "complexity-multilinear",
    "expected counts, parameters and R have degree one in each gate: ∂²/∂θ_g² = 0",
    "symbolic",
)
def multilinear() -> Outcome:
    """Prove the statement: the counts of all nets; R too of those where its long expression is cheap."""
    nu, alpha, beta = sp.symbols("nu alpha beta", nonnegative=True)
    found: dict[str, Outcome] = {}
    for name, net in {**small(), **large()}.items():
        values = [net.polynomial(kind, "all") for kind in KINDS]
        values += [net.regulariser(nu, alpha, beta)] if net.gates < 1000 else []
        found |= {f"{name} {i}": check_multilinear(value, net) for i, value in enumerate(values)}
    merged = all_of(found)
    if merged.status != Status.PROVED:
        return merged
    return proved(", ".join([*small(), *large()]) + ": every group sum and branch gate", cases=merged.cases)


@claim("complexity-enumeration", "the polynomial counts every masked network exactly, and is the mean", "brute force")
def enumeration() -> Outcome:
    """Test the statement on small residual, bottleneck, chain and dense nets, all 2^G masks, pair by pair."""
    return all_of({name: check_enumeration(net, net) for name, net in small().items()})


@claim("complexity-monte-carlo", "the polynomial is the mean count of sampled masks on large nets", "Monte Carlo")
def monte_carlo() -> Outcome:
    """Test the statement on nets of real size, three Θ each."""
    return all_of({name: check_monte_carlo(net, net) for name, net in large().items()})


@claim("complexity-derivatives", "κ_g = ∂R/∂θ_g = R(θ_g=1) − R(θ_g=0)", "difference")
def derivatives() -> Outcome:
    """Test the statement on all nets, several ν, α, β; on large ones 60 gates drawn at random."""
    return all_of({name: check_costs(net, net.costs) for name, net in {**small(), **large()}.items()})


@claim(
    "complexity-shares",
    "the shares c_g of a group or branch sum to what the full network saves without it",
    "brute force",
)
def shares() -> Outcome:
    """Test the statement on all nets."""
    return all_of({name: check_shares(net, net.shares) for name, net in {**small(), **large()}.items()})


@claim("complexity-gamma", "R(Θ) − R(0) = −(1/N) Σ θ_g ln γ_g with γ_g = exp(−Nκ_g), where R is linear", "numeric")
def gamma() -> Outcome:
    """Test the statement on ResNet-20 with N = 1500, about that of the handwritten digits."""
    return check_gamma(resnet(20), 1500, hyperprior.gamma_from_cost)


CLAIMS: tuple[Claim, ...] = (multilinear, enumeration, monte_carlo, derivatives, shares, gamma)
