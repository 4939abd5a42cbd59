"""The generator expressions of a scheme, written out for numba, which compiles none.

A scheme is written for states of any length: `tuple(x[i] + h * k[i] for i in COMPONENTS)`. For one system the length
is known, and the expression becomes `(x[0] + h * k[0], x[1] + h * k[1])`. Nothing else of the text changes but its
comments, which are lost.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping

__all__ = ["unroll"]


def unroll(source: str, ranges: Mapping[str, int]) -> str:
    """Return the source with every generator expression over a named range written out.

    A generator expression may be the one argument of `tuple`, `min`, `max` or `all`, the second of `reduce`, or
    starred in a tuple. `reduce` and `all` become nested calls and a conjunction.

    Args:
        source: Python code.
        ranges: for each name that is iterated over, how many items it has, ≥ 1.

    Example:
        >>> print(unroll("y = tuple(2 * x[i] for i in ALL)", {"ALL": 2}))
        y = (2 * x[0], 2 * x[1])
        >>> print(unroll("y = (*(x[i] for i in ALL), reduce(f, (x[i] for i in ALL)))", {"ALL": 3}))
        y = (x[0], x[1], x[2], f(f(x[0], x[1]), x[2]))
        >>> print(unroll("y = min(x[i] for i in ALL), all(x[i] > 0 for i in ALL)", {"ALL": 1}))
        y = (x[0], x[0] > 0)
    """
    return ast.unparse(ast.fix_missing_locations(_Unroll(ranges).visit(ast.parse(source))))


class _Unroll(ast.NodeTransformer):
    """Replaces generator expressions from the inside outwards."""

    def __init__(self, ranges: Mapping[str, int]) -> None:
        self.ranges = ranges

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        """Write out starred generator expressions among the items."""
        self.generic_visit(node)
        node.elts = [item for each in node.elts for item in (self._items(getattr(each, "value", None)) or [each])]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Write out a call whose last argument is a generator expression."""
        self.generic_visit(node)
        items = self._items(node.args[-1]) if node.args else []
        if not items or not isinstance(node.func, ast.Name):
            return node
        if node.func.id == "reduce":
            return _nested(node.args[0], items)
        if node.func.id == "tuple":
            return ast.Tuple(items, ast.Load())
        if len(items) == 1:
            return items[0]
        return ast.BoolOp(ast.And(), items) if node.func.id == "all" else ast.Call(node.func, items, [])

    def _items(self, node: ast.AST | None) -> list[ast.expr]:
        """Return the items of a generator expression over one of the ranges; none of anything else."""
        if not isinstance(node, ast.GeneratorExp):
            return []
        (loop,) = node.generators
        assert isinstance(loop.iter, ast.Name) and isinstance(loop.target, ast.Name) and not loop.ifs
        return [_Place(loop.target.id, i).visit(copy.deepcopy(node.elt)) for i in range(self.ranges[loop.iter.id])]


class _Place(ast.NodeTransformer):
    """Puts a number in place of a variable."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Return the number for the variable, anything else as it is."""
        return ast.Constant(self.value) if node.id == self.name else node


def _nested(function: ast.expr, items: list[ast.expr]) -> ast.expr:
    """Return f(f(f(first, second), third), …)."""
    result, *rest = items
    for item in rest:
        result = ast.Call(function, [result, item], [])
    return result
