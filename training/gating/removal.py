"""Gates that are off for good are removed from the network, at any step of training.

What a removed gate held leaves with it: the rows of the layer that made a unit, its normalisation's scale, shift and
running statistics, the columns of every layer that read it, its gate, and the same rows and columns of the
optimizer's state. A branch leaves whole, its units' gates too, and the block that is left costs what its shortcut
costs. Masks act behind normalisation and activation, so a network with removed gates at ξ = 0 and the shrunken one
compute the same function, and their next training steps agree on everything that stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from training.errors import InputError
from training.gating.gates import Gates
from training.gating.optimizer_state import OptimizerState, select
from training.gating.sites import Gated, UnitGroup, as_gated
from training.gating.transaction import all_or_nothing

__all__ = ["Shrunk", "restore", "shrink"]


@dataclass(frozen=True)
class Shrunk:
    """Result of a removal.

    Attributes:
        kept: former index of every gate that is left, increasing. [gate left]
        removed: former index of every gate that went, dependents included. [gate gone]
        rho_in, rho: norm that each gate left had over the one it has now, ≥ 1 (up to rounding); NaN where there is
            none. In a chain of gated layers a unit's weights to and from the next ones' removed units go with these.
            What was measured per unit of norm must grow by as much (`Tracker.keep`). [gate left]
    """

    kept: np.ndarray
    removed: np.ndarray
    rho_in: np.ndarray
    rho: np.ndarray


def shrink(
    network: nn.Module, optimizer: torch.optim.Optimizer | None, gates: Gates, remove: Tensor | np.ndarray
) -> Shrunk:
    """Remove units and branches for good, in place; if anything goes, masks are taken away.

    Parameters that get shorter are new ones, put in the old one's place in the optimizer with the rows of its state
    that stay, and of the gradient. They keep the old one's hooks and Python attributes; an attribute of the
    parameter's shape is cut like it. θ stays the same Parameter. Nothing is changed if anything is refused or fails.

    The caller then calls `Tracker.keep(result.kept, result.rho_in, result.rho)` and `structure_of(network, shape,
    full)`, and makes a distributed or compiled wrapper again.

    Args:
        network: gated (`training.gating.sites.Gated`), the one that `gates` was made for, not a wrapper of it.
        optimizer: of its weights, None if there is none. State of other shapes than the parameter's is refused,
            unless it is a single number.
        gates: of the network.
        remove: which gates go, bool [gate]; see `Gates.with_dependents` for what else goes or stays.

    Raises:
        TypeError: for a network that does not list its unit groups and branches.
        InputError: for a mask of another length or dtype, gates of another network, a branch whose block cannot
            drop it, an optimizer whose state cannot be cut, a parameter of a class of its own, or between a forward
            pass and its backward pass, whose gradients would go to parameters that are no longer there.
    """
    gated = as_gated(network)
    _check_same(gated, gates)
    going = gates.with_dependents(remove)
    kept = (~going).nonzero().flatten()
    state = OptimizerState(optimizer)
    leaving = [branch for branch, gone in zip(gates.residual, going[gates.units :].tolist(), strict=True) if gone]
    for branch in leaving:
        if branch.block is None:
            raise InputError(f"branch {branch.name!r} cannot be removed: its block must offer remove_branch()")
    norms = [norm[kept] for norm in gates.weight_norms()]
    if len(kept) < len(going):
        _check_no_backward_due(gates)
        with all_or_nothing(network, optimizer, gates):
            before = set(network.parameters())
            for branch in leaving:
                assert branch.block is not None
                branch.block.remove_branch()
            state.forget(before - set(network.parameters()))
            gone = {branch.name for branch in leaving}
            for group, mask in zip(gates.groups, (~going).split(gates.sizes), strict=False):
                if group.branch not in gone and not bool(mask.all()):
                    _cut_group(group, mask.nonzero().flatten(), state)
            gates.place(gated, kept)
    rho_in, rho = (
        _over(then.cpu().numpy(), now.cpu().numpy()) for then, now in zip(norms, gates.weight_norms(), strict=True)
    )
    return Shrunk(kept.cpu().numpy(), going.nonzero().flatten().cpu().numpy(), rho_in, rho)


def restore(
    network: nn.Module, optimizer: torch.optim.Optimizer | None, gates: Gates, origin: Tensor | np.ndarray
) -> Shrunk:
    """Give a full network the shapes of one that was shrunken, so that its saved states can be loaded.

    Args:
        network: as built, nothing removed.
        optimizer: of its weights, or None.
        gates: of the network.
        origin: `Gates.origin` of the shrunken network. [gate left]

    Raises:
        InputError: for an index that is no gate of this network, or gates that no removal leaves.
    """
    index = torch.as_tensor(origin, device=gates.theta.device)
    total = len(gates.theta)
    if index.is_floating_point() or index.dim() != 1 or not bool(((index >= 0) & (index < total)).all()):
        raise InputError(f"origin must be indices of gates, 0 to {total - 1}; got {index.tolist()}")
    remove = torch.ones(total, dtype=torch.bool, device=index.device)
    remove[index.long()] = False
    if not torch.equal(gates.with_dependents(remove), remove):
        raise InputError("origin must be what a removal leaves; it has a unit without its branch, or an empty layer")
    return shrink(network, optimizer, gates, remove)


def _over(then: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Return then / now; 1 where nothing is left to divide by, NaN where there is no norm."""
    return np.divide(then, now, out=np.where(np.isnan(now), np.nan, 1.0), where=now > 0)


