"""Models small enough to write out: the exact ODE of every weight and every gate (derived here).

The model is a sum of gated branches, y ≈ Σ_k ξ_k f_k(x; W) with ξ_k ~ Ber(θ_k) independent, under squared loss.
Since ξ² = ξ, E[ξ_j ξ_k] = θ_jθ_k for j ≠ k and E[ξ_k²] = θ_k, so for one sample

    E ½(y − Σ ξ_k f_k)²  =  ½(y − Σ θ_k f_k)² + ½ Σ θ_k(1 − θ_k) f_k²,

a bias and a variance. Averaged over a fixed, finite data set and with weight decay and gate costs added,

    J(W, Θ) = mean E[ℓ] + (λ/2)‖W‖² + Σ κ_k θ_k,      W' = −∂J/∂W,      Θ' = −r ∂J/∂Θ projected on [0, 1].

Both models here are of this form: `gated_regression` (f_k = w_k x_k) and `teacher_student` (f_k = v_k σ(u_k·x)
with a polynomial σ; fan-in u_k and fan-out v_k are both learned). What is derived symbolically here agrees with
enumerating all 2^G masks (claim `closed-form-gradient`); `dynamics.integrators.sgd` runs SGD on the same models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from dynamics.models.objective import gate_symbols

__all__ = ["GatedSum", "gated_regression", "teacher_student"]

TARGET = sp.Symbol("y", real=True)


@dataclass(frozen=True, eq=False)
class GatedSum:
    """A sum of gated branches with its data and constants. Its state is one vector: the weights, then θ.

    Attributes:
        branches: f_k, one expression a gate, in `inputs` and `weights`.
        weights: the weights' symbols, in the order of the state.
        inputs: the symbols of x, one a column of `x`.
        x: inputs, shape (samples, inputs).
        y: targets, shape (samples,).
        decay: λ ≥ 0, on all weights.
        cost: κ_k ≥ 0, one a gate.
        rate: r > 0, the gates' learning rate over the weights' effective one.

    Raises:
        ValueError: for shapes that do not fit, values that are not finite, or constants out of range.
    """

    branches: tuple[sp.Expr, ...]
    weights: tuple[sp.Symbol, ...]
    inputs: tuple[sp.Symbol, ...]
    x: np.ndarray
    y: np.ndarray
    decay: float
    cost: tuple[float, ...]
    rate: float

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.shape[1] != len(self.inputs) or not len(self.x):
            raise ValueError(f"x must have shape (samples ≥ 1, {len(self.inputs)}); got {self.x.shape}")
        if self.y.shape != self.x.shape[:1]:
            raise ValueError(f"y must have shape {self.x.shape[:1]}; got {self.y.shape}")
        for name, values in (("x", self.x), ("y", self.y)):
            if not np.isfinite(values).all():
                raise ValueError(f"{name} must be finite; got {values[~np.isfinite(values)][0]}")
        if len(self.cost) != len(self.branches):
            raise ValueError(f"cost must have one entry a gate, {len(self.branches)}; got {len(self.cost)}")
        for name, value in (("decay", self.decay), *(("cost", c) for c in self.cost), ("rate", self.rate)):
            if not 0 <= value < np.inf or (name == "rate" and value == 0):
                raise ValueError(f"{name} must be finite and {'> 0' if name == 'rate' else '≥ 0'}; got {value}")

    @property
    def gates(self) -> int:
        """Return how many gates the model has."""
        return len(self.branches)

    @cached_property
    def thetas(self) -> tuple[sp.Symbol, ...]:
        """Return θ_k."""
        return gate_symbols(self.gates)

    @cached_property
    def masks(self) -> tuple[sp.Symbol, ...]:
        """Return ξ_k."""
        return tuple(sp.Symbol(f"xi_{k}", nonnegative=True) for k in range(self.gates))

    @cached_property
    def sample_loss(self) -> sp.Expr:
        """Return ℓ = ½(y − Σ ξ_k f_k)² of one sample under one mask."""
        return (TARGET - sum(m * f for m, f in zip(self.masks, self.branches, strict=True))) ** 2 / 2

    @cached_property
    def expected_loss(self) -> sp.Expr:
        """Return E_ξ ℓ of one sample: every product of masks replaced by its expectation."""
        pairs = list(zip(self.thetas, self.branches, strict=True))
        bias = TARGET - sum(t * f for t, f in pairs)
        return bias**2 / 2 + sum(t * (1 - t) * f**2 for t, f in pairs) / 2

    @cached_property
    def sample_gradient(self) -> tuple[sp.Expr, ...]:
        """Return an unbiased estimate of the gradient of E ℓ from one sample and one mask: ∂ℓ/∂W, then the gates'.

        For a gate it is the difference ℓ(ξ_k=1) − ℓ(ξ_k=0) with the other masks as drawn, whose mean is exactly
        ∂(E ℓ)/∂θ_k. The derivative ∂ℓ/∂ξ_k is another thing: its mean differs by (½ − θ_k) f_k².
        """
        by_weight = [sp.diff(self.sample_loss, w) for w in self.weights]
        by_gate = [sp.expand(self.sample_loss.subs(m, 1) - self.sample_loss.subs(m, 0)) for m in self.masks]
        return (*by_weight, *by_gate)

    @cached_property
    def expected_gradient(self) -> tuple[sp.Expr, ...]:
        """Return ∂(E ℓ)/∂(W, Θ) of one sample."""
        return tuple(sp.diff(self.expected_loss, s) for s in (*self.weights, *self.thetas))

    @cached_property
    def _compiled(self) -> dict[str, Callable[..., Sequence[np.ndarray]]]:
        state, data = [*self.weights, *self.thetas], [*self.inputs, TARGET]
        masked = [*self.weights, *self.masks]
        return {
            "loss": sp.lambdify([state, data], [self.expected_loss], "numpy", cse=True),
            "gradient": sp.lambdify([state, data], self.expected_gradient, "numpy", cse=True),
            "sample": sp.lambdify([masked, data], self.sample_gradient, "numpy", cse=True),
        }

    @cached_property
    def _data(self) -> list[np.ndarray]:
        return [*np.ascontiguousarray(self.x.T), self.y]

    @cached_property
    def _penalty(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return decay, cost and speed, one entry a component of the state."""
        p = len(self.weights)
        decay = np.r_[np.full(p, self.decay), np.zeros(self.gates)]
        cost = np.r_[np.zeros(p), np.asarray(self.cost)]
        return decay, cost, np.r_[np.ones(p), np.full(self.gates, self.rate)]

    def _mean(self, which: str, state: np.ndarray, data: Sequence[np.ndarray]) -> np.ndarray:
        """Return the outputs of a compiled function averaged over the last axis of the data, as a last axis of their
        own.
        """
        # One state: plain numbers, which NumPy handles faster than arrays of one element.
        columns = state.tolist() if state.ndim == 1 else [state[..., i, None] for i in range(state.shape[-1])]
        return _average(self._compiled[which](columns, data), (*state.shape[:-1], len(self.y)))

    def objective(self, state: np.ndarray) -> np.ndarray:
        """Return J at states of shape (..., weights + gates)."""
        decay, cost, _ = self._penalty
        return self._mean("loss", state, self._data)[..., 0] + ((decay / 2 * state + cost) * state).sum(-1)

    def gradient(self, state: np.ndarray) -> np.ndarray:
        """Return ∂J/∂(W, Θ), the same shape as `state`."""
        decay, cost, _ = self._penalty
        return self._mean("gradient", state, self._data) + decay * state + cost

    def field(self, state: np.ndarray) -> np.ndarray:
        """Return (−∂J/∂W, −r ∂J/∂Θ), not projected; `dynamics.integrators.event_driven` integrates it on the cube."""
        return -self._penalty[2] * self.gradient(state)

    def sampled_field(self, state: np.ndarray, masks: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return what one mini-batch says of `field`: unbiased over masks and rows.

        Args:
            state: shape (runs, weights + gates).
            masks: 0 or 1, shape (runs, batch, gates), drawn with the probabilities in `state`.
            rows: samples of the mini-batch, shape (runs, batch).
        """
        p = len(self.weights)
        arguments = [*(state[:, i, None] for i in range(p)), *(masks[..., k] for k in range(self.gates))]
        parts = self._compiled["sample"](arguments, [column[rows] for column in self._data])
        decay, cost, speed = self._penalty
        return -speed * (_average(parts, rows.shape) + decay * state + cost)


def gated_regression(
    x: np.ndarray, y: np.ndarray, *, decay: float, cost: float | Sequence[float], rate: float
) -> GatedSum:
    """Return a gated linear regression, y ≈ Σ_k ξ_k w_k x_k: one weight and one gate a column of x.

    J depends on the data through their second moments only. For inputs of known covariance C = LLᵀ and teacher
    weights w, the d rows of √d·Lᵀ with targets √d·Lᵀw therefore give the exact expectation over all inputs.

    Example:
        >>> model = gated_regression(np.eye(2), np.ones(2), decay=0.0, cost=0.1, rate=1.0)
        >>> [round(float(v), 3) for v in model.field(np.array([0.5, 0.5, 0.5, 0.5]))]
        [0.125, 0.125, 0.087, 0.087]
    """
    x = np.asarray(x, dtype=float)
    columns = x.shape[1] if x.ndim == 2 else 1
    inputs = tuple(sp.Symbol(f"x_{k}", real=True) for k in range(columns))
    weights = tuple(sp.Symbol(f"w_{k}", real=True) for k in range(columns))
    branches = tuple(w * v for w, v in zip(weights, inputs, strict=True))
    return GatedSum(branches, weights, inputs, x, np.asarray(y, float), decay, _costs(cost, columns), rate)


def teacher_student(
    x: np.ndarray,
    y: np.ndarray,
    *,
    units: int,
    decay: float,
    cost: float | Sequence[float],
    rate: float,
    activation: Callable[[sp.Expr], sp.Expr] = lambda z: z,
) -> GatedSum:
    """Return a two-layer student with `units` gated hidden units, y ≈ Σ_k ξ_k v_k σ(u_k·x).

    Args:
        x: inputs, shape (samples, inputs).
        y: the teacher's outputs, shape (samples,).
        units: hidden units of the student, at least 1.
        decay: λ.
        cost: κ, one number or one a unit.
        rate: r.
        activation: σ as a function of a SymPy expression; smooth (a polynomial, say). Linear by default.

    The state holds u_0, v_0, u_1, v_1, …, then θ.
    """
    x = np.asarray(x, dtype=float)
    if units < 1:
        raise ValueError(f"units must be at least 1; got {units}")
    inputs = tuple(sp.Symbol(f"x_{i}", real=True) for i in range(x.shape[1] if x.ndim == 2 else 1))
    weights: list[sp.Symbol] = []
    branches = []
    for k in range(units):
        fan_in = [sp.Symbol(f"u_{k}_{i}", real=True) for i in range(len(inputs))]
        fan_out = sp.Symbol(f"v_{k}", real=True)
        weights += [*fan_in, fan_out]
        branches.append(fan_out * activation(sum(u * v for u, v in zip(fan_in, inputs, strict=True))))
    y = np.asarray(y, dtype=float)
    return GatedSum(tuple(branches), tuple(weights), inputs, x, y, decay, _costs(cost, units), rate)


def _average(parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return the parts, each broadcast to `shape`, averaged over its last axis and stacked along a new last axis."""
    values = np.empty((len(parts), *shape))
    for i, part in enumerate(parts):
        values[i] = part
    return np.moveaxis(values.mean(-1), 0, -1)


def _costs(cost: float | Sequence[float], gates: int) -> tuple[float, ...]:
    return tuple(float(c) for c in np.broadcast_to(cost, gates)) if np.ndim(cost) == 0 else tuple(map(float, cost))  # type: ignore[arg-type]
