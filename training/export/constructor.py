"""The source of a call that makes a layer of PyTorch with its present widths: "nn.Conv2d(3, 16, 3, padding=1)"."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from training.errors import InputError

__all__ = ["constructor"]

#: Arguments for which one number means the same in every direction.
_SIZES = {"kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"}


def constructor(layer: nn.Module) -> str:
    """Return the source of a call that makes a layer of the same kind and shapes; defaults are left out.

    Layers of PyTorch keep what they were made with under the argument's name. Whether the call makes the right layer
    is not taken on trust: an export loads the weights into it and compares the outputs.

    Raises:
        InputError: for a layer that is none of `torch.nn`'s, or that does not keep what it was made with.

    Example:
        >>> constructor(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)), constructor(nn.MaxPool2d(2))
        ('nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)', 'nn.MaxPool2d(2)')
    """
    kind = type(layer)
    if getattr(nn, kind.__name__, None) is not kind:
        raise InputError(f"layer {kind.__name__} cannot be written as plain source: it is not one of torch.nn's")
    arguments = []
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        if name in ("device", "dtype"):
            continue
        required = parameter.default is parameter.empty
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or (
            required and name not in vars(layer)
        ):
            raise InputError(f"layer {kind.__name__} cannot be written as plain source: it does not keep {name!r}")
        value = _value(layer, name, parameter.default)
        if required:
            arguments.append(repr(value))
        elif value != parameter.default and not _follows(layer, name, value, parameter.default):
            arguments.append(f"{name}={value!r}")
    return f"nn.{kind.__name__}({', '.join(arguments)})"


def _follows(layer: nn.Module, name: str, value: Any, default: Any) -> bool:
    """Return whether an argument that was not given is the kernel's size: a pool's stride, never a convolution's."""
    return name == "stride" and default is None and value == _value(layer, "kernel_size", None)


def _value(layer: nn.Module, name: str, default: Any) -> Any:
    """Return the argument of this name that the layer was made with."""
    value = getattr(layer, name, default)
    if name == "bias":
        return isinstance(value, Tensor) or value is True
    if name in _SIZES and isinstance(value, tuple) and len(set(value)) == 1:
        return value[0]
    return value
