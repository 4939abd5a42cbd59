"""The ODE of one gate, derived from the loss difference D.

A gated branch enters the network linearly through weights w, as ξ·Φ(x)w with ξ ~ Ber(θ). With
D(w) = E[ℓ | ξ=1] − E[ℓ | ξ=0] the gradient flow of the expected objective is (claims `objective-*`)

    dw/dt = −θ ∇D(w) − λ w,        dθ/dt = −r (D(w) + κ)   projected on [0, 1].

This module holds the symbols and derives field, Jacobian and equilibria with SymPy; nothing here is numeric.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import sympy as sp

__all__ = ["COST", "COUPLING", "DECAY", "RATE", "THETA", "GateSystem"]

DECAY = sp.Symbol("decay", positive=True)  # λ, weight decay
COUPLING = sp.Symbol("coupling", positive=True)  # η, how strongly the loss can pull at the gate's weights
COST = sp.Symbol("cost", positive=True)  # κ, what the objective charges for the gate
RATE = sp.Symbol("rate", positive=True)  # r, the gate's learning rate over the weights' effective one
THETA = sp.Symbol("theta", nonnegative=True)  # θ, the gate's probability


@dataclass(frozen=True)
class GateSystem:
    """The smooth (not yet projected) planar or spatial system that bounds one gate.

    Attributes:
        difference: D as an expression in `weights` and the parameters.
        weights: the norms that D depends on, each nonnegative.
    """

    difference: sp.Expr
    weights: tuple[sp.Symbol, ...]

    @property
    def state(self) -> tuple[sp.Symbol, ...]:
        """Return the weights' norms, then θ."""
        return (*self.weights, THETA)

    @cached_property
    def parameters(self) -> tuple[sp.Symbol, ...]:
        """Return the gate's four constants, then whatever else D contains, sorted by name."""
        own = self.difference.free_symbols - {*self.weights, DECAY, COUPLING, COST, RATE}
        return (DECAY, COUPLING, COST, RATE, *sorted(own, key=lambda symbol: symbol.name))

    @cached_property
    def field(self) -> tuple[sp.Expr, ...]:
        """Return the right-hand side, one expression for each component of `state`."""
        D = self.difference
        return (*(-THETA * sp.diff(D, w) - DECAY * w for w in self.weights), -RATE * (D + COST))

    @cached_property
    def jacobian(self) -> sp.Matrix:
        """Return ∂field/∂state."""
        return sp.Matrix(self.field).jacobian(self.state)

    @cached_property
    def saddle(self) -> tuple[sp.Expr, ...]:
        """Return the equilibrium with positive weights and θ > 0.

        Raises:
            ValueError: if there is not exactly one.
        """
        positive = [sp.Symbol(s.name, positive=True) for s in self.state]
        equations = [f.subs(dict(zip(self.state, positive, strict=True))) for f in self.field]
        solutions = sp.solve(equations, positive, dict=True)
        if len(solutions) != 1:
            raise ValueError(f"D = {self.difference} has {len(solutions)} interior equilibria, not one")
        return tuple(sp.simplify(solutions[0][s]) for s in positive)

    @cached_property
    def eigenvalues(self) -> tuple[sp.Expr, ...]:
        """Return the eigenvalues of the Jacobian at the saddle, in increasing order: the unstable one is last.

        The unstable one is written as determinant / product of the others, which spares the cancelling
        difference of a root (for the linear gate: −λ + √(λ² + 4rη²) with small r).
        """
        at_saddle = self.jacobian.subs(dict(zip(self.state, self.saddle, strict=True)))
        ones = dict.fromkeys((DECAY, COUPLING, COST, RATE), 1)
        values = sorted(at_saddle.eigenvals(multiple=True), key=lambda value: float(value.subs(ones)))
        stable = [sp.simplify(value) for value in values[:-1]]
        return (*stable, sp.simplify(at_saddle.det() / sp.prod(stable)))
