"""Claims about gates that only obey the theorems' hypotheses: bounds from one side, on constants that move.

The basin claims simulate the bounding systems themselves. A real gate's D is bounded by them and no more: its weights
are a vector that turns, D depends on where they point, and η and κ move within their bounds. Here such gates are
followed, from states that the bounding gate certifies: every one of them must be at θ = 0 by the deadline, and its
margin may never rise.

    linear      D(t, w) = −η(t)((1−c)ρ + c⟨w, e(t)⟩) + qρ²/2
    bilinear    D(t, u, v) = −η(t)((1−c)⟨u, v⟩ + c⟨u, A(t)v⟩) + q‖u‖²‖v‖²/2

with c in [0, 1], a turning unit vector e, a turning rotation A, q ≥ 0, η(t) ≤ η and κ(t) ≥ κ. So D ≥ −ηρ and
⟨∇D, w⟩ ≥ −ηρ (with ρ_inρ_out in place of ρ), strictly but for a set of states of measure zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynamics.gates.bilinear import BilinearGate
from dynamics.gates.gate import Gate
from dynamics.gates.linear import LinearGate
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.fate import Fate
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted

__all__ = ["CLAIMS", "Population", "bilinear_population", "linear_population", "one_sided", "within_deadline"]

Floats = NDArray[np.float64]
Deadline = Callable[..., Floats]

STEPS = 600  # of the fourth-order scheme, from the start to each gate's deadline
LATE = 2  # steps: what the scheme may lose where a gate arrives at θ = 0
FINEST = 0.5  # the largest product of a step and a rate of the gate that is followed
ROUNDING = 1e-9  # how far a margin may rise in all, relative to the depth of the region: error of the steps


def bilinear_deadline(gate: BilinearGate, rho_in: Floats, rho_out: Floats, theta: Floats) -> Floats:
    """Return T₁ + 2(θ + T₁r(ηS₁ − κ))/(rκ), the time of the proof of `bilinear-attraction`, for θ* ≤ 1.

    T₁ = ln(θ_sep(S*/2)/|V|)/k(S*/2), or 0, bounds the time spent where S ≥ S*/2: there |V| ≤ θ_sep(S*/2), V' ≤ kV, and
    k rises with S. Meanwhile S stays below S₁ = max(S, S*), so that θ rises by at most T₁r(ηS₁ − κ). Where S < S*/2,
    θ falls at least at the rate rκ/2.
    """
    coupling, cost, rate = (gate.parameters[name] for name in ("coupling", "cost", "rate"))
    half = np.sqrt(cost / coupling / 2)  # the norms of S*/2
    height = -gate.margin(half, half, 0.0)  # θ_sep(S*/2)
    growth = rate * cost / 2 / (height - gate.saddle[-1])  # k = rη|S − S*|/√g
    near = np.log(np.maximum(height / -gate.margin(rho_in, rho_out, theta), 1)) / growth
    above = np.maximum(coupling * (rho_in**2 + rho_out**2) / 2 - cost, 0)
    return near + 2 * (theta + near * rate * above) / (rate * cost)


@dataclass(frozen=True)
class Population:
    """Many gates that obey the hypotheses, each with its certified start; every array has one row a gate.

    Attributes:
        gate: the bounding gates.
        weights: one vector a gate, or two (fan-in, fan-out), [gate, dimension] each.
        theta: at the start.
        turn: c, how much of D depends on the direction.
        convex: q.
        slack: by which shares η(t) dips below η and κ(t) rises above κ, [2, gate].
        speed: angular velocity of everything that moves in time.
        phase: at the start, [3, gate].
        excess: factor on the pull; above 1 it breaks the hypotheses, for tests.
    """

    gate: Gate
    weights: tuple[Floats, ...]
    theta: Floats
    turn: Floats
    convex: Floats
    slack: Floats
    speed: Floats
    phase: Floats
    excess: float = 1.0

    def difference(self, time: Floats, weights: tuple[Floats, ...]) -> tuple[Floats, tuple[Floats, ...]]:
        """Return D and its gradients with respect to each weight vector."""
        ebb = (1 + np.sin(self.speed * time + self.phase[0])) / 2
        eta = self.excess * self.gate.parameters["coupling"] * (1 - self.slack[0] * ebb)
        angle = self.speed * time + self.phase[2]
        if len(weights) == 1:
            (w,) = weights
            rho = np.linalg.norm(w, axis=1)
            direction = w / np.where(rho > 0, rho, 1.0)[:, None]
            pole = np.zeros_like(w)
            pole[:, 0], pole[:, 1] = np.cos(angle), np.sin(angle)
            along = (1 - self.turn)[:, None] * direction + self.turn[:, None] * pole
            value = -eta * (along * w).sum(1) + self.convex * rho**2 / 2
            return value, (-eta[:, None] * along + self.convex[:, None] * w,)
        u, v = weights
        turned, back = _rotated(v, angle), _rotated(u, -angle)
        to_u = (1 - self.turn)[:, None] * v + self.turn[:, None] * turned
        to_v = (1 - self.turn)[:, None] * u + self.turn[:, None] * back
        squares = (u**2).sum(1), (v**2).sum(1)
        value = -eta * (u * to_u).sum(1) + self.convex * squares[0] * squares[1] / 2
        return value, (
            -eta[:, None] * to_u + (self.convex * squares[1])[:, None] * u,
            -eta[:, None] * to_v + (self.convex * squares[0])[:, None] * v,
        )

    def field(self, time: Floats, weights: tuple[Floats, ...], theta: Floats) -> tuple[tuple[Floats, ...], Floats]:
        """Return the projected right-hand side: w' = −θ∇D − λw, θ' = −r(D + κ(t))."""
        value, gradients = self.difference(time, weights)
        decay, cost, rate = (self.gate.parameters[name] for name in ("decay", "cost", "rate"))
        tide = (1 + np.sin(self.speed * time + self.phase[1])) / 2
        theta_dot = -rate * (value + cost * (1 + self.slack[1] * tide))
        held_there = (theta <= 0) & (theta_dot < 0) | (theta >= 1) & (theta_dot > 0)
        moved = tuple(-theta[:, None] * g - decay[:, None] * w for g, w in zip(gradients, weights, strict=True))
        return moved, np.where(held_there, 0.0, theta_dot)

    def step(
        self, time: Floats, h: Floats, weights: tuple[Floats, ...], theta: Floats
    ) -> tuple[tuple[Floats, ...], Floats]:
        """Return the state after one step of the classical fourth-order scheme, every stage clipped to 0 ≤ θ ≤ 1."""

        def moved(share: float, slope: tuple[tuple[Floats, ...], Floats]) -> tuple[tuple[Floats, ...], Floats]:
            ahead = tuple(w + share * h[:, None] * d for w, d in zip(weights, slope[0], strict=True))
            return ahead, np.clip(theta + share * h * slope[1], 0.0, 1.0)

        k1 = self.field(time, weights, theta)
        k2 = self.field(time + h / 2, *moved(0.5, k1))
        k3 = self.field(time + h / 2, *moved(0.5, k2))
        k4 = self.field(time + h, *moved(1.0, k3))
        mean = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1[0], k2[0], k3[0], k4[0], strict=True))
        return moved(1.0, (mean, (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1]) / 6))


def _rotated(w: Floats, angle: Floats) -> Floats:
    """Return the vectors, turned by an angle in the plane of their first two components."""
    turned = w.copy()
    turned[:, 0] = np.cos(angle) * w[:, 0] - np.sin(angle) * w[:, 1]
    turned[:, 1] = np.sin(angle) * w[:, 0] + np.cos(angle) * w[:, 1]
    return turned


def _constants(count: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Return constants with the saddle inside the strip, the slowest of a gate's rates within 40 of the fastest."""
    coupling, cost, rate = (10 ** rng.uniform(low, high, count) for low, high in ((-0.5, 0.5), (-1, 0.5), (-1, 1)))
    return {"coupling": coupling, "cost": cost, "rate": rate, "decay": 10 ** rng.uniform(-2, 0, count)}


