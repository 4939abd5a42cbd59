"""The complexity structure of a gated network, read off its real modules and shapes.

`dynamics.models.complexity` knows the polynomial; this file only says which layer feeds which group and how large its
outputs are, by watching one forward pass. It is called again after every removal.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from dynamics.models.complexity import Layer, Structure
from training.errors import InputError
from training.gating.executed import executed
from training.gating.sites import Branch, UnitGroup, Weighted, as_gated, check_places

__all__ = ["structure_of"]


def structure_of(network: nn.Module, input_shape: Sequence[int], full: Structure | None = None) -> Structure:
    """Return layers, unit groups and branches of a network that takes images of `input_shape` (channels, h, w).

    Every convolution and dense layer that is executed is counted at all of its positions (a dense layer's are the
    tokens that it reads), with its normalisation's parameters. Other products, of attention say or of a recurrent
    layer, count as they were computed (`training.gating.executed`); they and all other parameters are fixed. What
    lies in a branch's block, its shortcut left out, belongs to the branch.

    Args:
        network: gated; its masks play no part.
        input_shape: of one image, without the batch.
        full: structure of the network before anything was removed from it: its complexity is what C stays divided by.

    Raises:
        TypeError: if the network does not list its unit groups and branches.
        InputError: for a layer that is executed more than once, one whose inputs its units do not divide, a group's
            layer that is not executed, for operations whose products cannot be counted, and for groups and branches
            that do not fit their modules (`training.gating.sites.check_places`).
    """
    gated = as_gated(network)
    groups, branches = gated.unit_groups(), gated.branches()
    check_places(groups, branches, network)
    names = {module: name for name, module in network.named_modules()}
    seen = executed(network, names, input_shape)
    positions, norm_of = seen.positions, seen.norm_of
    produced = {group.producer: group for group in groups}
    consumed = {consumer: group for group in groups for consumer in group.consumers}
    for layer, group in [*produced.items(), *consumed.items()]:
        if layer not in positions:
            raise InputError(
                f"layer {names.get(layer)!r} of group {group.name!r} must run with the network; it did not"
            )
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
        macs = seen.others.get(module, 0)
        if (own or macs) and module not in counted:
            layers.append(Layer(name, 1, 1, macs, 0, own, parent.get(module)))
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
