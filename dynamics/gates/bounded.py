"""What every gate has whose pull is bounded by a coupling: constants in their ranges, and the coupling's headroom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Self, TypeAlias

import numpy as np
import sympy as sp

from dynamics.gates.ode import COUPLING
from dynamics.numeric import Array, Operands, operands, require

__all__ = [
    "FINITE",
    "FINITE_NONNEGATIVE",
    "FINITE_POSITIVE",
    "NONNEGATIVE",
    "POSITIVE",
    "SHARE",
    "BoundedGate",
    "Range",
    "check",
]

#: What is allowed, in words, and the test for it.
Range: TypeAlias = tuple[str, Callable[[Array, ModuleType], Array]]

FINITE: Range = ("finite", lambda v, xp: xp.isfinite(v))
FINITE_NONNEGATIVE: Range = ("finite and ≥ 0", lambda v, xp: xp.isfinite(v) & (v >= 0))
FINITE_POSITIVE: Range = ("finite and > 0", lambda v, xp: xp.isfinite(v) & (v > 0))
NONNEGATIVE: Range = ("≥ 0", lambda v, xp: v >= 0)
POSITIVE: Range = ("> 0", lambda v, xp: v > 0)
SHARE: Range = ("in [0, 1]", lambda v, xp: (v >= 0) & (v <= 1))


def check(given: Operands, ranges: Mapping[sp.Symbol, Range]) -> None:
    """Refuse operands outside their ranges, in the order of these.

    Raises:
        ValueError: naming the operand, its first value outside, and what is allowed.
    """
    for symbol, (allowed, test) in ranges.items():
        require(symbol.name, given[symbol.name], given, allowed, test)


class BoundedGate:
    """One gate, or an array of gates, with its constants, of which the coupling η bounds the pull of the loss.

    Args:
        parameters: the constants by name; numbers, NumPy arrays or torch tensors, which broadcast.
        ranges: in which they must be, checked in this order.

    Raises:
        ValueError: for a constant outside its range, or shapes that do not broadcast.
    """

    def __init__(self, parameters: dict[str, Array], ranges: Mapping[sp.Symbol, Range]) -> None:
        self.parameters = parameters
        check(operands({}, parameters), ranges)

    def __repr__(self) -> str:
        """Return the kind of gate and its constants; an array of gates shows the first and the last of each."""
        with np.printoptions(threshold=6, edgeitems=2):
            shown = ", ".join(f"{name}={' '.join(str(value).split())}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({shown})"

    @property
    def coupling(self) -> Array:
        """Return η."""
        return self.parameters[COUPLING.name]

    def with_coupling(self, coupling: Array) -> Self:
        """Return the same gate with another coupling."""
        return type(self)(**{**self.parameters, COUPLING.name: coupling})

    def _largest_factor(self, given: Operands, certified: Callable[[Self], Array]) -> Array:
        """Return the supremum of m such that the gate with coupling mη certifies a state, in [2⁻⁶⁴, 2⁶⁴].

        By bisection on log₂ m, which needs that the certificate is lost at most once as m grows.

        Args:
            given: state and parameters, for backend, dtype and shape.
            certified: whether a gate certifies the state.

        Returns:
            0 where the state is not certified at 2⁻⁶⁴, ∞ where it is at 2⁶⁴.
        """
        xp, eta = given.xp, given[COUPLING.name]

        def certified_at(exponent: Array) -> Array:
            with np.errstate(over="ignore", under="ignore"):
                scaled = eta * 2.0**exponent
            return certified(self.with_coupling(scaled))

        low, high = (given.broadcast(xp.zeros_like(given["theta"]))[0] + edge for edge in (-64.0, 64.0))
        lost_at_once, never_lost = ~certified_at(-64.0), certified_at(64.0)
        for _ in range(64):
            middle = (low + high) / 2
            held = certified_at(middle)
            low, high = xp.where(held, middle, low), xp.where(held, high, middle)
        found = xp.where(never_lost, xp.full_like(low, xp.inf), 2.0**low)
        return xp.where(lost_at_once, xp.zeros_like(low), found)