def _population(gate: Gate, norms: list[Floats], theta: Floats, rng: np.random.Generator) -> Population:
    """Return gates at these norms and θ; every third hardly turns or moves, so that it comes close to the bounds."""
    count = len(theta)
    calm = np.where(np.arange(count) % 3 == 0, 1e-6, 1.0)
    directions = rng.standard_normal((len(norms), count, 4))
    directions[:, ::3] = directions[:1, ::3]  # the two vectors of calm gates point the same way
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    weights = tuple(norm[:, None] * direction for norm, direction in zip(norms, directions, strict=True))
    scale = gate.parameters["coupling"] / gate.saddle[0]
    return Population(
        gate, weights, theta,
        turn=calm * rng.uniform(0, 1, count), convex=calm * scale * rng.uniform(0, 0.5, count),
        slack=calm * rng.uniform(0, 0.5, (2, count)),
        speed=np.abs(gate.eigenvalues[-1]) * 10 ** rng.uniform(-1, 0.7, count),
        phase=rng.uniform(0, 2 * np.pi, (3, count)),
    )  # fmt: skip


def linear_population(count: int, seed: int, kind: type[LinearGate] = LinearGate) -> Population:
    """Return gates bounded by linear ones, half of them within a hundredth of the separatrix."""
    rng = np.random.default_rng(seed)
    constants = _constants(count, rng)
    constants["decay"] *= constants["coupling"] ** 2 / constants["cost"]  # θ* from 0.01 to 1
    gate = kind(**constants)
    theta = rng.uniform(0, 1, count) ** 2
    foot = -gate.margin(np.zeros(count), theta)  # of the separatrix at this θ, as a height
    theta = np.where(foot > 0, theta, 0.5 * (theta + foot))
    slope = gate.margin(np.ones(count), theta) - gate.margin(np.zeros(count), theta)
    edge = -gate.margin(np.zeros(count), theta) / slope
    share = 1 - np.where(np.arange(count) % 2 == 0, 10 ** rng.uniform(-5, -2, count), rng.uniform(0.01, 1, count))
    return _population(gate, [np.maximum(edge * share, 0)], theta, rng)


