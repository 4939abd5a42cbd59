"""Activations are multiplied by masks in as few passes over memory as PyTorch's own operations allow.

Outside its convolutions a training step on small images is bound by memory: a gate costs what its passes cost. Left to
autograd, ξ·relu(x) keeps one tensor more than relu(x) and needs two passes more on the way back. Here each is one
function with its own derivative; on a CPU its operations go over the batch in parts that stay in the cache from one
operation to the next.

The mask's gradient is a sum over pixels, Σ g·relu(x) or Σ g·r, also where ξ = 0: estimators need the slope there. Masks
may be any numbers. The functions called `reference_…` say the same in plain words, and are what the others are tested
against; they also stand in where a compiler fuses operations by itself, and where shapes broadcast.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["masked", "masked_add_relu", "masked_relu", "reference_masked_add_relu", "reference_masked_relu"]

#: Numbers in a part of the batch, a thread: a part of two or three tensors fits into a core's cache, more or less.
_CACHED = 2**19


def masked(x: Float[Tensor, "batch channels ..."], mask: Float[Tensor, "rows columns"]) -> Tensor:
    """Return ξ·x, each channel (or, with one column, each sample) by its own mask.

    Args:
        x: activations.
        mask: ξ, [batch or 1, channels or 1]; rounded to the dtype of `x`, so that bfloat16 stays bfloat16.
    """
    return x * _beside(mask, x)


def masked_relu(x: Float[Tensor, "batch channels ..."], mask: Float[Tensor, "rows columns"]) -> Tensor:
    """Return ξ·relu(x), which can be differentiated once; see `masked`.

    Example:
        >>> x, mask = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 1.0, 0.0]], requires_grad=True)
        >>> masked_relu(x, mask).sum().backward()
        >>> mask.grad
        tensor([[1., 2., 3.]])
    """
    if torch.compiler.is_compiling() or not _fits(mask, x):
        return reference_masked_relu(x, mask)
    return _MaskedReLU.apply(x, mask)


def masked_add_relu(
    shortcut: Float[Tensor, "#batch #channels ..."],
    x: Float[Tensor, "#batch #channels ..."],
    mask: Float[Tensor, "rows columns"],
) -> Tensor:
    """Return relu(shortcut + ξ·x), which can be differentiated once; see `masked`."""
    alike = shortcut.shape == x.shape and shortcut.dtype == x.dtype
    if torch.compiler.is_compiling() or not alike or not _fits(mask, x):
        return reference_masked_add_relu(shortcut, x, mask)
    return _MaskedAddReLU.apply(shortcut, x, mask)


def reference_masked_relu(x: Tensor, mask: Tensor) -> Tensor:
    """Return what `masked_relu` does, its derivative left to autograd."""
    return masked(F.relu(x), mask)


def reference_masked_add_relu(shortcut: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """Return what `masked_add_relu` does, its derivative left to autograd."""
    return F.relu(shortcut + masked(x, mask))


class _MaskedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(x, mask)
        out = torch.empty_like(x)
        for some, xi, into in _parts(x, _each(mask, x), out):
            torch.clamp_min(some, 0, out=into).mul_(xi)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        x, mask = ctx.saved_tensors
        out, slopes = torch.empty_like(x), []
        factor = _each(mask, x)
        for g, some, xi, into in _parts(gradient, x, factor, out):
            _threshold_backward(g, some, 0, grad_input=into)  # g where x > 0
            if ctx.needs_input_grad[1]:
                slopes.append(_slope(into * some, mask))  # g·relu(x)
            into.mul_(xi)
        return out, _joined(slopes, mask)


class _MaskedAddReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shortcut: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        out = torch.empty_like(x)
        factor = _each(mask, x)
        for beside, some, xi, into in _parts(shortcut, x, factor, out):
            torch.addcmul(beside, some, xi, out=into).clamp_min_(0)
        ctx.save_for_backward(x, mask, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        x, mask, y = ctx.saved_tensors
        to_shortcut, to_x, slopes = torch.empty_like(x), torch.empty_like(x), []
        factor = _each(mask, x)
        for g, some, result, xi, through, into in _parts(gradient, x, y, factor, to_shortcut, to_x):
            _threshold_backward(g, result, 0, grad_input=through)
            if ctx.needs_input_grad[2]:
                slopes.append(_slope(torch.mul(through, some, out=into), mask))
            torch.mul(through, xi, out=into)
        return to_shortcut, to_x, _joined(slopes, mask)


_threshold_backward = torch.ops.aten.threshold_backward.grad_input


def _parts(like: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Return the same parts of the batch of every tensor; all of it at once on a GPU."""
    step = max(1, len(like))
    if like.device.type == "cpu":
        step = max(1, _CACHED * torch.get_num_threads() * len(like) // max(1, like.numel()))
    if step >= len(like):
        return iter([(like, *others)])
    return zip(like.split(step), *(other.split(step) for other in others), strict=True)


def _ones(x: Tensor) -> tuple[int, ...]:
    return (1,) * (x.dim() - 2)


def _beside(mask: Tensor, x: Tensor) -> Tensor:
    """Return the mask with one entry for every pixel: [batch or 1, channels or 1, 1, ...]."""
    return mask.to(x.dtype).view(*mask.shape, *_ones(x))


def _each(mask: Tensor, x: Tensor) -> Tensor:
    """Return `_beside` with a row for every sample."""
    return _beside(mask, x).expand(len(x), -1, *_ones(x))


def _fits(mask: Tensor, x: Tensor) -> bool:
    """Return whether a mask changes nothing about the shape."""
    return mask.shape[0] in (1, x.shape[0]) and mask.shape[1] in (1, x.shape[1])


def _slope(product: Tensor, mask: Tensor) -> Tensor:
    """Return a part's products summed over pixels, and over channels that share a mask. [part, channels or 1]"""
    shared = [*range(2, product.dim())]
    if mask.shape[1] == 1:
        shared.append(1)
    if not shared:
        return product.to(mask.dtype, copy=True)  # the products lie in a buffer that is used again
    return product.sum(shared, dtype=mask.dtype).view(len(product), -1)


def _joined(slopes: list[Tensor], mask: Tensor) -> Tensor | None:
    """Return the mask's gradient from those of the parts of the batch; None if it was not asked for."""
    if not slopes:
        return None
    whole = torch.cat(slopes) if len(slopes) > 1 else slopes[0]
    return whole if mask.shape[0] == len(whole) else whole.sum(0, keepdim=True)
