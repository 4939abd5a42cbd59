"""An optimizer's parameters and state follow when parameters are replaced by shorter ones or removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from training.errors import InputError

__all__ = ["OptimizerState", "select"]


class OptimizerState:
    """Parameter lists and state of an optimizer, kept in step with the network.

    Args:
        optimizer: any whose state is, for each parameter, tensors of its shape and single numbers (SGD with momentum,
            Adam and its kin); or None, and nothing is kept.

    Raises:
        InputError: for state of another shape, whose rows cannot be matched to the parameter's, or of another kind.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None) -> None:
        self.optimizer = optimizer
        for parameter, entries in optimizer.state.items() if optimizer is not None else ():
            for name, value in entries.items():
                if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                    shapes = f"{list(value.shape)} for a parameter of {list(parameter.shape)}"
                    raise InputError(f"optimizer state {name!r} must have the parameter's shape; got {shapes}")
                if value is not None and not isinstance(value, Tensor | int | float | str):
                    kind = type(value).__name__
                    raise InputError(f"optimizer state {name!r} must be tensors and single numbers; got a {kind}")

    def replace(self, old: nn.Parameter, new: nn.Parameter, cut: Callable[[Tensor], Tensor]) -> None:
        """Put `new` where `old` was, its state cut like the parameter."""
        if self.optimizer is None:
            return
        for group in self.optimizer.param_groups:
            group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
        entries = self.optimizer.state.pop(old, None)
        if entries is not None:
            self.optimizer.state[new] = {
                name: cut(value) if isinstance(value, Tensor) and value.dim() else value
                for name, value in entries.items()
            }

    def forget(self, gone: Iterable[nn.Parameter]) -> None:
        """Drop parameters that no longer exist."""
        ids = {id(parameter) for parameter in gone}
        if self.optimizer is None or not ids:
            return
        for group in self.optimizer.param_groups:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in ids]
        for parameter in [p for p in self.optimizer.state if id(p) in ids]:
            del self.optimizer.state[parameter]


def select(values: Tensor, dim: int, kept: Tensor) -> Tensor:
    """Return the entries at `kept` along a dimension, in the memory format that the tensor had."""
    chosen = values.index_select(dim, kept)
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return chosen.contiguous(memory_format=torch.channels_last)
    return chosen
