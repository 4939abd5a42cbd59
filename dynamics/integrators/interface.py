"""The names that a compiled scheme may use: its decorators, its results, and what is generated for each system.

A scheme (`dynamics.integrators.kernel`, `dynamics.integrators.pieces`) is written once for all systems. The names
below `Results` have no value here: `dynamics.integrators.codegen` defines them for one system, in the module that
it generates from the scheme. A scheme imports them for the type checker only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numba
import numpy as np

__all__ = ["FASTMATH", "OPTIONS", "Results", "Vector", "compiled", "inlined"]

Vector: TypeAlias = tuple[float, ...]

#: error_model="numpy": a division by zero gives inf or NaN, which the step control sees, instead of an exception.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
FASTMATH = ("contract", "nsz")

compiled = numba.njit(**OPTIONS, fastmath=set(FASTMATH))
inlined = numba.njit(**OPTIONS, fastmath=set(FASTMATH), inline="always")  # called in inner loops


class Results(NamedTuple):
    """Where a scheme writes: one entry a state, and its path at the requested times."""

    fates: np.ndarray  # uint8
    when: np.ndarray  # float64
    steps: np.ndarray  # int32
    final: np.ndarray  # (component, state)
    path: np.ndarray  # (state, time, component); (1, 0, component) where no times are requested


# Codes of `dynamics.integrators.fate.Fate`.
ZERO: int
ALIVE: int
DIVERGED: int
UNDECIDED: int
FAILED: int

# Ranges: a generator expression over one of them is written out item by item.
COMPONENTS: range  # of the state: the norms, then θ
NORMS: range
PARAMETERS: range

# Of any system.
field: Callable[[Vector, Vector], Vector]  # (state, parameters): the smooth field, not projected

# Of a system that is integrated numerically.
decay_of: Callable[[Vector], float]  # (parameters): λ
DECREASING: bool  # D falls with every norm, for all parameters
COOPERATIVE: bool  # no norm slows another at θ = 1: −∂²D/∂w_i∂w_j ≥ 0
HOMOGENEOUS: bool  # ∇D(cw) = c∇D(w)
STEEPENING: bool  # no norm weakens the pull: −∂²D/∂w_i∂w_j ≥ 0, i = j included

# Of the linear gate, solved in closed form.
root_of: Callable[[Vector], Vector]  # (λ, η, κ, r): (q,) with q = |μ₋|/η
eigenvalues: Callable[[Vector, Vector], Vector]  # (λ, η, κ, r), (q,): (μ₋, μ₊)
amplitudes: Callable[
    [Vector, Vector, Vector], Vector
]  # state, (λ, η, κ, r), (q,): (a, b), unstable and stable part of θ − θ*
