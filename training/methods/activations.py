"""Activations of units on real images, as the layers behind them read them.

Read at the consumers' inputs, behind normalisation, activation, pooling and flattening: so for every network that can
be gated. The network is in evaluation mode, nothing in it changes, and the random streams of training are not touched.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.source import Source
from training.gating.gates import Gates

__all__ = ["activations", "fixed_images"]


def fixed_images(source: Source, count: int, seed: int) -> tuple[Float[Tensor, "image c h w"], Tensor]:
    """Return training images without augmentation, and their labels: the same ones whenever they are asked for.

    Args:
        source: the data.
        count: how many; at most all training images.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    count = min(count, len(source.train_labels))
    return next(source.batches(count, generator, augment=False, channels_last=True))


@torch.no_grad()
def activations(network: nn.Module, gates: Gates, images: Float[Tensor, "image c h w"]) -> list[Tensor]:
    """Return each unit's mean activation on each image, over the positions where it is read: per group [image, unit].

    Args:
        network: gated; left as it was, masks taken away.
        gates: of the network.
        images: on the network's device.
    """
    seen: dict[int, Tensor] = {}
    handles = []
    for i, group in enumerate(gates.groups):

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], i: int = i, units: int = group.site.count) -> None:
            seen[i] = inputs[0].flatten(1).unflatten(1, (units, -1)).mean(2)

        handles.append(group.consumers[0].register_forward_pre_hook(keep))
    training = network.training
    gates.open()
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return [seen[i] for i in range(len(gates.groups))]
