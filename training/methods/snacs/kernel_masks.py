"""Kernels held at zero: what is pruned within a layer and cannot leave it, because other kernels of its filters stay.

A kernel joins one child filter with one parent (`training.methods.snacs.layers`). Its weights stay in their tensors as
zeros: they cost what they did, in time and in counted multiply–accumulates, until a whole filter is without use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from training.gating.gates import Gates
from training.gating.sites import UnitGroup, Weighted

__all__ = ["KernelMasks", "unused", "zero_kernels"]


class KernelMasks:
    """Which kernels are there.

    Args:
        network: the layers are in; gated.
        kept: name of a layer → which of its kernels stay. [child, parent]

    Attributes:
        kept: of the layers as they are, on the network's device.
    """

    def __init__(self, network: nn.Module, kept: dict[str, Bool[Tensor, "_ _"]]) -> None:
        self.network, self.kept = network, {}
        for name, mask in kept.items():
            self.kept[name] = mask.to(self._layer(name).weight.device)

    def _layer(self, name: str) -> Weighted:
        layer = self.network.get_submodule(name)
        assert isinstance(layer, Weighted)
        return layer

    @torch.no_grad()
    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """Make masked weights zero, and the optimizer's state of them, so that momentum and decay have nothing to move.

        Args:
            optimizer: of the network's weights.
        """
        for name, kept in self.kept.items():
            weight = self._layer(name).weight
            held = [value for value in optimizer.state.get(weight, {}).values() if isinstance(value, Tensor)]
            for values in [weight, *(value for value in held if value.shape == weight.shape)]:
                zero_kernels(values, kept)

    def follow(self, groups: Sequence[UnitGroup], kept: Sequence[Tensor]) -> None:
        """Lose the rows and columns of units that have left, and the layers that have.

        Args:
            groups: of the units, as they were before the removal.
            kept: of each group, the former places of the units that are left.
        """
        present = {module: name for name, module in self.network.named_modules()}
        self.kept = {name: mask for name, mask in self.kept.items() if name in present.values()}
        for group, index in zip(groups, kept, strict=True):
            for layer, dim in [(group.producer, 0), *((consumer, 1) for consumer in group.consumers)]:
                mask = self.kept.get(name := present.get(layer, ""))
                if mask is not None:
                    self.kept[name] = mask.index_select(dim, index.to(mask.device))

    def counts(self) -> dict[str, int]:
        """Return the kernels that are there in the masked layers, and the weights that are held at zero."""
        held = sum(
            int((~mask).sum()) * (self._layer(name).weight[0].numel() // mask.shape[1])
            for name, mask in self.kept.items()
        )
        return {
            "kernels_on": sum(int(mask.sum()) for mask in self.kept.values()),
            "weights_held": held,
        }


def zero_kernels(values: Tensor, kept: Bool[Tensor, "child parent"]) -> None:
    """Make all but some kernels zero, in place, whatever the memory format.

    Args:
        values: weights of a layer, or what has their shape. [child, parent · columns, ...]
        kept: which kernels stay.

    Example:
        >>> weight = torch.ones(2, 4)
        >>> zero_kernels(weight, torch.tensor([[True, False], [True, True]]))
        >>> weight
        tensor([[1., 1., 0., 0.],
                [1., 1., 1., 1.]])
    """
    each = values.unflatten(1, (kept.shape[1], -1))
    each.mul_(kept.view(*kept.shape, *(1,) * (each.dim() - 2)))


def unused(
    gates: Gates, kept: dict[Weighted, Bool[np.ndarray, "_ _"]], spared: Bool[np.ndarray, " unit"]
) -> Bool[np.ndarray, " gate"]:
    """Return the units that read nothing, or that nothing reads: what can leave though only kernels were pruned.

    A unit that nothing reads changes no output. One that reads nothing says nothing about the image: it is a constant
    c ≥ 0, the ReLU of its bias, normalised. Units that only such units read, or that read only such units, are among
    them.

    The constant is not folded into the layers behind: padding makes what a convolution adds for it differ at borders,
    where no shift could stand in for it. So where c > 0 the function changes as the unit leaves: each output of a layer
    that reads it loses c times the sum of its kernel (at borders, of the part on the image). A normalisation there
    takes what is the same at all positions away in training; retraining absorbs the rest. Where c = 0 nothing changes.

    Args:
        gates: of the network.
        kept: kernels that are left, by layer; a layer that is not named has all.
        spared: units that stay whatever is left of their kernels.
    """
    sizes = gates.sizes[: len(gates.groups)]
    alive = [np.ones(size, bool) for size in sizes]
    stay = np.split(spared, np.cumsum(sizes)[:-1])
    before = {consumer: i for i, group in enumerate(gates.groups) for consumer in group.consumers}
    behind = {group.producer: i for i, group in enumerate(gates.groups)}

    def joined(layer: Weighted) -> np.ndarray | None:
        """Return the kernels of a layer between filters that are alive."""
        if layer not in kept:
            return None
        mask = kept[layer].copy()
        if layer in before:
            mask &= alive[before[layer]][None, :]
        if layer in behind:
            mask &= alive[behind[layer]][:, None]
        return mask

    while True:
        then = [part.copy() for part in alive]
        for i, group in enumerate(gates.groups):
            reads = _any([joined(group.producer)], 1, sizes[i])
            is_read = _any([joined(consumer) for consumer in group.consumers], 0, sizes[i])
            alive[i] = (reads & is_read) | stay[i]
        if all((a == b).all() for a, b in zip(then, alive, strict=True)):
            return np.concatenate([*(~part for part in alive), np.zeros(len(gates.residual), bool)])


def _any(masks: Iterable[np.ndarray | None], axis: int, size: int) -> np.ndarray:
    """For each unit, whether one of its kernels is left; a layer without a mask has all."""
    found = np.zeros(size, bool)
    for mask in masks:
        found |= True if mask is None else mask.any(axis)
    return found
