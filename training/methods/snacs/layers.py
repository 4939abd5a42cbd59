"""Consecutive layers as SNACS sees them: parent filters that a layer reads, child filters that it makes, its kernels.

A kernel joins one child with one parent: k·k weights of a convolution, one of a dense layer, or as many as a flattened
unit has columns. An activation is one number a filter and image, its mean over positions: of parents as the layer reads
them; of children behind normalisation and ReLU where they are gated units, otherwise the layer's own output. (Of a
normalisation alone nothing would be seen: everything here is computed from standardised activations.)

The first layer reads the image and the last one makes classes, which are no filters: their kernels are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dynamics.models.complexity import Structure
from training.errors import InputError
from training.gating.gates import Gates
from training.gating.sites import UnitGroup, Weighted
from training.methods.snacs.kernel_masks import zero_kernels

__all__ = ["Pair", "layers_of", "watch"]


@dataclass(frozen=True, eq=False)
class Pair:
    """A layer with the filters before and behind it.

    Attributes:
        name: of the layer's module in the network.
        layer: convolution or dense layer.
        parents: filters that it reads.
        source: the gated units that they are, None where they are others: channels of a residual stream, or pixels.
        target: the gated units that it makes, None where its outputs are not gated.
    """

    name: str
    layer: Weighted
    parents: int
    source: UnitGroup | None
    target: UnitGroup | None

    @property
    def children(self) -> int:
        """Return how many filters it makes."""
        return self.layer.weight.shape[0]

    def strength(self) -> Float[Tensor, "child parent"]:
        """Return mean absolute weight of every kernel."""
        return self.layer.weight.detach().unflatten(1, (self.parents, -1)).flatten(2).abs().mean(2)

    def read(self, inputs: Tensor) -> Float[Tensor, "image parent"]:
        """Return the parents' activations, from what the layer reads."""
        return inputs.flatten(1).unflatten(1, (self.parents, -1)).mean(2)

    def made(self, outputs: Tensor) -> Float[Tensor, "image child"]:
        """Return the children's activations, of what the layer makes; the normalisation must be in evaluation mode."""
        if self.target is not None:
            norm = self.target.norm
            outputs = F.relu(outputs if norm is None else norm(outputs))
        return outputs.flatten(1).unflatten(1, (self.children, -1)).mean(2)

    @contextmanager
    def without(self, kept: Bool[Tensor, "child parent"]) -> Iterator[None]:
        """Leave only some of the layer's kernels, for a while; then its weights are what they were, bit for bit."""
        whole = self.layer.weight.detach().clone()
        with torch.no_grad():
            zero_kernels(self.layer.weight, kept)
            try:
                yield
            finally:
                self.layer.weight.copy_(whole)


def layers_of(network: nn.Module, gates: Gates, structure: Structure) -> list[Pair]:
    """Return all layers in order of execution; SNACS prunes between the first and the last.

    Args:
        network: gated.
        gates: of the network.
        structure: of the network.

    Raises:
        InputError: for fewer than three layers, a grouped convolution, or a dense layer that reads more than one
            vector an image.
    """
    read = {consumer: group for group in gates.groups for consumer in group.consumers}
    made = {group.producer: group for group in gates.groups}
    found = []
    for layer in structure.layers:
        module = network.get_submodule(layer.name)
        if not isinstance(module, Weighted) or not layer.macs:
            continue  # a normalisation, or a layer that is never executed
        if isinstance(module, nn.Conv2d) and module.groups != 1:
            raise InputError(f"layer {layer.name!r} must be an ungrouped convolution; got {module.groups} groups")
        if isinstance(module, nn.Linear) and layer.macs != layer.weights:
            raise InputError(f"layer {layer.name!r} must read one vector an image; it is executed at several places")
        source = read.get(module)
        parents = module.weight.shape[1] if source is None else source.site.count
        found.append(Pair(layer.name, module, parents, source, made.get(module)))
    if len(found) < 3:
        raise InputError(
            f"network must have at least three layers, so that kernels join filters with filters; got {len(found)}"
        )
    return found


@torch.no_grad()
def watch(
    network: nn.Module,
    gates: Gates,
    pairs: list[Pair],
    images: Float[Tensor, "image c h w"],
    look: Callable[[Pair, Tensor, Tensor], None],
    batch: int = 250,
) -> None:
    """Send images through the network in evaluation mode and look at what every layer reads and makes.

    Args:
        network: gated; left as it was, masks taken away.
        gates: of the network.
        pairs: the layers.
        images: on the network's device.
        look: is given the pair, its layer's input and output, batch after batch.
        batch: images at once.
    """

    def hook(pair: Pair) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda module, inputs, output: look(pair, inputs[0], output)

    handles = [pair.layer.register_forward_hook(hook(pair)) for pair in pairs]
    training = network.training
    gates.open()
    try:
        network.eval()
        for part in images.split(batch):
            network(part)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
