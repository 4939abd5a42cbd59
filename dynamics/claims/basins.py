"""Claims about basins, checked by simulation: where does the projected flow end, and does the margin know?

The simulation knows nothing of the separatrix: it follows the vector field. Half of the states are spread over
the strip, half are set close to the separatrix on either side, so that a separatrix in the wrong place by one
percent is seen. States within `BAND` of it, where the integrator's tolerance could decide, are left out and
counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dynamics.gates.bilinear import BilinearGate
from dynamics.gates.gate import Gate
from dynamics.gates.linear import LinearGate
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.fate import Fate
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted

__all__ = ["CLAIMS", "exact_basin", "never_wrong"]

BAND = 1e-6
Margin = Callable[..., NDArray[np.float64]]

#: (λ, η, κ, r); the last but one of each has θ* > 1, the last decays hardly at all.
LINEAR_SETS = (
    (1.0, 2.0, 1.0, 1.0), (0.1, 1.0, 0.5, 0.3), (0.5, 3.0, 0.2, 20.0), (1.0, 1.2, 0.9, 0.02),
    (2.0, 1.0, 1.0, 5.0), (1e-4, 1.0, 0.5, 1.0),
)  # fmt: skip
BILINEAR_SETS = (
    (0.1, 1.0, 0.5, 1.0), (0.5, 1.0, 0.3, 10.0), (0.3, 2.0, 1.0, 0.1), (0.9, 1.0, 0.7, 1.0),
    (1.5, 1.0, 0.5, 2.0), (1e-3, 1.0, 0.5, 1.0),
)  # fmt: skip


def near_and_far(margin: Margin, norms: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return θ for each given norm: every second one anywhere, the others within 10⁻⁵·⁵ … 10⁻¹ of the separatrix."""
    count = len(norms[0])
    separatrix = 0.5 - margin(*norms, np.full(count, 0.5))  # margins are distances along θ
    offset = 10 ** rng.uniform(-5.5, -1, count) * rng.choice([-1.0, 1.0], count)
    anywhere = rng.uniform(0, 1, count)
    near = (np.arange(count) % 2 == 0) & (separatrix + offset >= 0) & (separatrix + offset <= 1)
    return np.where(near, separatrix + offset, anywhere)


def exact_basin(
    gates: Sequence[Gate],
    norms_of: Callable[[Gate, int, np.random.Generator], Sequence[NDArray[np.float64]]],
    margin_of: Callable[[Gate], Margin],
    count: int,
) -> Outcome:
    """Check whether, cell by cell, a state ends at ZERO where its margin is negative and nowhere else.

    Args:
        gates: one a parameter set.
        norms_of: draws `count` norms for a gate.
        margin_of: the margin to be tested.
        count: states for each gate.
    """
    rng = np.random.default_rng(20241109)
    compared, left_out, closest = 0, 0, np.inf
    for gate in gates:
        norms = norms_of(gate, count, rng)
        theta = near_and_far(margin_of(gate), norms, rng)
        margin = margin_of(gate)(*norms, theta)
        outcome = integrate(gate, *norms, theta, rtol=1e-9, atol=1e-12).outcome
        clear = np.abs(margin) > BAND
        lost = np.isin(outcome, (Fate.UNDECIDED, Fate.FAILED))
        wrong = clear & (lost | ((outcome == Fate.ZERO) != (margin < 0)))
        compared, left_out = compared + int(clear.sum()), left_out + int((~clear).sum())
        closest = min(closest, float(np.abs(margin[clear]).min()))
        if wrong.any():
            return refuted(f"{count} states a set", _witness(gate, (*norms, theta), margin, outcome, wrong))
    scope = f"{len(gates)} parameter sets, {left_out} states within {BAND:g} of the separatrix left out"
    return held(scope, cases=compared, margin=closest)


def never_wrong(gate: Gate, norms: Sequence[NDArray[np.float64]], margin: Margin, scope: str) -> Outcome:
    """Check whether every certified state ends at ZERO; `gate` may hold one parameter set a state."""
    theta = near_and_far(margin, norms, np.random.default_rng(20241110))
    distance = margin(*norms, theta)
    certified = distance < 0
    outcome = integrate(gate, *norms, theta, rtol=1e-8, atol=1e-12).outcome
    wrong = certified & (outcome != Fate.ZERO) & (np.abs(distance) > BAND)
    if wrong.any():
        return refuted(scope, _witness(gate, (*norms, theta), distance, outcome, wrong))
    share = np.mean(certified[outcome == Fate.ZERO])
    cases = int((certified & (np.abs(distance) > BAND)).sum())
    return held(f"{scope}; the certified among {len(theta)} states, {share:.0%} of those that died", cases=cases)


