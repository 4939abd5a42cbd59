"""Claims about the expected objective: affine in each gate, so its minimisers are deterministic networks.

Every check takes what it checks as an argument, so that the tests can hand it something wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import sympy as sp

from dynamics.models import objective
from dynamics.models.objective import (
    GatedResidualNet,
    Loss,
    conditional,
    configurations,
    difference,
    expectation,
    gate_symbols,
    loss_table,
)
from dynamics.proofs.claim import Claim, Outcome, Status, claim, held, proved, refuted

__all__ = [
    "CLAIMS",
    "check_affine",
    "check_constant_lines",
    "check_deterministic",
    "check_difference",
    "check_mixture",
    "check_nested",
    "check_total",
    "check_vertices",
]

#: E[ℓ] as a function of the loss and Θ: the correct one, or one to refute.
Expectation = Callable[[Loss, Sequence[sp.Expr]], sp.Expr]

#: E[ℓ | ξ_gate = value] as a function of the loss, Θ, gate and value.
Conditional = Callable[[Loss, Sequence[sp.Expr], int, int], sp.Expr]

GATES = range(1, 5)
TABLES = "any loss: a free symbol for each configuration, G = 1 … 4; larger G by conditioning on the other gates"


def check_affine(value: sp.Expr, theta: Sequence[sp.Symbol], scope: str) -> Outcome:
    """Check: ∂²value/∂θ_g² = 0 for every gate."""
    for symbol in theta:
        curvature = sp.expand(sp.diff(value, symbol, 2))
        if curvature != 0:
            return refuted(scope, {"gate": symbol.name, "second derivative": str(curvature)})
    return proved(scope, cases=len(theta))


def check_difference(expected: Expectation) -> Outcome:
    """Check: ∂E[ℓ]/∂θ_g against E[ℓ|ξ_g=1] − E[ℓ|ξ_g=0], each from its own definition; the latter is free of θ_g."""
    cases = 0
    for gates in GATES:
        theta, loss = gate_symbols(gates), loss_table(gates)
        value = expected(loss, theta)
        for g, symbol in enumerate(theta):
            by_definition = difference(loss, theta, g)
            remainder = sp.expand(sp.diff(value, symbol) - by_definition)
            if remainder != 0 or symbol in by_definition.free_symbols:
                return refuted(TABLES, {"gates": gates, "gate": g, "remainder": str(remainder)})
            cases += 1
    return proved(TABLES, cases=cases)


def check_mixture(value: sp.Expr, theta: Sequence[sp.Symbol], scope: str) -> Outcome:
    """Check: value(Θ) = Σ_v P(v)·value(v) over the vertices v: a mean is not below the least of its values."""

    def at_vertex(xi: objective.Configuration) -> sp.Expr:
        return value.subs(dict(zip(theta, xi, strict=True)))

    remainder = sp.expand(value - expectation(at_vertex, theta))
    if remainder != 0:
        return refuted(scope, {"value minus mean over vertices": str(remainder)[:200]})
    return proved(scope, cases=2 ** len(theta))


def check_constant_lines(value: sp.Expr, theta: Sequence[sp.Symbol], scope: str) -> Outcome:
    """Check: value(Θ + t·e_g) = value(Θ) + t·∂value/∂θ_g: a zero derivative means no change along the whole line."""
    step = sp.Symbol("t", real=True)
    for symbol in theta:
        along = value.subs(symbol, symbol + step)
        remainder = sp.expand(along - value - step * sp.diff(value, symbol))
        if remainder != 0:
            return refuted(scope, {"gate": symbol.name, "change beyond the derivative": str(remainder)[:200]})
    return proved(scope, cases=len(theta))


def check_nested(unit_outside: bool = False) -> Outcome:
    """Check: D of a unit against θ_branch · (D of the unit given its branch on), the branch's gate being the last one.

    With `unit_outside` the first unit also acts while the branch is off, which the identity does not survive.
    """
    scope, cases = "any loss in which a branch that is off hides its units, up to 3 units", 0
    for gates in GATES[1:]:
        theta, table = gate_symbols(gates), loss_table(gates)

        def loss(xi: objective.Configuration, table: Loss = table) -> sp.Expr:
            hidden = (xi[0] if unit_outside else 0, *(0,) * (len(xi) - 1))
            return table(xi) if xi[-1] else table(hidden)

        given_on = difference(loss, (*theta[:-1], sp.Integer(1)), 0)
        remainder = sp.expand(difference(loss, theta, 0) - theta[-1] * given_on)
        if remainder != 0:
            return refuted(scope, {"gates": gates, "remainder": str(remainder)[:200]})
        cases += 1
    return proved(scope, cases=cases)


def check_vertices(expected: Expectation, seed: int = 0, tables: int = 40) -> Outcome:
    """Check: on random loss tables, no point of a grid in the cube lies below the best vertex."""
    rng, cases, smallest, scope = np.random.default_rng(seed), 0, np.inf, "random tables, grid with step 1/6"
    for gates in GATES:
        theta, table = gate_symbols(gates), loss_table(gates)
        symbols = [table(xi) for xi in configurations(gates)]
        value = sp.lambdify([theta, symbols], expected(table, theta), "numpy")
        grid = np.array(list(itertools.product(np.linspace(0, 1, 7), repeat=gates))).T  # [gate, point]
        for _ in range(tables):
            losses = rng.normal(size=2**gates)
            values = np.broadcast_to(value(list(grid), losses), grid.shape[1:])
            gap = float(values.min() - losses.min())
            smallest, cases = min(smallest, gap), cases + 1
            if gap < -1e-12:
                worst = grid[:, values.argmin()].tolist()
                return refuted(scope, {"losses": losses.tolist(), "theta": worst, "below the best vertex by": -gap})
    return held(scope, cases=cases, margin=smallest + 1e-12)


@claim(
    "objective-affine",
    "∂²J/∂θ_g² = 0 for the gated residual net x + ξ_L Σ ξ_k v_k tanh(u_k x) with squared loss, decay and R",
    "symbolic",
)
def affine() -> Outcome:
    """Prove the statement: all weights, inputs, targets, λ, ν, α, β free; two units and a layer gate, two samples."""
    net = GatedResidualNet(units=2, samples=2)
    return check_affine(net.objective(), net.theta, "all weights, data and prices of the net with 2 units, 2 samples")


def check_total(expected: Expectation, given: Conditional = conditional) -> Outcome:
    """Check: E[ℓ] against (1 − θ_g)·E[ℓ | ξ_g=0] + θ_g·E[ℓ | ξ_g=1], two functions that know nothing of one another.

    The conditional means must be free of θ_g: then E[ℓ] has degree one in it.
    """
    cases = 0
    for gates in GATES:
        theta, loss = gate_symbols(gates), loss_table(gates)
        value = expected(loss, theta)
        for g, symbol in enumerate(theta):
            off, on = (given(loss, theta, g, side) for side in (0, 1))
            remainder = sp.expand(value - (1 - symbol) * off - symbol * on)
            if remainder != 0 or symbol in off.free_symbols | on.free_symbols:
                return refuted(TABLES, {"gates": gates, "gate": g, "remainder": str(remainder)[:200]})
            cases += 1
    return proved(TABLES, cases=cases)


def check_deterministic(expected: Expectation) -> Outcome:
    """Check: at every vertex of the cube E[ℓ] is the loss of that one deterministic network."""
    cases = 0
    for gates in GATES:
        loss = loss_table(gates)
        for xi in configurations(gates):
            found = expected(loss, tuple(map(sp.Integer, xi)))
            if sp.expand(found - loss(xi)) != 0:
                return refuted(TABLES, {"vertex": str(xi), "expectation": str(found)[:200]})
            cases += 1
    return proved(TABLES, cases=cases)


@claim(
    "objective-affine-general",
    "E[ℓ] = (1 − θ_g)·E[ℓ|ξ_g=0] + θ_g·E[ℓ|ξ_g=1] with conditional means free of θ_g: degree one, whatever ℓ(ξ)",
    "symbolic",
)
def affine_general() -> Outcome:
    """Prove the statement by `check_total`; the case G = 1 with conditional means as its table gives every G."""
    return check_total(expectation)


@claim("objective-difference", "∂E[ℓ]/∂θ_g = E[ℓ|ξ_g=1] − E[ℓ|ξ_g=0], and it is free of θ_g", "symbolic")
def gate_difference() -> Outcome:
    """Prove the statement by `check_difference`."""
    return check_difference(expectation)


@claim(
    "objective-nested",
    "D of a unit = θ of its branch · (D of the unit given that the branch is on)",
    "symbolic",
)
def nested() -> Outcome:
    """Prove the statement: what lets the trainer measure a unit's coupling given that its branch is on."""
    return check_nested()


@claim(
    "objective-vertex",
    "J at Θ is the mean of J over the vertices, where E[ℓ] is one network's loss, so its minimum is at a vertex; at an "
    "interior stationary point J is constant along each coordinate line, so no interior minimum is strict",
    "symbolic",
)
def vertex() -> Outcome:
    """Prove the statement on the residual net with decay and R, its last part on arbitrary loss tables."""
    net = GatedResidualNet(units=2, samples=1)
    scope = "the residual net with 2 units, decay and R"
    outcomes = [
        check_mixture(net.objective(), net.theta, scope),
        check_constant_lines(net.objective(), net.theta, scope),
        check_deterministic(expectation),
    ]
    for outcome in outcomes:
        if outcome.status != Status.PROVED:
            return outcome
    return proved(f"{scope}; and at the vertices {TABLES}", cases=sum(outcome.cases or 0 for outcome in outcomes))


@claim("objective-vertex-numeric", "no point of a grid in the cube lies below the best vertex", "random tables")
def vertex_numeric() -> Outcome:
    """Test the statement by `check_vertices`."""
    return check_vertices(expectation)


CLAIMS: tuple[Claim, ...] = (affine, affine_general, gate_difference, nested, vertex, vertex_numeric)