def _check_same(network: Gated, gates: Gates) -> None:
    present = [*(group.site for group in network.unit_groups()), *(branch.site for branch in network.branches())]
    known = [*(group.site for group in gates.groups), *(branch.site for branch in gates.residual)]
    if len(present) != len(known) or any(a is not b for a, b in zip(present, known, strict=True)):
        raise InputError("gates must be those of this network; they belong to other sites")


def _check_no_backward_due(gates: Gates) -> None:
    places = [*((group.name, group.site) for group in gates.groups), *((b.name, b.site) for b in gates.residual)]
    for name, site in places:
        if site.awaits_backward:
            raise InputError(
                f"removal must not come between a training step's forward pass and its backward pass; at {name!r} a "
                "forward pass waits for one: run it, or drop the loss and the outputs, first"
            )


def _cut_group(group: UnitGroup, kept: Tensor, state: OptimizerState) -> None:
    """Keep the units at `kept` of one group."""
    before = group.site.count
    group.site.count = len(kept)
    _cut(group.producer, ("weight", "bias"), 0, kept, state)
    if group.norm is not None:
        _cut(group.norm, ("weight", "bias", "running_mean", "running_var"), 0, kept, state)
        group.norm.num_features = len(kept)
    _set_width(group.producer, "out", len(kept))
    for consumer in group.consumers:
        columns = consumer.weight.shape[1] // before  # after flattening, a unit is several columns in a row
        index = (kept[:, None] * columns + torch.arange(columns, device=kept.device)).flatten()
        _cut(consumer, ("weight",), 1, index, state)
        _set_width(consumer, "in", len(index))


def _set_width(layer: nn.Module, end: str, width: int) -> None:
    setattr(layer, f"{end}_channels" if isinstance(layer, nn.Conv2d) else f"{end}_features", width)


def _cut(module: nn.Module, names: tuple[str, ...], dim: int, kept: Tensor, state: OptimizerState) -> None:
    """Keep the entries at `kept` along a dimension of some of a module's parameters and buffers."""
    for name in names:
        old = cast("Tensor | None", getattr(module, name))
        if old is None:
            continue
        if not isinstance(old, nn.Parameter):
            setattr(module, name, select(old, dim, kept))
            continue
        if type(old) is not nn.Parameter:
            kind = f"{type(module).__name__}.{name} is a {type(old).__name__}"
            raise InputError(f"parameters that are cut must be nn.Parameter, of no class of their own; {kind}")
        new = nn.Parameter(select(old.detach(), dim, kept), requires_grad=old.requires_grad)
        if old.grad is not None:
            new.grad = select(old.grad, dim, kept)
        _hand_on(old, new, lambda value: select(value, dim, kept))
        setattr(module, name, new)
        state.replace(old, new, lambda value: select(value, dim, kept))


def _hand_on(old: nn.Parameter, new: nn.Parameter, cut: Callable[[Tensor], Tensor]) -> None:
    """Give a parameter the hooks and the Python attributes of the one whose place it takes."""
    for name, value in vars(old).items():
        vars(new)[name] = cut(value) if isinstance(value, Tensor) and value.shape == old.shape else value
    for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):  # the same dictionary: whoever put one can take it
        if getattr(old, hooks, None):
            setattr(new, hooks, getattr(old, hooks))
