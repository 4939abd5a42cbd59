"""The complexity structure of a gated network, read off its real modules and shapes.

`dynamics.models.complexity` knows the polynomial; this file only says which layer feeds which group and how large its
outputs are, by watching one forward pass. It is called again after every removal.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dynamics.models.complexity import Layer, Structure
from training.errors import InputError
from training.gating.sites import Branch, Gated, Norm, UnitGroup, Weighted

__all__ = ["structure_of"]


def structure_of(network: nn.Module, input_shape: Sequence[int], full: Structure | None = None) -> Structure:
    """Return layers, unit groups and branches of a network that takes images of `input_shape` (channels, h, w).

    Every convolution and dense layer that is executed is counted, with its normalisation's parameters; all other
    parameters count as fixed ones. What lies in a branch's block, its shortcut left out, belongs to the branch.

    Args:
        network: gated; its masks play no part.
        input_shape: of one image, without the batch.
        full: structure of the network before anything was removed from it: its complexity is what C stays divided by.

    Raises:
        TypeError: if the network does not list its unit groups and branches.
        InputError: for a layer that is executed more than once, or one whose inputs its units do not divide.
    """
    if not isinstance(network, Gated):
        raise TypeError(f"{type(network).__name__} must offer unit_groups() and branches()")
    groups, branches = network.unit_groups(), network.branches()
    names = {module: name for name, module in network.named_modules()}
    positions, norm_of = _watch_forward(network, names, input_shape)
    produced = {group.producer: group for group in groups}
    consumed = {consumer: group for group in groups for consumer in group.consumers}
    parent = _enclosing(network, branches, names)
    # A norm at the head of a branch may directly follow a layer outside: it leaves with the branch, not with the layer.
    norm_of = {module: norm for module, norm in norm_of.items() if parent.get(module) == parent.get(norm)}
    norm_of |= {group.producer: group.norm for group in groups if group.norm is not None}
    layers = []
    for module, count in positions.items():
        source, target, norm = consumed.get(module), produced.get(module), norm_of.get(module)
        kernel = _weights_per_pair(module, source)
        layers.append(
            Layer(
                name=names[module],
                inputs=source.name if source else module.weight.shape[1],
                outputs=target.name if target else module.weight.shape[0],
                macs=kernel * count,
                weights=kernel,
                per_output=(module.bias is not None) + 2 * (norm is not None and norm.affine),
                branch=parent.get(module),
            )
        )
    counted: set[nn.Module] = {*positions, *norm_of.values()}
    for module, name in names.items():
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if own and module not in counted:
            layers.append(Layer(name, 0, 1, 0, 0, own, parent.get(module)))
    return Structure(
        layers,
        {group.name: group.site.count for group in groups},
        [branch.name for branch in branches],
        full_macs=full.full_macs if full else None,
        full_parameters=full.full_parameters if full else None,
    )


def _weights_per_pair(module: Weighted, source: UnitGroup | None) -> int:
    """Return the number of weights that join one input (a unit or a channel) with one output."""
    kernel = module.weight[0, 0].numel()
    if source is None:
        return kernel
    columns, rest = divmod(module.weight.shape[1], source.site.count)
    if rest:
        raise InputError(
            f"units of {source.name!r} must divide {module.weight.shape[1]} inputs; got {source.site.count}"
        )
    return kernel * columns


def _enclosing(network: nn.Module, branches: Sequence[Branch], names: dict[nn.Module, str]) -> dict[nn.Module, str]:
    """Return for every module inside a branch the name of the branch."""
    found: dict[nn.Module, str] = {}
    for branch in branches:
        given = branch.block
        parent = names[branch.site].rpartition(".")[0]
        block = given if isinstance(given, nn.Module) else network.get_submodule(parent)
        outside = set(branch.shortcut.modules()) if branch.shortcut is not None else set()
        found |= {module: branch.name for module in block.modules() if module not in outside}
    return found


def _watch_forward(
    network: nn.Module, names: dict[nn.Module, str], input_shape: Sequence[int]
) -> tuple[dict[Weighted, int], dict[Weighted, Norm]]:
    """Run one image through the network.

    Returns:
        Output positions (height × width) of every executed convolution and dense layer, in order of execution; and
        the batch normalisations that they feed directly.
    """
    positions: dict[Weighted, int] = {}
    outputs: dict[int, tuple[Weighted, Tensor]] = {}  # by id; the tensors are kept so that ids stay unique
    norm_of: dict[Weighted, Norm] = {}

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, Weighted):
            if module in positions:
                raise InputError(f"layer {names[module]!r} must be executed once in a forward pass; it ran twice")
            positions[module] = output[0, 0].numel()
            outputs[id(output)] = (module, output)
        elif isinstance(module, Norm) and id(inputs[0]) in outputs:
            norm_of[outputs[id(inputs[0])][0]] = module

    handles = [m.register_forward_hook(watch) for m in network.modules() if isinstance(m, Weighted | Norm)]
    training, parameter = network.training, next(network.parameters())
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype))
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return positions, norm_of