def _witness(
    gate: Gate,
    state: Sequence[NDArray[np.float64]],
    margin: NDArray[np.float64],
    outcome: NDArray[np.uint8],
    wrong: NDArray[np.bool_],
) -> dict[str, float | str]:
    first = int(np.flatnonzero(wrong)[0])
    names = [symbol.name for symbol in gate.system.state]
    values = {name: float(part[first]) for name, part in zip(names, state, strict=True)}
    constants = {k: float(np.broadcast_to(v, wrong.shape)[first]) for k, v in gate.parameters.items()}
    found: dict[str, float | str] = {
        "margin": float(margin[first]),
        "ended": Fate(outcome[first]).name,
        "wrong": int(wrong.sum()),
    }
    return {**constants, **values, **found}


def linear_gates() -> list[LinearGate]:
    """Return one gate a parameter set."""
    return [LinearGate(decay=d, coupling=e, cost=k, rate=r) for d, e, k, r in LINEAR_SETS]


def bilinear_gates() -> list[BilinearGate]:
    """Return one gate a parameter set."""
    return [BilinearGate(decay=d, coupling=e, cost=k, rate=r) for d, e, k, r in BILINEAR_SETS]


def around_saddle(gate: Gate, count: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return one norm for each state, up to 3 times the saddle's."""
    return [rng.uniform(0, 3 * float(gate.saddle[0]), count)]


def symmetric(gate: Gate, count: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return equal norms, up to twice the saddle's, every fourth very small."""
    norm = rng.uniform(0, 2 * float(gate.saddle[0]), count)
    norm[::4] *= 10 ** rng.uniform(-8, 0, len(norm[::4]))
    return [norm, norm]


def asymmetric_case(count: int) -> tuple[BilinearGate, list[NDArray[np.float64]]]:
    """Return random constants and unequal norms, one set a state; every fourth nearly equal."""
    rng = np.random.default_rng(20241111)
    coupling, cost = 10 ** rng.uniform(-1, 1, count), 10 ** rng.uniform(-2, 1, count)
    gate = BilinearGate(
        decay=coupling * 10 ** rng.uniform(-2, 0.1, count),
        coupling=coupling, cost=cost, rate=10 ** rng.uniform(-1.5, 1.5, count),
    )  # fmt: skip
    energy = cost / coupling * 10 ** rng.uniform(-2, 0.5, count)
    angle = rng.uniform(0, np.pi / 2, count)
    angle[::4] = np.pi / 4 + rng.uniform(-0.02, 0.02, len(angle[::4]))
    return gate, [np.sqrt(2 * energy) * np.cos(angle), np.sqrt(2 * energy) * np.sin(angle)]


@claim("linear-basin", "for the linear gate a state in the strip goes to zero if and only if φ < 0", "simulation")
def linear_basin() -> Outcome:
    """Test the statement: state by state, six parameter sets, one with the saddle above the strip."""
    return exact_basin(linear_gates(), around_saddle, lambda gate: gate.margin, count=10_000)


@claim(
    "bilinear-basin-symmetric",
    "for the bilinear gate with ρ_in = ρ_out a state goes to zero if and only if it lies below the separatrix",
    "simulation",
)
def bilinear_basin() -> Outcome:
    """Test the statement: state by state, six parameter sets, one with the saddle above the strip."""
    return exact_basin(bilinear_gates(), symmetric, lambda gate: gate.margin, count=10_000)


@claim("bilinear-never-wrong", "for the bilinear gate every certified state goes to zero, ρ_in ≠ ρ_out", "simulation")
def bilinear_never_wrong() -> Outcome:
    """Test the statement for random constants and random unequal norms."""
    gate, norms = asymmetric_case(100_000)
    return never_wrong(gate, norms, gate.margin, "random constants and states")


CLAIMS: tuple[Claim, ...] = (linear_basin, bilinear_basin, bilinear_never_wrong)