def bilinear_population(count: int, seed: int, kind: type[BilinearGate] = BilinearGate) -> Population:
    """Return gates bounded by bilinear ones, half of them within a hundredth of the separatrix."""
    rng = np.random.default_rng(seed)
    constants = _constants(count, rng)
    constants["decay"] *= constants["coupling"]  # θ* from 0.01 to 1
    gate = kind(**constants)
    norm = gate.saddle[0] * 10 ** rng.uniform(-0.7, 0.2, count)
    angle = np.pi / 4 + np.where(np.arange(count) % 3 == 0, 1e-6, rng.uniform(-0.7, 0.7, count))
    norms = [np.sqrt(2) * norm * np.cos(angle), np.sqrt(2) * norm * np.sin(angle)]
    height = -gate.margin(*norms, np.zeros(count))
    share = 1 - np.where(np.arange(count) % 2 == 0, 10 ** rng.uniform(-5, -2, count), rng.uniform(0.01, 1, count))
    return _population(gate, norms, np.clip(np.minimum(height, 1) * share, 0, 1), rng)


def one_sided(population: Population, deadline: Deadline, steps: int = STEPS) -> Outcome:
    """Check that every certified gate is at θ = 0 by its deadline and its margin never rises on the way.

    Args:
        population: the gates, with their starts.
        deadline: the time allowed, from (gate, *norms, theta).
        steps: of the scheme, from the start to each gate's deadline.
    """
    gate, weights, theta = population.gate, population.weights, population.theta
    norms = [np.linalg.norm(w, axis=1) for w in weights]
    first = gate.margin(*norms, theta)
    certified = (first < 0) & (theta > 0) & (gate.saddle[-1] <= 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        allowed = np.where(certified, deadline(gate, *norms, theta), 0.0)
    h = allowed / steps
    fastest = np.maximum(np.abs(gate.eigenvalues[0]), gate.parameters["decay"] + gate.parameters["coupling"])
    judged = certified & (h * np.maximum(fastest, population.speed) < FINEST) & np.isfinite(allowed)
    h = np.where(judged, h, 0.0)
    depth = np.abs(gate.margin(*(np.zeros_like(n) + 1e-3 * gate.saddle[0] for n in norms), 0.0))
    lowest, worst, died = first, np.zeros(len(theta)), np.full(len(theta), np.inf)
    for index in range(steps + LATE):
        weights, theta = population.step(index * h, h, weights, theta)
        now = gate.margin(*(np.linalg.norm(w, axis=1) for w in weights), theta)
        worst = np.maximum(worst, (now - lowest) / depth)
        lowest = np.minimum(lowest, now)
        died = np.where((theta <= 0) & np.isinf(died), index + 1, died)
    wrong = judged & ((theta > 0) | (worst > ROUNDING))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        constants = {name: float(value[at]) for name, value in gate.parameters.items()}
        start = {"margin": float(first[at]), "theta": float(population.theta[at])}
        ended = {"theta at the deadline": float(theta[at]), "rise of the margin": float(worst[at])}
        return refuted("gates within the hypotheses", {**constants, **start, **ended, "wrong": int(wrong.sum())})
    share = died[judged] / steps
    scope = (
        f"vectors that turn, η(t) ≤ η, κ(t) ≥ κ; {steps} steps of fourth order to the deadline and {LATE} more; a "
        f"margin may rise by {ROUNDING:g} of the region's depth (error of the steps); time over deadline: "
        f"median {np.median(share):.2f}, at most {share.max():.2f}"
    )
    return held(scope, cases=int(judged.sum()), margin=ROUNDING - float(worst[judged].max()))


@claim(
    "linear-one-sided",
    "every certified gate with D ≥ −η(t)ρ, ⟨∇D, w⟩ ≥ −η(t)ρ, η(t) ≤ η and κ(t) ≥ κ is at θ = 0 by "
    "ln(rκ/(μ₊|φ|))/μ₊, and its margin never rises",
    "simulation",
)
def linear_one_sided() -> Outcome:
    """Test the statement on vectors whose D depends on the direction, with constants that move within their bounds."""
    return one_sided(linear_population(2500, 31), LinearGate.time_to_zero)


@claim(
    "bilinear-one-sided",
    "every certified gate with D and both ⟨∇D, w⟩ ≥ −η(t)ρ_inρ_out, η(t) ≤ η and κ(t) ≥ κ is at θ = 0 by the "
    "deadline of `bilinear-deadline`, and its margin never rises",
    "simulation",
)
def bilinear_one_sided() -> Outcome:
    """Test the statement on two vectors each, joined by a matrix that turns, with constants that move."""
    return one_sided(bilinear_population(2500, 32), bilinear_deadline)


def within_deadline(states: Iterator[tuple[Gate, tuple[Floats, ...]]], deadline: Deadline) -> Outcome:
    """Compare the times at which simulated gates reach θ = 0 for good with the deadline, state by state."""
    ratios: list[Floats] = []
    for gate, state in states:
        counted = gate.certified(*state) & (state[-1] > 0) & (gate.saddle[-1] <= 1)
        flow = integrate(gate, *state, rtol=1e-9, atol=1e-12)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = flow.time / deadline(gate, *state)
        late = counted & ((flow.outcome != Fate.ZERO) | ~(ratio <= 1 + 1e-6))
        if late.any():
            at = int(np.flatnonzero(late)[0])
            names = [symbol.name for symbol in gate.system.state]
            witness = {name: float(part[at]) for name, part in zip(names, state, strict=True)}
            constants = {name: float(value[at]) for name, value in gate.parameters.items()}
            return refuted("certified states", {**constants, **witness, "time over deadline": float(ratio[at])})
        ratios.append(ratio[counted])
    found = np.concatenate(ratios)
    scope = f"time over deadline: median {np.median(found):.2f}, at most {found.max():.4f}"
    return held(f"certified states of random gates; {scope}", cases=len(found), margin=1 - float(found.max()))


def _starts(population: Population) -> Iterator[tuple[Gate, tuple[Floats, ...]]]:
    yield population.gate, (*(np.linalg.norm(w, axis=1) for w in population.weights), population.theta)


@claim(
    "linear-deadline",
    "a certified linear gate is at θ = 0 within ln(rκ/(μ₊|φ|))/μ₊, and some gates need nearly all of it",
    "simulation",
)
def linear_times() -> Outcome:
    """Test the statement against simulated times."""
    return within_deadline(_starts(linear_population(40_000, 33)), LinearGate.time_to_zero)


@claim(
    "bilinear-deadline",
    "a certified bilinear gate is at θ = 0 within T₁ + 2(θ + T₁r(ηS₁ − κ))/(rκ), with "
    "T₁ = ln(θ_sep(S*/2)/|V|)/k(S*/2), or 0 where this is negative, and S₁ = max(S, S*)",
    "simulation",
)
def bilinear_times() -> Outcome:
    """Test the statement against simulated times; the proof is that of `bilinear-attraction`."""
    return within_deadline(_starts(bilinear_population(40_000, 34)), bilinear_deadline)


CLAIMS: tuple[Claim, ...] = (linear_one_sided, bilinear_one_sided, linear_times, bilinear_times)
