"""Claims about models with a closed form: exact expectation, SGD against the ODE, deterministic limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import sympy as sp
from scipy import stats

from dynamics.integrators.event_driven import projected_path
from dynamics.integrators.sgd import fit_order, sgd_paths, sup_distance
from dynamics.models.closed_form import GatedSum, gated_regression, teacher_student
from dynamics.models.objective import expectation
from dynamics.proofs.claim import Claim, Outcome, claim, held, proved, refuted, undecided

__all__ = [
    "CLAIMS",
    "compare_drift",
    "compare_limits",
    "compare_order",
    "distances",
    "enumerated",
    "models",
    "start_of",
]

STEPS = (0.04, 0.02, 0.01, 0.005, 0.0025)
HORIZON = 4.0
FACE = 1e-6  # how near to 0 or 1 counts as there
LEVEL = 1e-3  # chance that a true statement is refuted by sampling error
COMPATIBLE = (0.45, 0.55)  # what counts as order 1/2 at finite steps


def models() -> dict[str, GatedSum]:
    """Return a gated regression with one useless input, and a two-layer student with more units than its teacher."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 4))
    y = x @ np.array([1.5, -1.0, 0.4, 0.05]) + 0.1 * rng.standard_normal(32)
    regression = gated_regression(x, y, decay=0.05, cost=0.15, rate=1.0)
    x = rng.standard_normal((32, 2))
    y = 1.2 * _bend(x @ np.array([1.0, 0.3])) - 0.8 * _bend(x @ np.array([-0.2, 0.9]))
    student = teacher_student(x, y, units=3, decay=0.05, cost=0.1, rate=1.0, activation=_bend)
    return {"regression": regression, "teacher-student": student}


def _bend(z):  # type: ignore[no-untyped-def]  # numbers, arrays and expressions alike
    return z + z**2 / 4


def start_of(model: GatedSum, seed: int = 3) -> np.ndarray:
    """Return random weights and every θ = 0.6."""
    weights = 0.6 * np.random.default_rng(seed).standard_normal(len(model.weights))
    return np.r_[weights, np.full(model.gates, 0.6)]


def enumerated(model: GatedSum, expressions: tuple[sp.Expr, ...]) -> tuple[sp.Expr, ...]:
    """Return the expectation over the masks, written out over all 2^G of them."""

    def mean(expression: sp.Expr) -> sp.Expr:
        return expectation(lambda xi: expression.subs(dict(zip(model.masks, xi, strict=True))), model.thetas)

    return tuple(mean(expression) for expression in expressions)


@claim(
    "closed-form-gradient",
    "E ℓ in closed form, its gradient and the mean of the sampled gradient equal the sum over all 2^G masks",
    "symbolic",
)
def gradient() -> Outcome:
    """Prove the statement for both models, in all weights, gates, inputs and targets."""
    for name, model in models().items():
        names = ["loss", *(str(s) for s in (*model.weights, *model.thetas))]
        ours = (model.expected_loss, *model.expected_gradient)
        theirs = enumerated(model, (model.sample_loss, *model.sample_gradient))
        for part, left, right in zip(names, ours, theirs, strict=True):
            remainder = sp.expand(left - right)
            if remainder != 0:
                return refuted(f"{name}, {part}", {"remainder": str(remainder)})
    return proved("both models; all weights, gates, inputs and targets")


def compare_drift(
    name: str,
    model: GatedSum,
    rng: np.random.Generator,
    field: Callable[[np.ndarray], np.ndarray] | None = None,
    draws: int = 20_000,
) -> Outcome:
    """Check: mean of many one-sample SGD directions against `field` (the model's by default), at random states."""
    p, states, worst = len(model.weights), 5, 0.0
    limit = float(stats.norm.isf(LEVEL / 2 / (states * (p + model.gates))))
    for _ in range(states):
        state = np.r_[rng.standard_normal(p), rng.uniform(0, 1, model.gates)]
        masks = (rng.random((draws, 1, model.gates)) < state[p:]).astype(float)
        rows = rng.integers(0, len(model.y), (draws, 1))
        sampled = model.sampled_field(np.broadcast_to(state, (draws, len(state))), masks, rows)
        error = sampled.mean(0) - (field or model.field)(state)
        z = np.abs(error) / (sampled.std(0) / draws**0.5 + 1e-12)
        worst = max(worst, float(z.max()))
        if worst > limit:
            i = int(z.argmax())
            return refuted(f"{name}: mean drift", {"component": i, "error": float(error[i]), "z": worst})
    scope = f"{name}: {draws} draws at each of {states} random states, level {LEVEL}"
    return held(scope, cases=states * (p + model.gates), margin=limit - worst)


@claim("sgd-drift", "the mean direction of SGD is the field of the ODE", "Monte Carlo")
def drift() -> Outcome:
    """Test the statement: within sampling error, for every weight and gate."""
    return _all(compare_drift(name, model, np.random.default_rng(5)) for name, model in models().items())


