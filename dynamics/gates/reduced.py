"""The planar system that bounds a gate of any D, reduced to two functions of one variable.

One weight: z = ρ and, with f = −D,

    z' = θ f'(z) − λ z,                θ' = r (f(z) − κ).

Two weights with D = D(P), P = ρ_in ρ_out: z = S = (ρ_in² + ρ_out²)/2 ≥ P by the inequality of the means, and

    z' ≤ 2θ z f'(z) − 2λ z,            θ' ≤ r (f(z) − κ),

with equality where ρ_in = ρ_out, as long as neither f nor z f'(z) falls with z (P ≤ S is used in both). In
either case, with x = ln z,

    x' = θ α(z) − B,                   θ' = r (f(z) − κ).

This module derives f, α and B from a `GateSystem`; nothing here is numeric but the generated functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy as sp

from dynamics.gates.ode import DECAY, THETA, GateSystem

__all__ = ["GRID", "ORDER", "SIZE", "Reduced", "reduce_system"]

ORDER = 5  # of the power series at the saddle

#: ln z at which D is looked at: 1e-300 … 1e150. A feature of D narrower than a step can be missed.
GRID = np.arange(-690.0, 345.0, 0.1)

#: The variable of every reduced system: ρ for one weight, S for two.
SIZE = sp.Symbol("z", positive=True)


@dataclass(frozen=True)
class Reduced:
    """The reduced system x' = θα(z) − B, θ' = r(f(z) − κ).

    Attributes:
        pull: f(z) = −D, the gain that the gate brings at size z.
        growth: α(z), how fast ln z grows for each unit of θ.
        shrink: B, how fast ln z falls without the gate.
        means: whether the system bounds two weights by the inequality of the means.
        parameters: the symbols that the three contain beside z, sorted by name.
    """

    pull: sp.Expr
    growth: sp.Expr
    shrink: sp.Expr
    means: bool
    parameters: tuple[sp.Symbol, ...]

    def _compile(self, expressions: list[sp.Expr], modules: list[str]) -> Callable[..., list]:
        return sp.lambdify([SIZE, *self.parameters], expressions, modules=modules, cse=True)

    @functools.cached_property
    def at_point(self) -> Callable[..., list]:
        """Return (f, α, B) at one z, for Python floats."""
        return self._compile([self.pull, self.growth, self.shrink], ["math", "scipy"])

    @functools.cached_property
    def on_grid(self) -> Callable[..., list]:
        """Return (f, α) for arrays of z."""
        return self._compile([self.pull, self.growth], ["numpy", "scipy"])

    @functools.cached_property
    def rises(self) -> Callable[..., list]:
        """Return, for arrays of z, pairs (g, z g') of every g that must not fall with z."""
        rising = [self.pull, self.growth * SIZE] if self.means else [self.pull]
        pairs = [e for g in rising for e in (g, sp.simplify(SIZE * sp.diff(g, SIZE)))]
        return self._compile(pairs, ["numpy", "scipy"])

    @functools.cached_property
    def series(self) -> Callable[..., list]:
        """Return the Taylor coefficients in x = ln z at one z: of f from order 1 to ORDER, of α from 0 to ORDER."""
        return self._compile([*_taylor(self.pull)[1:], *_taylor(self.growth)], ["math", "scipy"])

    @functools.cached_property
    def stays_at_zero(self) -> bool:
        """Return whether z = 0 is invariant: z α(z) → 0 as z → 0 (symbolically; False where SymPy cannot tell)."""
        try:
            return bool(sp.limit(SIZE * self.growth, SIZE, 0, "+") == 0)
        except (NotImplementedError, ValueError):
            return False


def _taylor(expression: sp.Expr) -> list[sp.Expr]:
    """Return the coefficients 0 … ORDER of the expansion in x = ln z, where d/dx = z d/dz."""
    coefficients, derivative = [], expression
    for order in range(ORDER + 1):
        coefficients.append(derivative / sp.factorial(order))
        derivative = SIZE * sp.diff(derivative, SIZE)
    return coefficients


def reduce_system(system: GateSystem) -> Reduced:
    """Return the reduced system of a gate with one weight, or with two that enter D by their product.

    Raises:
        ValueError: for more weights, or if D depends on two weights otherwise than by their product.
    """
    if len(system.weights) == 1:
        size, symmetric = system.weights[0], {system.weights[0]: SIZE}
        drift = system.field[0] / size
    else:
        _require_product(system)
        symmetric = dict.fromkeys(system.weights, sp.sqrt(SIZE))
        # S' = Σ ρᵢ ρᵢ', so that S'/S at ρ_in = ρ_out = √S is the sum over both of ρᵢ'/ρᵢ.
        drift = sum(w * dot for w, dot in zip(system.weights, system.field, strict=False)) / SIZE
    drift = sp.expand(drift.subs(symmetric))
    growth = sp.simplify(sp.diff(drift, THETA))
    shrink = sp.simplify(-drift.subs(THETA, 0))
    pull = sp.expand(-system.difference.subs(symmetric))
    own = (pull.free_symbols | growth.free_symbols | {DECAY}) - {SIZE}
    return Reduced(pull, growth, shrink, len(system.weights) == 2, tuple(sorted(own, key=lambda s: s.name)))


def _require_product(system: GateSystem) -> None:
    """Check that D(ρ_in, ρ_out) is a function of ρ_in ρ_out."""
    if len(system.weights) != 2:
        raise ValueError(f"difference must depend on one or two weights; got {len(system.weights)}")
    first, second = (sp.Symbol(w.name, positive=True) for w in system.weights)
    ratio = sp.Symbol("ratio", positive=True)
    positive = system.difference.subs(dict(zip(system.weights, (first, second), strict=True)))
    moved = positive.subs({first: first * ratio, second: second / ratio}, simultaneous=True)
    if sp.simplify(moved - positive) != 0:
        raise ValueError(
            f"difference of two weights must be a function of their product; got {system.difference}: "
            "bound it by such a function, or by one of the total norm"
        )
