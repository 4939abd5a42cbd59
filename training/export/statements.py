"""A traced network becomes lines of source: which steps share a line, and how values between lines are named.

Evaluation order is kept: a step is written inside the one that uses it only where nothing else would come between.
"""

from __future__ import annotations

import builtins
import inspect
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from training.errors import InputError
from training.export.trace import block_of, module_of
from training.gating.sites import Weighted

__all__ = ["Statement", "statements"]

#: Longest expression on one line.
_LONGEST = 95

#: Of values between lines; a value takes the first that is free.
_NAMES = ("x", "y", "z", "u", "v", "w")

#: In-place forms give the same value; an export compares the outputs all the same.
_OPERATORS = {
    **dict.fromkeys((operator.add, operator.iadd), "+"),
    **dict.fromkeys((operator.sub, operator.isub), "-"),
    **dict.fromkeys((operator.mul, operator.imul), "*"),
    **dict.fromkeys((operator.truediv, operator.itruediv), "/"),
    operator.matmul: "@",
    operator.pow: "**",
    operator.floordiv: "//",
    operator.mod: "%",
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
    """Return the forward pass line by line, ending in its return.

    Args:
        network: that was traced.
        graph: of it, from `trace`; its input is called `images`.
        attributes: path of each layer or tensor in the network → its name in the source.

    Raises:
        InputError: for a function or a constant that has no plain form.
    """
    writer = _Writer(attributes)
    lines = _lines(network, graph, writer)
    last_use: dict[fx.Node, int] = {}
    for at, root in enumerate(lines):
        last_use |= dict.fromkeys(writer.reads(root), at)
    writer.names = {node: "images" for node in graph.nodes if node.op == "placeholder"}
    free, written = list(_NAMES), []
    for at, root in enumerate(lines):
        text = writer.step(root)
        # Names of values that are read for the last time here are free again, for this line's own value already.
        done = {writer.names[node] for node in writer.reads(root) if last_use[node] == at}
        free = [name for name in _NAMES if name in free or name in done]
        if root.op == "output":
            text = f"return {text}"
        elif root.users:
            writer.names[root] = free.pop(0) if free else f"x{at}"
            text = f"{writer.names[root]} = {text}"
        written.append(Statement(text, "" if root.op == "output" else block_of(network, root)))
    return written


def _lines(network: nn.Module, graph: fx.Graph, writer: _Writer) -> list[fx.Node]:
    """Return the steps that end a line, in order; the writer is told which are written inside others.

    A step that is used once waits for the step that uses it, and is written inside it if it was the last one to wait.
    A layer with weights begins a line, a new block too.
    """
    lines: list[fx.Node] = []
    waiting: list[fx.Node] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            continue
        wanted = [given for given in _given(node) if given in waiting]  # twice if it is read twice
        entering = node.op != "output" and waiting and block_of(network, node) != block_of(network, waiting[-1])
        fits = not entering and waiting[len(waiting) - len(wanted) :] == wanted
        if wanted and fits:
            writer.inside.update(wanted)
            fits = not isinstance(module_of(network, node), Weighted) and len(writer.step(node)) <= _LONGEST
            if not fits:
                writer.inside.difference_update(wanted)
        if fits:
            del waiting[len(waiting) - len(wanted) :]
        if not fits or len(node.users) != 1:
            lines += waiting
            waiting = []
        (waiting if len(node.users) == 1 else lines).append(node)
    return lines


def _given(node: fx.Node) -> list[fx.Node]:
    """Return the steps that a step reads, as often as it reads them, in the order of its arguments."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return found


class _Writer:
    """Writer of steps as expressions.

    Args:
        attributes: path of each layer or tensor in the network → its name in the source.

    Attributes:
        names: of values; one without a name yet is called x.
        inside: steps that are written inside the one that uses them.
    """

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = attributes
        self.names: dict[fx.Node, str] = {}
        self.inside: set[fx.Node] = set()

    def reads(self, root: fx.Node) -> list[fx.Node]:
        """Return the values of earlier lines that a line reads."""
        found: list[fx.Node] = []
        for node in root.all_input_nodes:
            found += self.reads(node) if node in self.inside else [node]
        return found

    def step(self, node: fx.Node) -> str:
        """Return the source of one step, with the steps inside it."""
        args, kwargs = list(node.args), _told(node)
        if node.op == "output":
            return self.value(args[0])
        if node.op == "get_attr":
            return f"self.{self.attributes[str(node.target)]}"
        if node.op == "call_function" and node.target in _OPERATORS:
            return f"{self.operand(args[0])} {_OPERATORS[node.target]} {self.operand(args[1])}"
        if node.target is operator.neg:
            return f"-{self.operand(args[0])}"
        if node.target is operator.getitem:
            return f"{self.operand(args[0])}[{self.index(args[1])}]"
        if node.target is builtins.getattr:
            return f"{self.operand(args[0])}.{args[1]}"
        if node.op == "call_method":
            called = f"{self.operand(args.pop(0))}.{node.target}"
        elif node.op == "call_module":
            called = f"self.{self.attributes[str(node.target)]}"
        else:
            called = _function(node.target)
        given = [self.value(argument) for argument in args]
        return f"{called}({', '.join(given + [f'{name}={self.value(told)}' for name, told in kwargs.items()])})"

    def operand(self, argument: Any) -> str:
        """Return the source of an operator's argument, or of what a method is called on."""
        text = self.value(argument)
        if isinstance(argument, fx.Node):
            return f"({text})" if argument in self.inside and _is_operation(argument) else text
        return f"({text})" if text.startswith("-") else text

    def value(self, argument: Any) -> str:
        """Return the source of an argument: a step, a constant, or several of these."""
        if isinstance(argument, fx.Node):
            return self.step(argument) if argument in self.inside else self.names.get(argument, "x")
        if isinstance(argument, tuple | list):
            parts = ", ".join(self.value(part) for part in argument)
            return f"[{parts}]" if isinstance(argument, list) else f"({parts}{',' * (len(argument) == 1)})"
        if isinstance(argument, slice):
            return f"slice({', '.join(self.value(part) for part in (argument.start, argument.stop, argument.step))})"
        return _constant(argument)

    def index(self, index: Any) -> str:
        """Return the source of what stands between brackets: ":, ::2"."""
        if isinstance(index, tuple) and index:
            return ", ".join(self.index(part) for part in index)
        if isinstance(index, slice):
            parts = ["" if part is None else self.value(part) for part in (index.start, index.stop, index.step)]
            return ":".join(parts if parts[2] else parts[:2])
        return self.value(index)


def _is_operation(node: fx.Node) -> bool:
    return node.op == "call_function" and (node.target in _OPERATORS or node.target is operator.neg)


def _told(node: fx.Node) -> dict[str, Any]:
    """Return the named arguments that differ from their defaults, as source."""
    if not node.kwargs or not callable(node.target):
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
    raise InputError(f"function {name or target!r} cannot be written as plain source: it is not one of torch's")


def _constant(constant: Any) -> str:
    if constant is ...:
        return "..."
    if isinstance(constant, float) and not math.isfinite(constant):
        return f'float("{constant}")'
    if constant is None or isinstance(constant, bool | int | float | str | torch.dtype):
        return repr(constant)
    raise InputError(f"constant {constant!r} cannot be written as plain source")