def distances(
    model: GatedSum,
    rng: np.random.Generator,
    field: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    runs: int = 24,
    batch: int = 32,
    momentum: float = 0.0,
    steps: tuple[float, ...] = STEPS,
) -> np.ndarray:
    """Return the sup distance between SGD and the ODE of `field`, shape (steps, runs)."""
    start, p = start_of(model), len(model.weights)
    path = projected_path(field or model.field, start, slice(p, None), HORIZON)
    found = []
    for h in steps:
        times, states = sgd_paths(
            model, start, step=h, horizon=HORIZON, runs=runs, rng=rng, batch=batch, momentum=momentum
        )
        found.append(sup_distance(times, states, path))
    return np.array(found)


def compare_order(
    name: str,
    model: GatedSum,
    rng: np.random.Generator,
    field: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    runs: int = 24,
    batch: int = 32,
    momentum: float = 0.0,
    steps: tuple[float, ...] = STEPS,
) -> Outcome:
    """Fit the order; refuted if its 99 % interval does not meet 0.45 … 0.55, undecided if it is wider than 0.3."""
    found = distances(model, rng, field, runs=runs, batch=batch, momentum=momentum, steps=steps)
    order = fit_order(np.array(steps), found, rng, level=0.99)
    text = (
        f"{name}, momentum {momentum}, steps {max(steps)} to {min(steps)}, batch {batch}, {runs} seeds: "
        f"order {order.slope:.3f}, 99 % interval {order.low:.3f} to {order.high:.3f}"
    )
    if order.high < COMPATIBLE[0] or order.low > COMPATIBLE[1]:
        return refuted(text, {"order": order.slope, "low": order.low, "high": order.high})
    if order.high - order.low > 0.3:
        return undecided(text)
    return held(text, cases=found.size, margin=min(order.high - COMPATIBLE[0], COMPATIBLE[1] - order.low))


@claim(
    "sgd-order",
    "over a fixed horizon the sup distance between SGD and the ODE shrinks like the step size to the power 1/2",
    "simulation",
)
def path_order() -> Outcome:
    """Test the statement on both models, and the regression also with momentum.

    Momentum lags by hm/(1 − m) at the start, a term of first order in h, nine times the step for m = 0.9. It takes
    smaller steps and noisier batches for the term of order 1/2 to lead.
    """
    both, rng = models(), np.random.default_rng(7)
    outcomes = [compare_order(name, model, rng) for name, model in both.items()]
    small = tuple(h / 4 for h in STEPS)
    outcomes.append(compare_order("regression", both["regression"], rng, momentum=0.9, batch=8, steps=small))
    return _all(iter(outcomes))


def compare_limits(
    name: str,
    model: GatedSum,
    rng: np.random.Generator,
    starts: int,
    field: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Outcome:
    """Follow `field` (the model's by default) from random starts; refuted by an equilibrium inside the cube."""
    p, worst = len(model.weights), 0.0
    for done in range(starts):
        start = np.r_[rng.standard_normal(p), rng.uniform(0, 1, model.gates)]
        end = _settle(field or model.field, start, p)
        if end is None:
            return undecided(f"{name}: a start had not settled at t = 2000", cases=done + 1)
        gap = float(np.minimum(end[p:], 1 - end[p:]).max())
        worst = max(worst, gap)
        if gap > FACE:
            return refuted(f"{name}: random starts", {"start": start.tolist(), "theta": end[p:].tolist()})
    return held(f"{name}: {starts} random weights and θ", cases=starts, margin=FACE - worst)


@claim("limits-deterministic", "the ODE of all weights and gates ends with every θ at 0 or 1", "simulation")
def limits() -> Outcome:
    """Test the statement: every θ within 1e-6 of a face, and the whole projected field below 1e-4."""
    both, rng = models(), np.random.default_rng(9)
    counts = {"regression": 20, "teacher-student": 8}
    return _all(compare_limits(name, model, rng, counts[name]) for name, model in both.items())


def _settle(field: Callable[[np.ndarray], np.ndarray], state: np.ndarray, p: int) -> np.ndarray | None:
    """Return the state once it has come to rest; None if that takes longer than 2000 time units.

    Inside the cube rest is asked to be a hundred times more complete than on its faces: a slow passage near a
    saddle is not an end.
    """
    for _ in range(100):
        state = projected_path(field, state, slice(p, None), 20.0, rtol=1e-6, atol=1e-9).end
        theta, speed = state[p:], field(state)
        blocked = ((theta <= 0) & (speed[p:] < 0)) | ((theta >= 1) & (speed[p:] > 0))
        speed[p:][blocked] = 0.0
        inside = bool((np.minimum(theta, 1 - theta) > FACE).any())
        if np.abs(speed).max() < (1e-6 if inside else 1e-4):
            return state
    return None


def _all(outcomes: Iterator[Outcome]) -> Outcome:
    """Return one outcome for several held ones; the first that did not hold otherwise."""
    found = []
    for outcome in outcomes:
        if outcome.cases is None or outcome.margin is None:
            return outcome
        found.append(outcome)
    cases, margins = sum(o.cases or 0 for o in found), [o.margin for o in found if o.margin is not None]
    return held("; ".join(o.scope for o in found), cases=cases, margin=min(margins))


CLAIMS: tuple[Claim, ...] = (gradient, drift, path_order, limits)
