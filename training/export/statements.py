"""A traced network as lines of source: which steps share a line, what the values between lines are called.

Evaluation order is kept: a step is written inside the one that uses it only where nothing else would come between.
"""

from __future__ import annotations

import builtins
import inspect
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from training.errors import InputError
from training.export.trace import block_of, module_of
from training.gates import Weighted

__all__ = ["Statement", "statements"]

#: Longest expression on one line.
_LONGEST = 95

#: In-place forms give the same value; an export compares the outputs all the same.
_OPERATORS = {
    **{operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/"},
    **{operator.iadd: "+", operator.isub: "-", operator.imul: "*", operator.itruediv: "/"},
    **{operator.matmul: "@", operator.pow: "**", operator.floordiv: "//", operator.mod: "%"},
}


@dataclass(frozen=True)
class Statement:
    """One line of a forward pass.

    Attributes:
        text: of the line.
        block: path of the block that it lies in, empty where it lies directly in the network.
    """

    text: str
    block: str


def statements(network: nn.Module, graph: fx.Graph, attributes: Mapping[str, str]) -> list[Statement]:
    """The forward pass line by line, ending in its return.

    Args:
        network: that was traced.
        graph: of it, from `trace`.
        attributes: path of each layer or tensor in the network → its name in the source.

    Raises:
        InputError: for a function or a constant that has no plain form.
    """
    lines, inside = _lines(network, graph, attributes)
    last_use: dict[fx.Node, int] = {}
    for at, root in enumerate(lines):
        last_use |= dict.fromkeys(_reads(root, inside), at)
    names, free, written = {}, ["w", "v", "u", "z", "y", "x"], []
    for node in graph.nodes:
        if node.op == "placeholder":
            names[node] = "images"
    for at, root in enumerate(lines):
        text = _text(root, names, inside, attributes)
        for node in _reads(root, inside):
            if last_use[node] == at and names[node] != "images":
                free.append(names[node])
        free.sort(key="wvuzyx".find)
        if root.op == "output":
            text = f"return {text}"
        elif root.users:
            names[root] = free.pop() if free else f"x{at}"
            text = f"{names[root]} = {text}"
        written.append(Statement(text, "" if root.op == "output" else block_of(network, root)))
    return written


def _lines(
    network: nn.Module, graph: fx.Graph, attributes: Mapping[str, str]
) -> tuple[list[fx.Node], set[fx.Node]]:
    """The steps that end a line, in order, and those that are written inside others.

    A step used once waits until its user comes; it is written inside it if it was the last one to wait. A layer
    with weights begins a line, a new block too.
    """
    lines: list[fx.Node] = []
    waiting: list[fx.Node] = []
    inside: set[fx.Node] = set()

    def flush() -> None:
        lines.extend(waiting)
        waiting.clear()

    for node in graph.nodes:
        if node.op == "placeholder":
            continue
        if waiting and node.op != "output" and block_of(network, node) != block_of(network, waiting[-1]):
            flush()
        wanted = [given for given in _given(node) if given in waiting]  # twice if it is read twice
        if wanted:
            text = _text(node, {}, inside | set(wanted), attributes)
            starts = isinstance(module_of(network, node), Weighted)
            if starts or waiting[-len(wanted) :] != wanted or len(text) > _LONGEST:
                flush()
            else:
                del waiting[-len(wanted) :]
                inside.update(wanted)
        if len(node.users) == 1:
            waiting.append(node)
        else:
            flush()
            lines.append(node)
    return lines, inside


def _given(node: fx.Node) -> list[fx.Node]:
    """The steps that a step reads, as often as it reads them, in the order of its arguments."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return found


def _reads(root: fx.Node, inside: set[fx.Node]) -> list[fx.Node]:
    """The values of earlier lines that a line reads."""
    found: list[fx.Node] = []
    for node in root.all_input_nodes:
        found += _reads(node, inside) if node in inside else [node]
    return list(dict.fromkeys(found))


def _text(node: fx.Node, names: Mapping[fx.Node, str], inside: set[fx.Node], attributes: Mapping[str, str]) -> str:
    """Source of one step, with the steps inside it; values without a name yet are called x."""

    def value(argument: Any, tight: bool = False) -> str:
        if isinstance(argument, fx.Node):
            if argument not in inside:
                return names.get(argument, "x")
            text = _text(argument, names, inside, attributes)
            return f"({text})" if tight and _is_operation(argument) else text
        if isinstance(argument, tuple | list):
            parts = ", ".join(value(part) for part in argument)
            return f"[{parts}]" if isinstance(argument, list) else f"({parts}{',' * (len(argument) == 1)})"
        return _constant(argument, value)

    if node.op == "output":
        return value(node.args[0])
    if node.op == "get_attr":
        return f"self.{attributes[str(node.target)]}"
    args, kwargs = node.args, _told(node)
    if node.op == "call_function" and node.target in _OPERATORS:
        return f"{value(args[0], True)} {_OPERATORS[node.target]} {value(args[1], True)}"  # type: ignore[index]
    if node.target is operator.neg:
        return f"-{value(args[0], True)}"
    if node.target is operator.getitem:
        return f"{value(args[0], True)}[{_index(args[1], value)}]"
    if node.target is builtins.getattr:
        return f"{value(args[0], True)}.{args[1]}"
    if node.op == "call_method":
        called, args = f"{value(args[0], True)}.{node.target}", args[1:]
    else:
        called = f"self.{attributes[str(node.target)]}" if node.op == "call_module" else _function(node.target)
    given = [value(argument) for argument in args] + [f"{name}={value(told)}" for name, told in kwargs.items()]
    return f"{called}({', '.join(given)})"


def _is_operation(node: fx.Node) -> bool:
    return node.op == "call_function" and (node.target in _OPERATORS or node.target is operator.neg)


def _told(node: fx.Node) -> dict[str, Any]:
    """Named arguments, without those that are the default anyway."""
    if not callable(node.target):
        return dict(node.kwargs)
    try:
        known = inspect.signature(node.target).parameters
    except (TypeError, ValueError):  # built in
        return dict(node.kwargs)
    return {name: told for name, told in node.kwargs.items() if name not in known or told != known[name].default}


def _function(target: Any) -> str:
    name = getattr(target, "__name__", "")
    for prefix, space in (("F", F), ("torch", torch)):
        if name and getattr(space, name, None) is target:
            return f"{prefix}.{name}"
    raise InputError(f"function {name or target!r} cannot be written as plain source: it is none of torch's")


def _index(index: Any, value: Any) -> str:
    """What stands between the brackets: ":, ::2"."""
    if isinstance(index, tuple) and index:
        return ", ".join(_index(part, value) for part in index)
    if isinstance(index, slice):
        start, stop, step = ("" if part is None else value(part) for part in (index.start, index.stop, index.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return value(index)


def _constant(constant: Any, value: Any) -> str:
    if constant is ...:
        return "..."
    if isinstance(constant, float) and not math.isfinite(constant):
        return f'float("{constant}")'
    if constant is None or isinstance(constant, bool | int | float | str | torch.dtype):
        return repr(constant)
    if isinstance(constant, slice):
        return f"slice({', '.join(value(part) for part in (constant.start, constant.stop, constant.step))})"
    raise InputError(f"constant {constant!r} cannot be written as plain source")
