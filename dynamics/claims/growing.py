"""Claims about linear gates whose coupling grows: a bound is needed until a deadline only.

*Until the deadline.* Let φ_m < 0 for the gate with coupling mη, m ≥ 1, and T its `time_to_zero`. If η(t) ≤ mη on
[0, T], then up to T everything is as if this held for ever; so at T the gate is at θ = 0 and would stay, hence
mηρ(T) ≤ κ. From then on ρ falls as e^{−λt}, and the gate stays at 0 while η(t) ≤ mηe^{λ(t − T)}.

*A growth rate.* η(t) ≤ ηe^{gt} with g ≤ ln m/T gives η(t) ≤ mη on [0, T]. The best m makes the largest g, which
`LinearGate.growth_headroom` finds on a grid of m; any m gives a valid g.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynamics.claims.hypotheses import linear_population
from dynamics.gates.linear import LinearGate
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted

__all__ = ["CLAIMS", "deadline_check", "growth_check"]

Floats = NDArray[np.float64]
STEPS = 500
AFTER = 100  # steps after the deadline, of the same length


def advance(
    gate: LinearGate, coupling: tuple[Floats, Floats], h: Floats, rho: Floats, theta: Floats
) -> tuple[Floats, ...]:
    """Return (ρ, θ) after one step of Heun's scheme, θ clipped; `coupling` at its start and its end."""
    decay, cost, rate = (gate.parameters[name] for name in ("decay", "cost", "rate"))
    slope = coupling[0] * theta - decay * rho, rate * (coupling[0] * rho - cost)
    ahead = rho + h * slope[0], np.clip(theta + h * slope[1], 0, 1)
    after = coupling[1] * ahead[1] - decay * ahead[0], rate * (coupling[1] * ahead[0] - cost)
    return rho + h * (slope[0] + after[0]) / 2, np.clip(theta + h * (slope[1] + after[1]) / 2, 0, 1)


def _starts(count: int, seed: int, kind: type[LinearGate]) -> tuple[LinearGate, Floats, Floats, NDArray[np.bool_]]:
    population = linear_population(count, seed, kind)
    rho, theta = np.linalg.norm(population.weights[0], axis=1) * 0.9, population.theta
    gate = population.gate
    assert isinstance(gate, LinearGate)
    judged = (gate.headroom(rho, theta) > 1.02) & (gate.saddle[1] <= 1) & (theta > 0)
    return gate, rho, theta, judged


def _verdict(gate: LinearGate, wrong: NDArray[np.bool_], judged: NDArray[np.bool_], scope: str) -> Outcome:
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        return refuted(scope, {name: float(value[at]) for name, value in gate.parameters.items()})
    return held(scope, cases=int(judged.sum()))


def deadline_check(excess: float = 1.0, kind: type[LinearGate] = LinearGate) -> Outcome:
    """Check gates whose coupling is mη until their deadline and then grows at the rate λ.

    Args:
        excess: factor on this coupling; above 1 it breaks the hypothesis, for tests.
        kind: the gate whose deadline is tested.
    """
    gate, rho, theta, judged = _starts(3000, 71, kind)
    factor = gate.headroom(rho, theta) ** 0.95
    stronger = gate.with_coupling(np.where(judged, factor, 1) * gate.parameters["coupling"])
    deadline = np.where(judged, stronger.time_to_zero(rho, theta), 0.0)
    pull, decay = excess * stronger.parameters["coupling"], gate.parameters["decay"]
    h = deadline / STEPS
    judged &= h * np.maximum(decay + pull, stronger.eigenvalues[-1]) < 0.2
    h = np.where(judged, h, 0.0)
    left = np.zeros(len(rho), bool)
    for turn in range(STEPS + AFTER):
        grown = tuple(pull * np.exp(decay * h * max(turn + more - STEPS, 0)) for more in (0, 1))
        rho, theta = advance(gate, (grown[0], grown[1]), h, rho, theta)
        if turn >= STEPS + 1:
            left |= theta > 1e-9
    return _verdict(
        gate, judged & left, judged, f"couplings at headroom^.95, {STEPS} steps to the deadline, {AFTER} after it"
    )


def growth_check(excess: float = 1.0, kind: type[LinearGate] = LinearGate) -> Outcome:
    """Check gates whose coupling grows at `growth_headroom`, times `excess`, up to the time at which it has grown most.

    η(t) reaches the headroom at ln(headroom)/g; each m of the proof has its deadline before that.
    """
    gate, rho, theta, judged = _starts(3000, 72, kind)
    headroom, rate = gate.headroom(rho, theta), gate.growth_headroom(rho, theta)
    judged &= rate > 0
    allowed = np.where(judged, np.log(np.where(judged, headroom, 2)) / np.where(judged, rate, 1), 0)
    h, pull = allowed / STEPS, gate.parameters["coupling"]
    judged &= h * np.maximum(gate.parameters["decay"] + pull * headroom, gate.eigenvalues[-1] * headroom) < 0.2
    h = np.where(judged, h, 0.0)
    lowest, growth = theta, excess * np.where(judged, rate, 0)
    for turn in range(STEPS):
        grown = tuple(pull * np.exp(growth * h * (turn + more)) for more in (0, 1))
        rho, theta = advance(gate, (grown[0], grown[1]), h, rho, theta)
        lowest = np.minimum(lowest, theta)
    return _verdict(gate, judged & (lowest > 0), judged, "couplings that grow exponentially at the tolerated rate")


@claim(
    "linear-until-deadline",
    "if η(t) ≤ mη until the deadline T of the linear gate with coupling mη, and ≤ mηe^{λ(t − T)} after it, the gate is "
    "at θ = 0 from T on",
    "simulation",
)
def until_deadline() -> Outcome:
    """Test the statement near the largest m that certifies the state."""
    return deadline_check()


@claim(
    "linear-tolerated-growth",
    "a certified linear gate whose coupling grows as η(t) ≤ ηe^{gt}, g = `growth_headroom`, comes to θ = 0 before η(t) "
    "has grown by its headroom",
    "simulation",
)
def tolerated_growth() -> Outcome:
    """Test the statement at equality."""
    return growth_check()


CLAIMS: tuple[Claim, ...] = (until_deadline, tolerated_growth)
