"""The expected objective of a gated network, written out (derived here).

    J(W, Θ) = E_{ξ~Θ}[ ℓ(W, ξ) ] + (λ/2)‖W‖² + R(Θ),        ξ_g ~ Ber(θ_g) independent

The expectation is a sum over all 2^G configurations of the gates, so it is a polynomial in Θ of degree one in each
θ_g: with D_g = E[ℓ | ξ_g=1] − E[ℓ | ξ_g=0], which does not contain θ_g,

    E[ℓ] = E[ℓ | ξ_g=0] + θ_g·D_g.

The same sum weighs the vertices of the cube: E[ℓ] at Θ is a mean of its values at the 2^G vertices, so none of its
values is below the smallest of those, and the best Θ is deterministic. Nothing is assumed about ℓ.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import sympy as sp

from dynamics.gates.ode import DECAY
from dynamics.models.complexity import Layer, Structure

__all__ = [
    "ALPHA",
    "BETA",
    "NU",
    "Configuration",
    "GatedResidualNet",
    "Loss",
    "conditional",
    "configurations",
    "difference",
    "expectation",
    "gate_symbols",
    "loss_table",
    "probability",
]

NU = sp.Symbol("nu", nonnegative=True)  # ν, pruning pressure
ALPHA = sp.Symbol("alpha", nonnegative=True)  # α, layer against unit pruning
BETA = sp.Symbol("beta", nonnegative=True)  # β, parameters against multiply–accumulates

#: One outcome of all gates: a tuple of G zeros and ones.
Configuration: TypeAlias = tuple[int, ...]

#: The loss of the network with its gates set so.
Loss: TypeAlias = Callable[[Configuration], sp.Expr]


def gate_symbols(gates: int) -> tuple[sp.Symbol, ...]:
    """Return θ_0, …, θ_{G−1}."""
    return tuple(sp.Symbol(f"theta{g}", nonnegative=True) for g in range(gates))


def configurations(gates: int) -> Iterator[Configuration]:
    """Return all 2^G settings of the gates."""
    return itertools.product((0, 1), repeat=gates)


def probability(xi: Configuration, theta: Sequence[sp.Expr]) -> sp.Expr:
    """Return P(ξ) = Π θ_g^ξ_g (1 − θ_g)^(1 − ξ_g)."""
    return sp.Mul(*(t if x else 1 - t for x, t in zip(xi, theta, strict=True)))


def expectation(loss: Loss, theta: Sequence[sp.Expr]) -> sp.Expr:
    """Return E[ℓ(ξ)] over independent ξ_g ~ Ber(θ_g): the sum over all 2^G configurations.

    Args:
        loss: ℓ, called once for each configuration, a tuple of G zeros and ones.
        theta: G symbols or expressions; numbers 0 and 1 fix a gate.

    Raises:
        ValueError: for more than 20 gates, where the sum would have over a million terms.

    Example:
        Two gated branches add up to a target of 3; the variance of the sum appears by itself:

        >>> a, b = gate_symbols(2)
        >>> sp.expand(expectation(lambda xi: (3 - xi[0] - xi[1]) ** 2, (a, b)))
        2*theta0*theta1 - 5*theta0 - 5*theta1 + 9
    """
    if len(theta) > 20:
        raise ValueError(f"theta must have at most 20 gates for a sum over all configurations; got {len(theta)}")
    return sp.Add(*(probability(xi, theta) * loss(xi) for xi in configurations(len(theta))))


def conditional(loss: Loss, theta: Sequence[sp.Expr], gate: int, value: int) -> sp.Expr:
    """Return E[ℓ | ξ_gate = value], from the definition: a sum over the other gates' configurations.

    Raises:
        ValueError: for a gate that does not exist, or a value other than 0 and 1.
    """
    if not 0 <= gate < len(theta):
        raise ValueError(f"gate must be in 0 … {len(theta) - 1}; got {gate}")
    if value not in (0, 1):
        raise ValueError(f"value must be 0 or 1; got {value}")
    others = [t for g, t in enumerate(theta) if g != gate]

    def with_gate(rest: Configuration) -> sp.Expr:
        return loss((*rest[:gate], value, *rest[gate:]))

    return expectation(with_gate, others)


def difference(loss: Loss, theta: Sequence[sp.Expr], gate: int) -> sp.Expr:
    """Return D_g = E[ℓ | ξ_g=1] − E[ℓ | ξ_g=0]: what the gate is worth, free of θ_g itself."""
    return conditional(loss, theta, gate, 1) - conditional(loss, theta, gate, 0)


def loss_table(gates: int) -> Loss:
    """Return an arbitrary loss: one free symbol for each of the 2^G configurations, such as l01."""
    symbols = {xi: sp.Symbol("l" + "".join(map(str, xi)), real=True) for xi in configurations(gates)}
    return symbols.__getitem__


@dataclass(frozen=True)
class GatedResidualNet:
    """A scalar residual net with squared loss, everything symbolic.

        f(x) = x + ξ_L Σ_k ξ_k v_k tanh(u_k x),      ℓ = (1/2m) Σ_i (y_i − f(x_i))²

    Gates: the units ξ_1, …, ξ_K, then the layer gate ξ_L, in the order of `Structure`.

    Attributes:
        units: K ≥ 1.
        samples: m ≥ 1.
    """

    units: int = 2
    samples: int = 2

    def __post_init__(self) -> None:
        for name in ("units", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be ≥ 1; got {getattr(self, name)}")

    @cached_property
    def inputs(self) -> tuple[sp.Symbol, ...]:
        """Return x_i."""
        return tuple(sp.Symbol(f"x{i}", real=True) for i in range(self.samples))

    @cached_property
    def targets(self) -> tuple[sp.Symbol, ...]:
        """Return y_i."""
        return tuple(sp.Symbol(f"y{i}", real=True) for i in range(self.samples))

    @cached_property
    def fan_in(self) -> tuple[sp.Symbol, ...]:
        """Return u_k."""
        return tuple(sp.Symbol(f"u{k}", real=True) for k in range(self.units))

    @cached_property
    def fan_out(self) -> tuple[sp.Symbol, ...]:
        """Return v_k."""
        return tuple(sp.Symbol(f"v{k}", real=True) for k in range(self.units))

    @cached_property
    def theta(self) -> tuple[sp.Symbol, ...]:
        """Return θ of the units, then of the layer."""
        return gate_symbols(self.units + 1)

    def output(self, xi: Sequence[sp.Expr], x: sp.Expr) -> sp.Expr:
        """Return f(x) with the gates at ξ."""
        *units, layer = xi
        pairs = zip(units, self.fan_in, self.fan_out, strict=True)
        return x + layer * sp.Add(*(gate * v * sp.tanh(u * x) for gate, u, v in pairs))

    def loss(self, xi: Sequence[sp.Expr]) -> sp.Expr:
        """Return ℓ(W, ξ)."""
        errors = (y - self.output(xi, x) for x, y in zip(self.inputs, self.targets, strict=True))
        return sp.Add(*(error**2 for error in errors)) / (2 * self.samples)

    @cached_property
    def structure(self) -> Structure:
        """Return its two dense layers, both in the residual branch."""
        first = Layer("first", 1, "units", 1, 1, branch="branch")
        second = Layer("second", "units", 1, 1, 1, branch="branch")
        return Structure([first, second], {"units": self.units}, ["branch"])

    def regulariser(self) -> sp.Expr:
        """Return R(Θ) in ν, α, β and the gates."""
        (units,), (branch,) = self.structure.unit_symbols.values(), self.structure.branch_symbols.values()
        in_gates = {units: sp.Add(*self.theta[:-1]), branch: self.theta[-1]}
        return self.structure.regulariser(NU, ALPHA, BETA).xreplace(in_gates)

    def objective(self) -> sp.Expr:
        """Return J(W, Θ) = E[ℓ] + (λ/2)‖W‖² + R(Θ)."""
        squares = sp.Add(*(w**2 for w in (*self.fan_in, *self.fan_out)))
        return expectation(self.loss, self.theta) + DECAY * squares / 2 + self.regulariser()
