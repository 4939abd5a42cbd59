"""The interface of a network that can be gated: sites of masks, unit groups and residual branches.

A network that can be gated names its sites and returns two lists, `unit_groups` and `branches`. Both are made from
the modules present at each call, so that after a removal (`training.gating.removal`) they name what is left.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from training.errors import InputError
from training.gating.masked_ops import masked, masked_add_relu, masked_relu

__all__ = ["Branch", "GateSite", "Gated", "Norm", "Removable", "UnitGroup", "Weighted", "as_gated", "check_places"]

Weighted: TypeAlias = nn.Conv2d | nn.Linear
Norm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d


class _Pass:
    """One forward pass through a site; its graph holds the last reference."""

    def __call__(self, gradient: Tensor) -> None:
        """Note the backward pass, as a hook."""
        self.done = True

    done = False


class GateSite(nn.Module):
    """Place where the input's channels (or the whole input, `count` = 1) are multiplied by the current masks.

    Without masks (`mask is None`) it passes its input through untouched: the plain network. `relu` and `add_relu`
    do the same together with the operations beside it, in fewer passes over memory.

    Attributes:
        count: number of gates.
        mask: the current masks, [batch or 1, count], or None.
        drawn: whether these are random masks drawn in training mode, for one step: no evaluation must use them.

    Raises:
        InputError: from `forward`, `relu` and `add_relu`, for inputs of another batch than the masks', or of other
            channels; and in evaluation mode, while the random masks of a training step are in place.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.mask: Tensor | None = None
        self.drawn = False
        self._last: weakref.ref[_Pass] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` [batch, channels, ...] times the masks."""
        if self.mask is None:
            return self._noted(x)
        self._check(x)
        return self._noted(masked(x, self.mask))

    def relu(self, x: Tensor, inplace: bool = False) -> Tensor:
        """Return `site(relu(x))`; if `inplace`, `x` may be overwritten."""
        if self.mask is None:
            return self._noted(F.relu(x, inplace))
        self._check(x)
        return self._noted(masked_relu(x, self.mask))

    def add_relu(self, shortcut: Tensor, x: Tensor) -> Tensor:
        """Return `relu(shortcut + site(x))`, a new tensor."""
        if self.mask is None:
            return self._noted(F.relu(shortcut + x, inplace=True))
        self._check(x)
        return self._noted(masked_add_relu(shortcut, x, self.mask))

    @property
    def awaits_backward(self) -> bool:
        """Whether a training forward pass went through here whose graph is still there, with no backward pass yet."""
        last = self._last() if self._last is not None else None
        return last is not None and not last.done

    def _check(self, x: Tensor) -> None:
        """Refuse masks that are not for this input."""
        assert self.mask is not None
        rows, columns = self.mask.shape
        if self.drawn and not self.training:
            raise InputError(
                "masks in evaluation mode must not be those that Gates.sample drew for a training step; call "
                "Gates.decide() for the deterministic network, or Gates.open() for all gates on, first"
            )
        if rows not in (1, x.shape[0]):
            raise InputError(
                f"masks must be for the batch at hand; got masks of {rows} samples, and inputs {list(x.shape)}"
            )
        if columns != 1 and (x.dim() < 2 or x.shape[1] != columns):
            raise InputError(
                f"site of {columns} units must get them along the second dimension; got inputs {list(x.shape)}"
            )

    def _noted(self, x: Tensor) -> Tensor:
        """Return an output as it is; if a graph leads to it, its backward pass will be noticed."""
        # Not while tracing or compiling, where `x` stands for a tensor; nor of a leaf, which keeps its hooks.
        plain = type(x) is Tensor and self.training and not torch.compiler.is_compiling()
        if plain and torch.is_grad_enabled() and x.grad_fn is not None and not torch.jit.is_tracing():
            passed = _Pass()
            x.register_hook(passed)
            self._last = weakref.ref(passed)
        return x

    def __getstate__(self) -> dict[str, object]:
        """Return the state without masks, for copies and pickles: masks belong to one step and its graph."""
        return self.__dict__ | {"mask": None, "drawn": False, "_last": None}


@runtime_checkable
class Removable(Protocol):
    """A residual block that can lose its branch."""

    def remove_branch(self) -> None:
        """Drop the branch's modules for good; from now on the block is its shortcut."""
        ...


@dataclass(frozen=True)
class UnitGroup:
    """The gated output channels of one layer.

    The masks are applied where the consumer reads them, after normalisation and activation: nothing between site and
    consumer may turn zero into something else, so that a masked unit is one that is not there.

    Attributes:
        name: of the group, unique in the network, and the same after a removal.
        site: where the masks are applied.
        producer: convolution or dense layer whose outputs are the units.
        norm: its normalisation; with one, the fan-in norm of a unit is that of its scale and shift, since the
            producer's own scale is undone by the normalisation. None: the producer's weights and bias count.
        consumer: convolution or dense layer that reads the units, or several; a unit's fan-out weights are its
            slices of them. A dense layer after a flattened convolution reads each unit in several columns.
        branch: name of the gated branch that the units lie in, if any: they act only while it is on.
    """

    name: str
    site: GateSite
    producer: Weighted
    norm: Norm | None
    consumer: Weighted | tuple[Weighted, ...]
    branch: str | None = None

    @property
    def consumers(self) -> tuple[Weighted, ...]:
        """Return all layers that read the units."""
        return self.consumer if isinstance(self.consumer, tuple) else (self.consumer,)

    def fan_in_norm(self) -> Float[Tensor, " unit"]:
        """Return ρ_in of each unit: the norm of its scale and shift, or of its weights and bias."""
        if self.norm is not None:
            return torch.hypot(self.norm.weight, self.norm.bias)
        square = self.producer.weight.flatten(1).square().sum(1)
        return torch.sqrt(square if self.producer.bias is None else square + self.producer.bias.square())

    def fan_out_norm(self) -> Float[Tensor, " unit"]:
        """Return ρ_out of each unit: the norm of its slices of the consumers' weights."""
        # [out, units · columns, …] → [unit, everything that reads it]
        slices = [c.weight.unflatten(1, (self.site.count, -1)).transpose(0, 1).flatten(1) for c in self.consumers]
        return torch.cat(slices, 1).norm(dim=1)


@dataclass(frozen=True)
class Branch:
    """The gated nonlinear branch of one residual block.

    Attributes:
        name: of the branch, unique in the network, and the same after removals elsewhere.
        site: where the mask is applied.
        norm: the branch's last normalisation. Its scale and shift are the gate's weights w: the branch is linear
            in them, and the convolution before it has no scale of its own.
        block: the module that holds the branch and can drop it. None: the module that holds the site is the block,
            and the branch cannot be removed.
        shortcut: the part of the block that is not in the branch, where it has layers (a projection).
    """

    name: str
    site: GateSite
    norm: Norm
    block: Removable | None = None
    shortcut: nn.Module | None = None

    def weight_norm(self) -> Float[Tensor, ""]:
        """Return ρ = ‖(scale, shift)‖ of the last normalisation."""
        return torch.cat([self.norm.weight, self.norm.bias]).norm()


@runtime_checkable
class Gated(Protocol):
    """A network that can be gated."""

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Return the unit groups, in order of execution."""
        ...

    def branches(self) -> Sequence[Branch]:
        """Return the gated residual branches, in order of execution."""
        ...


def as_gated(network: object) -> Gated:
    """Return a network as what lists its gates.

    Raises:
        TypeError: for a network that does not list its unit groups and branches (a wrapper of one, say).
    """
    if not isinstance(network, Gated):
        raise TypeError(f"{type(network).__name__} must offer unit_groups() and branches()")
    return network


def check_places(groups: Sequence[UnitGroup], branches: Sequence[Branch], network: object = None) -> None:
    """Refuse groups and branches whose modules do not fit their sites, or from which nothing could be removed.

    Args:
        groups, branches: as a network lists them.
        network: that lists them, where it is a module: then their parameters must be its own, and of one layer each.

    Raises:
        InputError: naming the group or branch and what its modules must be.
    """
    for kind, places in (("group", groups), ("branch", branches)):
        names = [place.name for place in places]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"name of each {kind} must be its own; got {name!r} {names.count(name)} times")
    present = {branch.name for branch in branches}
    for group in groups:
        if group.branch is not None and group.branch not in present:
            raise InputError(f"branch of group {group.name!r} must be one of branches(); got {group.branch!r}")
        _check_group(group)
    for branch in branches:
        _check_branch(branch)
    _check_each_once(groups, branches)
    if isinstance(network, nn.Module):
        _check_owned(groups, branches, network)


def _check_group(group: UnitGroup) -> None:
    """Refuse a group whose layers do not fit its site."""
    count = group.site.count
    layers: tuple[nn.Module, ...] = (group.producer, *group.consumers)
    for layer in layers:
        if not isinstance(layer, Weighted):
            kind = type(layer).__name__
            raise InputError(f"layers of group {group.name!r} must be nn.Conv2d or nn.Linear; got {kind}")
        if not isinstance(layer._parameters.get("weight"), nn.Parameter):
            raise InputError(
                f"layers of group {group.name!r} must hold their weight as a parameter; that of a "
                f"{type(layer).__name__} is computed from others (weight norm, spectral norm, a mask)"
            )
        if isinstance(layer, nn.Conv2d) and layer.groups != 1:
            raise InputError(
                f"layers of group {group.name!r} must be ungrouped convolutions; got {layer.groups} groups"
            )
    if not group.consumers:
        raise InputError(f"units of group {group.name!r} must be read by a layer; got none")
    if group.norm is not None:
        _check_norm(group.norm, f"norm of group {group.name!r}")
    made = group.producer.weight.shape[0]
    normalised = group.norm.num_features if group.norm is not None else count
    if not made == normalised == count:
        raise InputError(f"site of group {group.name!r} must gate all {made} outputs of its layer; got {count} units")
    for consumer in group.consumers:
        inputs = consumer.weight.shape[1]
        if isinstance(consumer, nn.Conv2d) and inputs != count:
            raise InputError(
                f"convolution behind group {group.name!r} must read its units and nothing else, each once; it reads "
                f"{inputs} channels for {count} units"
            )
        if inputs % count:
            raise InputError(f"units of group {group.name!r} must divide the consumer's {inputs} inputs; got {count}")


def _check_branch(branch: Branch) -> None:
    """Refuse a branch that cannot be priced, measured or dropped."""
    if branch.site.count != 1:
        raise InputError(f"site of branch {branch.name!r} must have one gate; got {branch.site.count}")
    _check_norm(branch.norm, f"norm of branch {branch.name!r}")
    block: object = branch.block
    if block is None:
        return
    if not isinstance(block, nn.Module) or not isinstance(block, Removable):
        raise InputError(
            f"block of branch {branch.name!r} must be the module that holds the branch, with a remove_branch(); "
            f"got {type(block).__name__}"
        )
    inside = set(block.modules())
    if not {branch.site, branch.norm} <= inside:
        raise InputError(f"block of branch {branch.name!r} must hold the branch's site and norm; they lie outside it")


def _check_norm(norm: object, what: str) -> None:
    if not isinstance(norm, Norm):
        raise InputError(f"{what} must be nn.BatchNorm1d or nn.BatchNorm2d; got {type(norm).__name__}")
    if not all(isinstance(norm._parameters.get(name), nn.Parameter) for name in ("weight", "bias")):
        raise InputError(f"{what} must have a scale and a shift, parameters of its own (affine=True)")


def _check_each_once(groups: Sequence[UnitGroup], branches: Sequence[Branch]) -> None:
    """Refuse a site, or an end of a layer, that two places share: what leaves one would leave the other."""
    taken: dict[tuple[str, nn.Module], str] = {}
    ends: list[tuple[str, nn.Module, str]] = [("site", group.site, group.name) for group in groups]
    ends += [("site", branch.site, branch.name) for branch in branches]
    ends += [("producer", group.producer, group.name) for group in groups]
    ends += [("consumer", consumer, group.name) for group in groups for consumer in group.consumers]
    ends += [("norm", group.norm, group.name) for group in groups if group.norm is not None]
    for role, module, name in ends:
        if (role, module) in taken:
            raise InputError(f"{role} of {name!r} must be its own; {taken[role, module]!r} has the same")
        taken[role, module] = name


def _check_owned(groups: Sequence[UnitGroup], branches: Sequence[Branch], network: nn.Module) -> None:
    """Refuse modules from elsewhere, and parameters that two layers share: only one of them would be cut."""
    inside = set(network.modules())
    held: dict[nn.Parameter, list[nn.Module]] = {}
    for module in inside:
        for parameter in module._parameters.values():
            if parameter is not None:
                held.setdefault(parameter, []).append(module)
    of_groups = [(g.name, m) for g in groups for m in (g.site, g.producer, g.norm, *g.consumers) if m is not None]
    of_branches = [(b.name, m) for b in branches for m in (b.site, b.norm)]
    for name, module in [*of_groups, *of_branches]:
        if module not in inside:
            raise InputError(f"{type(module).__name__} of {name!r} must be one of the network's modules; it is not")
        if any(len(held[p]) > 1 for p in module._parameters.values() if p is not None):
            raise InputError(
                f"parameters of {name!r} must belong to one layer; a {type(module).__name__} shares one with another"
            )
