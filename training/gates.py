"""Bernoulli gates on a network: where they sit, how they are sampled, what their weights are.

A network places `GateSite` modules where a structure is to be scaled, and lists what each site gates: a
`UnitGroup` (the output channels of one layer) or a `Branch` (the nonlinear branch of a residual block). `Gates`
then holds one probability θ a gate, in one vector for the whole network, and draws all masks of a step at once.
That is the whole interface: gate your own network by placing sites and returning the two lists. They are made
anew from the modules present, so that after a removal (`training.shrink`) they name what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.closure import closed
from training.errors import InputError
from training.masking import masked, masked_add_relu, masked_relu
from training.share import WHOLE, Share

__all__ = ["Branch", "GateSite", "Gated", "Gates", "Norm", "Removable", "UnitGroup", "Weighted"]

#: A layer that joins inputs with outputs, and a normalisation with one scale and shift a channel.
Weighted: TypeAlias = nn.Conv2d | nn.Linear
Norm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d


class GateSite(nn.Module):
    """Multiplies its input's channels (or its whole input, `count` = 1) by the current masks.

    Without masks (`mask is None`) it passes its input through untouched: the plain network. `relu` and `add_relu`
    do the same together with the operations beside it, in fewer passes over memory.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.mask: Tensor | None = None  # [batch or 1, count]

    def forward(self, x: Tensor) -> Tensor:
        """`x` [batch, channels, ...] times the masks."""
        return x if self.mask is None else masked(x, self.mask)

    def relu(self, x: Tensor, inplace: bool = False) -> Tensor:
        """`site(relu(x))`; if `inplace`, `x` may be overwritten."""
        return F.relu(x, inplace) if self.mask is None else masked_relu(x, self.mask)

    def add_relu(self, shortcut: Tensor, x: Tensor) -> Tensor:
        """`relu(shortcut + site(x))`, a new tensor."""
        return F.relu(shortcut + x, inplace=True) if self.mask is None else masked_add_relu(shortcut, x, self.mask)

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles carry no masks: these belong to one step, and are part of its graph."""
        return self.__dict__ | {"mask": None}


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
        """All layers that read the units."""
        return self.consumer if isinstance(self.consumer, tuple) else (self.consumer,)

    def fan_in_norm(self) -> Float[Tensor, " unit"]:
        """ρ_in of each unit."""
        if self.norm is not None:
            return torch.hypot(self.norm.weight, self.norm.bias)
        square = self.producer.weight.flatten(1).square().sum(1)
        return torch.sqrt(square if self.producer.bias is None else square + self.producer.bias.square())

    def fan_out_norm(self) -> Float[Tensor, " unit"]:
        """ρ_out of each unit."""
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
        """ρ = ‖(scale, shift)‖."""
        return torch.cat([self.norm.weight, self.norm.bias]).norm()


@runtime_checkable
class Gated(Protocol):
    """A network that can be gated."""

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Its unit groups, in order of execution."""
        ...

    def branches(self) -> Sequence[Branch]:
        """Its gated residual branches, in order of execution."""
        ...


