"""Tracing gives a network as one flat list of the layers and functions that it executes: no gates, no blocks.

Tracing is torch.fx's; what is left out changes no value: gate sites (they pass everything through where no mask is
set), `nn.Identity`, and a ReLU of a ReLU, which is what a block that lost its branch is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from training.errors import InputError, first_line
from training.gating.sites import GateSite

__all__ = ["block_of", "module_of", "trace"]

#: Functions that are a ReLU.
_RELUS = (F.relu, torch.relu)


class _Proxy(fx.Proxy):
    """Stand-in for a tensor while tracing that says it is one: signatures may be checked at run time."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return Tensor


class _Tracer(fx.Tracer):
    """Tracer that enters every module but PyTorch's own and gate sites."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, GateSite) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_arg(self, a: Any) -> Any:
        if issubclass(type(a), fx.Proxy):  # before anything asks whether it is a tensor
            return a.node
        return super().create_arg(a)


def trace(network: nn.Module) -> fx.Graph:
    """Return what the network executes, in order.

    Args:
        network: without masks, in the mode (training or evaluation) in which it is to be traced. Takes one tensor
            and returns one.

    Raises:
        InputError: for a network whose path depends on the values or the number of its images, or that takes or
            returns something else.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # whatever a forward pass may do with something that is no real tensor
        reason = first_line(error)
        raise InputError(
            f"network {type(network).__name__} cannot be written as plain source, it must do the same for all images:"
            f" {reason}"
        ) from error
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    output = graph.output_node().args[0]
    if len(inputs) != 1 or not isinstance(output, fx.Node):
        raise InputError(f"network {type(network).__name__} must take one tensor and return one")
    for node in list(graph.nodes):
        if _passes_through(network, node):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
    return graph


def module_of(network: nn.Module, node: fx.Node) -> nn.Module | None:
    """Return the layer that a step of the graph calls; None if it calls none."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def block_of(network: nn.Module, node: fx.Node) -> str:
    """Return the path of the outermost block that a step lies in; empty where it lies directly in the network.

    Plain sequences do not count as blocks, only what is in them does.
    """
    if node.op == "call_module":
        path = str(node.target)
    else:  # (path, class) of each module that the step lies in, the innermost last
        path, _ = next(reversed(node.meta.get("nn_module_stack", {}).values()), ("", None))
    parts = path.split(".") if path else []
    for length in range(1, len(parts) + 1):
        prefix = ".".join(parts[:length])
        module = network.get_submodule(prefix)
        if not isinstance(module, nn.Sequential):
            return "" if node.op == "call_module" and length == len(parts) else prefix
    return ""


def _passes_through(network: nn.Module, node: fx.Node) -> bool:
    module = module_of(network, node)
    if isinstance(module, GateSite | nn.Identity):
        return True
    return _is_relu(network, node) and _is_relu(network, node.all_input_nodes[0])


def _is_relu(network: nn.Module, node: fx.Node) -> bool:
    return isinstance(module_of(network, node), nn.ReLU) or (node.op == "call_function" and node.target in _RELUS)
