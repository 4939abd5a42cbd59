"""SGD on the closed-form models, the same steps that training takes, vectorised over runs.

Masks are drawn per sample, θ is projected on [0, 1] after every step, and momentum acts on the weights only:

    v ← m v + g,      W ← W − lr·v,      Θ ← clip(Θ − h·r·g_Θ),      lr = h(1 − m),

so that h = lr/(1 − m), the weights' effective step, is the time one step takes in the ODE of `closed_form`. Over
a fixed horizon SGD's path is within O(√h) of the ODE's (claim `sgd-order`): the noise of n = T/h steps of size h
adds up to h√n ~ √h, the discretisation itself to O(h) only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynamics.integrators.event_driven import Path
from dynamics.models.closed_form import GatedSum

__all__ = ["Order", "fit_order", "sgd_paths", "sup_distance"]


def sgd_paths(
    model: GatedSum,
    start: np.ndarray,
    *,
    step: float,
    horizon: float,
    runs: int,
    rng: np.random.Generator,
    batch: int = 1,
    momentum: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Run SGD `runs` times from one start.

    Args:
        model: what is trained.
        start: weights, then θ.
        step: h > 0, the effective step.
        horizon: T ≥ h; ⌊T/h⌋ steps are taken.
        runs: how many independent runs.
        rng: where masks and mini-batches (drawn with replacement) come from.
        batch: samples a step.
        momentum: m in [0, 1).

    Returns:
        Times, shape (steps + 1,), and states, shape (steps + 1, runs, weights + gates).

    Raises:
        ValueError: for values outside these ranges or a start of the wrong length.
    """
    p, size = len(model.weights), len(model.weights) + model.gates
    start = np.asarray(start, dtype=float)
    if start.shape != (size,):
        raise ValueError(f"start must have shape ({size},), weights then gates; got {start.shape}")
    if not np.isfinite(start).all() or not ((start[p:] >= 0) & (start[p:] <= 1)).all():
        raise ValueError(f"start must be finite, with θ in [0, 1]; got {start}")
    if not 0 < step <= horizon < np.inf:
        raise ValueError(f"step must be positive and at most the horizon; got step {step}, horizon {horizon}")
    if runs < 1 or batch < 1:
        raise ValueError(f"runs and batch must be at least 1; got {runs} and {batch}")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1); got {momentum}")
    steps = int(np.floor(horizon / step + 1e-9))
    states = np.empty((steps + 1, runs, size))
    states[0] = start
    velocity = np.zeros((runs, p))
    for k in range(steps):
        now, after = states[k], states[k + 1]
        masks = (rng.random((runs, batch, model.gates)) < now[:, None, p:]).astype(float)
        rows = rng.integers(0, len(model.y), (runs, batch))
        speed = model.sampled_field(now, masks, rows)
        velocity = momentum * velocity + speed[:, :p]
        after[:, :p] = now[:, :p] + step * (1 - momentum) * velocity
        after[:, p:] = np.clip(now[:, p:] + step * speed[:, p:], 0.0, 1.0)
    return step * np.arange(steps + 1), states


def sup_distance(times: np.ndarray, states: np.ndarray, path: Path) -> np.ndarray:
    """Return the largest Euclidean distance to the ODE's path over the run, one number a run, shape (runs,)."""
    reference = path(np.minimum(times, path.ends[-1]))
    return np.linalg.norm(states - reference[:, None], axis=-1).max(axis=0)


@dataclass(frozen=True)
class Order:
    """A fitted order of convergence: distance ~ step^slope, with a bootstrap interval over runs."""

    slope: float
    low: float
    high: float


def fit_order(
    steps: np.ndarray,
    distances: np.ndarray,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 2000,
) -> Order:
    """Return the least-squares slope of the mean log distance in the log step.

    Args:
        steps: step sizes, shape (sizes,), at least two different ones.
        distances: positive, shape (sizes, runs); runs are independent, also between sizes.
        rng: for the bootstrap, which draws runs anew for every size.
        level: of the percentile interval.
        resamples: bootstrap samples.

    Example:
        >>> h = np.array([0.1, 0.01])
        >>> order = fit_order(h, np.sqrt(h)[:, None] * np.ones((1, 5)), np.random.default_rng(0))
        >>> round(order.slope, 6), round(order.high - order.low, 6)
        (0.5, 0.0)
    """
    steps, distances = np.asarray(steps, dtype=float), np.asarray(distances, dtype=float)
    if distances.ndim != 2 or len(distances) != len(steps) or not (distances > 0).all():
        raise ValueError(f"distances must be positive, of shape ({len(steps)}, runs); got shape {distances.shape}")
    if len(np.unique(steps)) < 2 or not (steps > 0).all():
        raise ValueError(f"steps must be positive and at least two different ones; got {steps}")
    x = np.log(steps) - np.log(steps).mean()
    logs = np.log(distances)
    draws = rng.integers(0, logs.shape[1], (resamples, *logs.shape))
    means = np.take_along_axis(logs[None], draws, axis=2).mean(-1)
    low, high = np.quantile(means @ x / (x @ x), [(1 - level) / 2, (1 + level) / 2])
    return Order(float(logs.mean(-1) @ x / (x @ x)), float(low), float(high))