class Gates(nn.Module):
    """All gates of a network: the probabilities θ, and the masks drawn from them.

    The order of the gates is that of `dynamics.complexity.Structure`: the unit groups one after the other, then
    the branches.

    Args:
        network: where the gates sit.
        start: θ at the start, in (0, 1].

    Attributes:
        theta: the probabilities, [gate], in [0, 1].
        holder: index of the gate of the branch in which each gate lies, −1 for none, [gate].
        origin: index that each gate had before anything was removed, increasing, [gate].
        total: number of gates before anything was removed.
        groups, residual: the unit groups and branches.
        sizes: number of gates of each of them.
        units: number of unit gates.

    Raises:
        ValueError: for a network without gates, a start outside (0, 1], a group in a branch that is not listed, or
            one whose layers do not fit its site.
    """

    holder: Tensor
    origin: Tensor

    def __init__(self, network: Gated, start: float = 0.9) -> None:
        super().__init__()
        if not 0 < start <= 1:
            raise ValueError(f"start must be in (0, 1]; got {start}")
        self.register_buffer("holder", None)
        self.place(network)
        self.total = sum(self.sizes)
        if self.total == 0:
            raise ValueError("the network has no gates")
        self.theta = nn.Parameter(torch.full((self.total,), start))
        self.register_buffer("origin", torch.arange(self.total))

    def place(self, network: Gated, kept: Tensor | None = None) -> None:
        """Look up where the gates sit, at the start and after a removal; masks are taken away.

        Args:
            network: where the gates sit.
            kept: after a removal, the former indices of the gates that are left. [gate]
        """
        # Plain lists of plain objects: the sites are the network's modules, not this one's.
        self.groups = tuple(network.unit_groups())
        self.residual = tuple(network.branches())
        for group in self.groups:
            _check(group)
        self.sizes = [group.site.count for group in self.groups] + [1] * len(self.residual)
        self.units = sum(self.sizes) - len(self.residual)
        holder = torch.tensor(self._holders(), dtype=torch.long).repeat_interleave(torch.tensor(self.sizes).long())
        self.holder = holder if kept is None else holder.to(self.holder.device)
        if kept is not None:
            # θ stays the same Parameter, only shorter: no graph leads to it, and whoever moves it still holds it.
            self.theta.data = self.theta.detach()[kept]
            self.theta.grad = None
            self.origin = self.origin[kept]
        self.sampled: Tensor | None = None
        self.open()

    def _holders(self) -> list[int]:
        """For each group and branch, the gate of the branch that it lies in, −1 for none."""
        at = {branch.name: self.units + i for i, branch in enumerate(self.residual)}
        for group in self.groups:
            if group.branch is not None and group.branch not in at:
                raise InputError(f"branch of group {group.name!r} must be one of branches(); got {group.branch!r}")
        return [at[g.branch] if g.branch is not None else -1 for g in self.groups] + [-1] * len(self.residual)

    @property
    def is_layer(self) -> Bool[Tensor, " gate"]:
        """Which gates gate a whole branch."""
        return torch.arange(len(self.theta)) >= self.units

    def sample(
        self, batch: int, generator: torch.Generator | None = None, share: Share = WHOLE
    ) -> Float[Tensor, "share gate"]:
        """Draw masks ξ ~ Ber(θ) for each sample of a batch and set them at the sites.

        The masks are a leaf that requires a gradient: after `backward`, `sampled.grad` holds ∂loss/∂ξ.

        Args:
            batch: samples, of all processes together.
            generator: in the same state in every process, so that each sample's masks do not depend on their number.
            share: this process's part of the batch; its masks are set and returned.
        """
        theta = self.theta.detach()
        uniform = torch.rand(batch, len(theta), generator=generator, device=theta.device)
        self.sampled = (uniform[share.of(batch)] < theta).to(theta.dtype).requires_grad_()
        self.put(self.sampled)
        return self.sampled

    def decided(self) -> Bool[Tensor, " gate"]:
        """Which gates are on in the deterministic network: θ ≥ ½, less what then hangs in the air.

        A branch without units is off, and so are the units of a branch that is (`training.closure`): what is on is the
        network that is left when the others are removed.
        """
        return ~closed(self, self.theta.detach() < 0.5)

    def decide(self) -> Float[Tensor, "1 gate"]:
        """Set the deterministic network at the sites; see `decided`."""
        mask = self.decided().to(self.theta.dtype)[None]
        self.put(mask)
        return mask

    def open(self) -> None:
        """Take all masks away: the plain network."""
        self.put(None)

    def difference(self) -> Float[Tensor, " gate"]:
        """First-order estimate of D = E[loss | ξ=1] − E[loss | ξ=0] from the last backward pass.

        The sum over the batch of ∂(mean loss)/∂ξ. Also ⟨∇_w loss, w⟩ = ξ·∂loss/∂ξ, since a branch is linear in w.

        Raises:
            RuntimeError: before a `sample`, forward and backward pass.
        """
        if not len(self.theta):
            return self.theta.detach()  # everything was removed: no gate was in the graph
        if self.sampled is None or self.sampled.grad is None:
            raise RuntimeError("sample masks, then run the loss backward, before asking for the difference")
        return self.sampled.grad.sum(0)

    def informative(self, masks: Float[Tensor, "batch gate"] | None = None) -> Bool[Tensor, "batch gate"]:
        """Which samples say something of which gate: all, of a unit those with its branch on.

        Args:
            masks: of the samples; by default those of the last `sample`.

        Raises:
            RuntimeError: before a `sample`, without masks.
        """
        masks = self.sampled if masks is None else masks
        if masks is None:
            raise RuntimeError("sample masks before asking what they say")
        return (masks.detach()[:, self.holder] > 0) | (self.holder < 0)

    def put(self, masks: Float[Tensor, "batch gate"] | None) -> None:
        """Set given masks at the sites, a row a sample or one row for all; None takes them away."""
        sites = [*(group.site for group in self.groups), *(branch.site for branch in self.residual)]
        parts = masks.split(self.sizes, dim=1) if masks is not None and sites else [None] * len(sites)
        for site, part in zip(sites, parts, strict=True):
            site.mask = part

    def weight_norms(self) -> tuple[Float[Tensor, " gate"], Float[Tensor, " gate"]]:
        """(ρ_in, ρ) of every gate; ρ is the fan-out norm of a unit, the norm's scale and shift of a branch.

        A branch has no second norm: its entry in ρ_in is NaN.
        """
        with torch.no_grad():
            fan_in = [group.fan_in_norm() for group in self.groups]
            fan_in.append(self.theta.new_full((len(self.residual),), torch.nan))
            fan_out = [self.theta.new_empty(0), *(group.fan_out_norm() for group in self.groups)]
            fan_out += [branch.weight_norm()[None] for branch in self.residual]
            return torch.cat(fan_in), torch.cat(fan_out)


def _check(group: UnitGroup) -> None:
    """Refuse a group whose layers do not fit its site."""
    count = group.site.count
    made = group.producer.weight.shape[0]
    normalised = group.norm.num_features if group.norm is not None else count
    if not made == normalised == count:
        raise InputError(f"site of group {group.name!r} must gate all {made} outputs of its layer; got {count} units")
    for layer in (group.producer, *group.consumers):
        if isinstance(layer, nn.Conv2d) and layer.groups != 1:
            raise InputError(
                f"layers of group {group.name!r} must be ungrouped convolutions; got {layer.groups} groups"
            )
    for consumer in group.consumers:
        if consumer.weight.shape[1] % count:
            inputs = consumer.weight.shape[1]
            raise InputError(f"units of group {group.name!r} must divide the consumer's {inputs} inputs; got {count}")
