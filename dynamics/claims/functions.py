"""Claims about the functions that users call, where the topic's other claims speak of the formulas behind them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dynamics.gates.bilinear import BilinearGate
from dynamics.gates.gate import Gate
from dynamics.gates.linear import LinearGate
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted

__all__ = ["CLAIMS", "box_is_exact", "headroom_is_exact"]

Floats = NDArray[np.float64]

ACCURACY = 1e-9  # relative, of a headroom


def constants(count: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Return η, κ and r over four decades and λ over five; every tenth gate has λ = 0."""
    found = dict(zip(("coupling", "cost", "rate"), 10 ** rng.uniform(-2, 2, (3, count)), strict=True))
    decay = np.where(np.arange(count) % 10 == 0, 0.0, 10 ** rng.uniform(-4, 1, count))
    return {"decay": decay, **found}


def first_wrong(gate: Gate, wrong: NDArray[np.bool_], scope: str, **values: Floats) -> Outcome | None:
    """Return a refutation by the first gate that is wrong, None where none is."""
    if not wrong.any():
        return None
    at = int(np.flatnonzero(wrong)[0])
    named = {**gate.parameters, **values}
    return refuted(scope, {name: float(np.broadcast_to(value, wrong.shape)[at]) for name, value in named.items()})


def box_is_exact(kind: type[LinearGate] = LinearGate, count: int = 20_000) -> Outcome:
    """Check `in_box` around every face and corner of the box, and that all of the box is certified and not all else."""
    rng = np.random.default_rng(41)
    drawn = constants(count, rng)
    drawn["cost"] = np.minimum(
        drawn["cost"], drawn["coupling"] ** 2 / np.maximum(drawn["decay"], 1e-9) * 0.49
    )  # θ* < ½
    gate = kind(**drawn)
    corner = drawn["cost"] / drawn["coupling"], drawn["decay"] * drawn["cost"] / drawn["coupling"] ** 2
    shares = rng.choice([0.0, 0.5, 1 - 1e-6, 1 + 1e-6, 2.0], (2, count))
    rho, theta = (share * edge for share, edge in zip(shares, corner, strict=True))
    inside = (shares < 1).all(0) & (drawn["decay"] > 0)
    found, certified = gate.in_box(rho, theta), gate.certified(rho, theta)
    scope = "states on both sides of every face of the box"
    wrong = (found != inside) | (inside & ~certified)
    refutation = first_wrong(gate, wrong, scope, rho=rho, theta=theta, in_box=found, certified=certified)
    if refutation is not None:
        return refutation
    beyond = gate.certified(1.2 * corner[0], np.zeros(count)) & ~gate.in_box(1.2 * corner[0], np.zeros(count))
    if not beyond.any():
        return refuted(scope, {"certified outside the box": 0})
    return held(scope, cases=count)


def _states(gate: Gate, count: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Return norms from a thousandth of the saddle's to ten times it, and θ with both faces."""
    for size in gate.saddle[:-1]:
        yield size * 10 ** rng.uniform(-3, 1, count)
    yield np.where(np.arange(count) % 5 == 0, rng.integers(0, 2, count), rng.uniform(0, 1, count))


def headroom_is_exact(kind: type[Gate], count: int = 3000) -> Outcome:
    """Check `headroom` by `certified`: at a coupling just below h·η the state is, just above it is not."""
    rng = np.random.default_rng(42)
    gate = kind(**constants(count, rng))
    state = tuple(_states(gate, count, rng))
    headroom, coupling = gate.headroom(*state), gate.coupling
    below = gate.with_coupling(coupling * headroom * (1 - ACCURACY)).certified(*state)
    above = gate.with_coupling(coupling * headroom * (1 + ACCURACY)).certified(*state)
    clear = np.abs(headroom - 1) > ACCURACY
    wrong = ~below | above | ~np.isfinite(headroom) | (clear & (gate.certified(*state) != (headroom > 1)))
    names = [symbol.name for symbol in gate.system.state]
    refutation = first_wrong(gate, wrong, "random states", **dict(zip(names, state, strict=True)), headroom=headroom)
    if refutation is not None:
        return refutation
    rest = gate.headroom(*(np.zeros(count) for _ in names))
    refutation = first_wrong(gate, rest != np.inf, "zero weights and θ = 0", headroom=rest)
    return refutation or held("random constants and states; bisection to 1e-9", cases=2 * count)


@claim(
    "linear-functions",
    "`in_box` is the box ρ < ρ*, θ < θ*, all of it certified; `headroom` is the h of `linear-headroom`, ∞ at (0, 0)",
    "random sampling",
)
def linear_functions() -> Outcome:
    """Test the statement by the functions themselves."""
    found = box_is_exact()
    return found if found.witness else headroom_is_exact(LinearGate)


@claim("bilinear-functions", "`headroom` is the h of `bilinear-headroom`, ∞ at zero weights", "random sampling")
def bilinear_functions() -> Outcome:
    """Test the statement by the functions themselves."""
    return headroom_is_exact(BilinearGate)


CLAIMS: tuple[Claim, ...] = (linear_functions, bilinear_functions)
