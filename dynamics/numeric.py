"""Functions of NumPy arrays and torch tensors, compiled from SymPy expressions.

One expression, two backends: `compile_expressions` lambdifies a smooth expression once for each, and the
functions of this package choose by what they are given. Torch is looked up only where a tensor arrives, so
that `import dynamics` needs no torch.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import sympy as sp

__all__ = ["Array", "Operands", "compile_expressions", "operands", "require"]

#: A number, a NumPy array or a torch tensor. All functions of `dynamics` broadcast over them.
Array: TypeAlias = Any


_SINGLE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def _is_tensor(value: Array) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


class Operands:
    """Values made ready for one computation: one backend, one dtype, one device, shapes that broadcast.

    Attributes:
        xp: `numpy` or `torch`.
        values: name → array, in the order given.
    """

    def __init__(self, xp: ModuleType, values: dict[str, Array]) -> None:
        self.xp, self.values = xp, values

    def __getitem__(self, name: str) -> Array:
        return self.values[name]

    def broadcast(self, *arrays: Array) -> tuple[Array, ...]:
        """Return the arrays at the common shape of all operands (a constant component comes back scalar)."""
        shape = np.broadcast_shapes(*(tuple(value.shape) for value in self.values.values()))
        # A tensor passes as it is: torch.asarray would cut it from the autograd graph (or warn, by version).
        made = (array if hasattr(array, "shape") else self.xp.asarray(array) for array in arrays)
        return tuple(self.xp.broadcast_to(array, shape) for array in made)


def operands(state: dict[str, Array], parameters: dict[str, Array]) -> Operands:
    """Bring a state and a gate's parameters to one backend and dtype.

    If anything is a torch tensor the result is torch, on that tensor's device. The floating dtype is the widest of
    all values, in both backends: a small coupling cast to the float16 of a state would be 0, and what nothing pulls is
    certified. So a state in float32 beside constants in float32 gives margins in float32. Python numbers follow the
    others, in float32 at least, and in float64 where float32 would lose one altogether; alone they are float64.

    Raises:
        ValueError: if the shapes do not broadcast; the message lists them.
    """
    everything = {**parameters, **state}
    tensors = [value for value in [*state.values(), *parameters.values()] if _is_tensor(value)]
    values: dict[str, Array] = {}
    if tensors:
        xp = sys.modules["torch"]
        dtype = functools.reduce(xp.promote_types, _floating(everything.values(), xp))
        values = {k: xp.as_tensor(v, dtype=dtype, device=tensors[0].device) for k, v in everything.items()}
    else:
        xp = np
        kind = np.result_type(*_floating(everything.values(), xp))
        values = {k: np.asarray(v, dtype=kind) for k, v in everything.items()}
    try:
        np.broadcast_shapes(*(tuple(value.shape) for value in values.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in values.items())
        raise ValueError(f"shapes do not broadcast: {shapes}") from None
    return Operands(xp, values)


def _floating(values: Iterable[Array], xp: ModuleType) -> list[Any]:
    """The floating dtypes of values, in NumPy or torch."""
    found, least = [], []
    for value in values:
        if _is_tensor(value) and value.is_floating_point():
            found.append(value.dtype)
        elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f":
            found.append(getattr(xp, value.dtype.name, xp.float64))
        else:
            lost = isinstance(value, int | float) and not _in_single(float(value))
            least.append(xp.float64 if lost else xp.float32)
    return [*found, *least] if found else [xp.float64]


def _in_single(value: float) -> bool:
    """Whether float32 holds a number, to its precision."""
    size = abs(value)
    return size == 0 or not math.isfinite(size) or _SINGLE[0] <= size <= _SINGLE[1]


def require(name: str, value: Array, given: Operands, allowed: str, test: Callable[[Array, ModuleType], Array]) -> None:
    """Raise a ValueError that names the argument and its first value outside what is allowed."""
    bad = ~test(value, given.xp)
    if bool(bad.any()):
        witness = float(value[bad].reshape(-1)[0]) if value.shape else float(value)
        raise ValueError(f"{name} must be {allowed}; got {witness}")


def compile_expressions(
    arguments: Sequence[sp.Symbol], expressions: Sequence[sp.Expr]
) -> Callable[[Operands], tuple[Array, ...]]:
    """Compile smooth expressions into one function of `Operands`, common subexpressions shared.

    Only smooth expressions: `Max`, `Min` and `Piecewise` do not lambdify soundly to torch, so projections and
    case distinctions are written by hand around the compiled parts. Arguments are looked up by symbol name.

    Example:
        >>> x, y = sp.symbols("x y")
        >>> product = compile_expressions([x, y], [x * y, x + 1])
        >>> product(operands({"x": np.array([2.0, 3.0])}, {"y": 5.0}))
        (array([10., 15.]), array([3., 4.]))
    """
    names = tuple(symbol.name for symbol in arguments)
    # torch.sqrt takes no Python number: constants such as √2 become floats first.
    floating = [e.replace(lambda part: part.is_number and not part.is_Rational, sp.N) for e in expressions]

    @functools.cache
    def function(backend: str) -> Callable[..., Sequence[Array]]:
        return sp.lambdify(list(arguments), floating, modules=backend, cse=True)

    def call(given: Operands) -> tuple[Array, ...]:
        values = [given[name] for name in names]
        with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
            results = function(given.xp.__name__)(*values)
        return given.broadcast(*results)

    return call
