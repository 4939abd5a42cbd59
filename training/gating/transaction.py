"""A removal is finished or undone: what it changed is put back if anything fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from training.gating.gates import Gates

__all__ = ["all_or_nothing"]


@contextmanager
def all_or_nothing(network: nn.Module, optimizer: torch.optim.Optimizer | None, gates: Gates) -> Iterator[None]:
    """Put a network, its optimizer and its gates back to what they were if anything is raised inside.

    A removal makes new tensors and leaves the old ones as they are, so that it is enough to remember which stood
    where: nothing is copied.

    Args:
        network: whose modules, parameters, buffers and attributes are remembered.
        optimizer: whose parameter lists and state are remembered; None if there is none.
        gates: of the network.
    """
    modules = [(module, _contents(vars(module))) for module in {*network.modules(), *gates.modules()}]
    theta, data, gradient = gates.theta, gates.theta.data, gates.theta.grad
    lists = [list(group["params"]) for group in optimizer.param_groups] if optimizer is not None else []
    state = dict(optimizer.state) if optimizer is not None else {}
    try:
        yield
    except BaseException:
        for module, contents in modules:
            vars(module).clear()
            vars(module).update(contents)
        theta.data, theta.grad = data, gradient
        if optimizer is not None:
            for group, parameters in zip(optimizer.param_groups, lists, strict=True):
                group["params"] = parameters
            optimizer.state.clear()
            optimizer.state.update(state)
        raise


def _contents(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a module's attributes; of the containers among them, copies: a removal may change these in place."""
    return {name: value.copy() if type(value) in _CONTAINERS else value for name, value in attributes.items()}


_CONTAINERS = (dict, list, set)
