r"""Batch normalisation with the statistics of all processes' batches, as if one process had them all.

With x̂ = (x − μ)/√(σ² + ε) and y = γx̂ + β, μ and σ² of the whole batch, and ⟨·⟩ the mean over batch and positions,

    ∂L/∂x = γ/√(σ² + ε) · (∂L/∂y − ⟨∂L/∂y⟩ − x̂⟨x̂ ∂L/∂y⟩).

Each rank sends mean and variance of its share, and on the way back its sums of ∂L/∂y and x̂ ∂L/∂y: a message each, of
two numbers a channel. The gradients of γ and β are its share's; `training.runtime.process_group` averages them with all
the others.

torch's own `SyncBatchNorm` refuses tensors on the CPU, and is no `BatchNorm2d`, which gates and removal look for.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, distributed, nn

__all__ = ["SynchronisedBatchNorm1d", "SynchronisedBatchNorm2d", "synchronise"]


def synchronise(network: nn.Module) -> None:
    """Make every batch normalisation of a network use the statistics of all processes' batches, in place.

    Parameters, buffers, names and hooks stay; the modules are still `BatchNorm1d` and `BatchNorm2d`. Without a
    process group, in one of a single process, and in evaluation they do what they did before. While they train, all
    ranks must bring batches of one shape through the same modules in the same order.

    Raises:
        TypeError: for a normalisation over the batch of another kind.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for module in norms:
        if type(module) not in (*_KINDS, *_KINDS.values()):
            raise TypeError(f"{type(module).__name__} cannot be synchronised: use BatchNorm1d or BatchNorm2d")
    for module in norms:
        # The class alone changes: whoever holds the module (a group, a branch, a hook) holds the synchronised one.
        module.__class__ = _KINDS.get(type(module), type(module))  # type: ignore[assignment]


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Training step with shared statistics; everything else is the base class's."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input [batch, channel, …], of the same shape."""
        if not (self.training and distributed.is_available() and distributed.is_initialized()):
            return super().forward(input)
        ranks = distributed.get_world_size()
        if ranks == 1:
            return super().forward(input)
        self._check_input_dim(input)
        output, mean, variance = _Normalise.apply(input, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._track(mean, variance, ranks * input.numel() // input.shape[1])
        return output

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics as torch does: of the variance, the unbiased one."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        factor = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        unbiased = variance * (count / (count - 1))
        for running, now in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.mul_(1 - factor).add_(now.to(running.dtype), alpha=factor)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """`BatchNorm1d` with the statistics of all processes' batches; made by `synchronise`."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """`BatchNorm2d` with the statistics of all processes' batches; made by `synchronise`."""


_KINDS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
}


class _Normalise(torch.autograd.Function):
    """(input, γ or None, β or None, ε) → (output, μ, σ²); in the backward pass L is the sum of all ranks' losses."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "batch channel *positions"],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        precise = x.to(torch.promote_types(x.dtype, torch.float32))  # sums over a batch in bfloat16 would be useless
        variance, mean = torch.var_mean(precise, _over(x), correction=0)  # [channel]
        own = torch.stack([mean, variance])  # [2, channel]
        every = own.new_empty(distributed.get_world_size(), *own.shape)
        distributed.all_gather(list(every), own)
        means, variances = every.unbind(1)  # [rank, channel]
        mean = means.mean(0)
        # Shares are equal, so that variances add with those of the means; E x² − μ² would cancel.
        variance = (variances + (means - mean).square()).mean(0)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.bias_type = eps, bias.dtype if bias is not None else None
        ctx.mark_non_differentiable(mean, variance)
        # Evaluation's kernel, told the batch's statistics.
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        over = _over(x)
        scale = (variance + ctx.eps).rsqrt()
        normalised = (x.to(mean.dtype) - _along(mean, x)) * _along(scale, x)  # x̂
        slope = slope.to(mean.dtype)  # ∂L/∂y
        products = torch.stack([slope.sum(over), (slope * normalised).sum(over)])  # [2, channel], of this share
        whole = products.clone()
        distributed.all_reduce(whole)
        first, second = whole / (distributed.get_world_size() * x.numel() // x.shape[1])
        inner = slope - _along(first, x) - normalised * _along(second, x)
        given = inner * _along(scale if weight is None else scale * weight, x)
        of_bias, of_weight = products
        return (
            given.to(x.dtype),
            of_weight.to(weight.dtype) if weight is not None else None,
            of_bias.to(ctx.bias_type) if ctx.bias_type is not None else None,
            None,
        )


def _over(x: Tensor) -> list[int]:
    """Return all dimensions but the channels'."""
    return [0, *range(2, x.dim())]


def _along(values: Tensor, x: Tensor) -> Tensor:
    """Return [channel] as [channel, 1, …], to broadcast over x."""
    return values.view(-1, *(1,) * (x.dim() - 2))
