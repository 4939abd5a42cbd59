"""The complexity structure of a gated network, read off its real modules and shapes.

`dynamics.complexity` knows the polynomial; this file only says which layer feeds which group and how large its
outputs are, by watching one forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from dynamics.complexity import Layer, Structure
from training.gates import Gated

__all__ = ["structure_of"]


def structure_of(network: nn.Module, input_shape: Sequence[int]) -> Structure:
    """The layers, unit groups and branches of a network that takes images of `input_shape` (channels, h, w).

    Every convolution and dense layer that is executed is counted, with its normalisation's parameters; a layer
    belongs to a branch if the module that holds the branch's gate holds the layer.

    Raises:
        TypeError: if the network does not list its unit groups and branches.
    """
    if not isinstance(network, Gated):
        raise TypeError(f"{type(network).__name__} must offer unit_groups() and branches()")
    positions, normalised = _watch_forward(network, input_shape)
    names = {module: name for name, module in network.named_modules()}
    groups, branches = network.unit_groups(), network.branches()
    produced = {group.producer: group for group in groups}
    consumed = {group.consumer: group for group in groups}
    holders = {names[branch.site].rpartition(".")[0] + ".": branch.name for branch in branches}
    layers = []
    for module, count in positions.items():
        kernel = module.weight[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        layers.append(
            Layer(
                name=names[module],
                inputs=consumed[module].name if module in consumed else module.weight.shape[1],
                outputs=produced[module].name if module in produced else module.weight.shape[0],
                macs=kernel * count,
                weights=kernel,
                per_output=(module.bias is not None) + 2 * (module in normalised),
                branch=next((name for holder, name in holders.items() if names[module].startswith(holder)), None),
            )
        )
    return Structure(layers, {g.name: g.site.count for g in groups}, [b.name for b in branches])


def _watch_forward(
    network: nn.Module, input_shape: Sequence[int]
) -> tuple[dict[nn.Conv2d | nn.Linear, int], set[nn.Module]]:
    """Run one image through the network.

    Returns:
        Output positions (height × width) of every executed convolution and dense layer, in order of execution; and
        which of them feed a batch normalisation directly.
    """
    positions: dict[nn.Conv2d | nn.Linear, int] = {}
    outputs: dict[int, tuple[nn.Module, torch.Tensor]] = {}  # by id; the tensors are kept so that ids stay unique
    normalised: set[nn.Module] = set()

    def watch(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            positions[module] = output[0, 0].numel()
            outputs[id(output)] = (module, output)
        elif id(inputs[0]) in outputs:
            normalised.add(outputs[id(inputs[0])][0])

    watched = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    handles = [m.register_forward_hook(watch) for m in network.modules() if isinstance(m, watched)]
    training, parameter = network.training, next(network.parameters())
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return positions, normalised
