"""Bernoulli gates on a network: where they sit, how they are sampled, what their weights are.

A network places `GateSite` modules where a structure is to be scaled, and lists what each site gates: a
`UnitGroup` (the output channels of one layer) or a `Branch` (the nonlinear branch of a residual block). `Gates`
then holds one probability θ a gate, in one vector for the whole network, and draws all masks of a step at once.
That is the whole interface: gate your own network by placing sites and returning the two lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["Branch", "GateSite", "Gated", "Gates", "UnitGroup"]


class GateSite(nn.Module):
    """Multiplies its input's channels (or its whole input, `count` = 1) by the current masks.

    Without masks (`mask is None`) it passes its input through untouched: the plain network.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.mask: Tensor | None = None  # [batch or 1, count]

    def forward(self, x: Tensor) -> Tensor:
        """`x` [batch, channels, ...] times the masks."""
        if self.mask is None:
            return x
        return x * self.mask.view(*self.mask.shape, *(1,) * (x.dim() - 2))


@dataclass(frozen=True)
class UnitGroup:
    """The gated output channels of one layer.

    Attributes:
        name: of the group, unique in the network.
        site: where the masks are applied.
        producer: convolution or dense layer whose outputs are the units.
        norm: its normalisation; with one, the fan-in norm of a unit is that of its scale and shift, since the
            producer's own scale is undone by the normalisation. None: the producer's weights and bias count.
        consumer: convolution or dense layer that reads the units; a unit's fan-out weights are its slice of it.
        branch: name of the gated branch that the units lie in, if any: they act only while it is on.
    """

    name: str
    site: GateSite
    producer: nn.Conv2d | nn.Linear
    norm: nn.BatchNorm2d | None
    consumer: nn.Conv2d | nn.Linear
    branch: str | None = None

    def fan_in_norm(self) -> Float[Tensor, " unit"]:
        """ρ_in of each unit."""
        if self.norm is not None:
            return torch.hypot(self.norm.weight, self.norm.bias)
        square = self.producer.weight.flatten(1).square().sum(1)
        return torch.sqrt(square if self.producer.bias is None else square + self.producer.bias.square())

    def fan_out_norm(self) -> Float[Tensor, " unit"]:
        """ρ_out of each unit."""
        return self.consumer.weight.transpose(0, 1).flatten(1).norm(dim=1)


@dataclass(frozen=True)
class Branch:
    """The gated nonlinear branch of one residual block.

    Attributes:
        name: of the branch, unique in the network.
        site: where the mask is applied.
        norm: the branch's last normalisation. Its scale and shift are the gate's weights w: the branch is linear
            in them, and the convolution before it has no scale of its own.
    """

    name: str
    site: GateSite
    norm: nn.BatchNorm2d

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
    """

    def __init__(self, network: Gated, start: float = 0.9) -> None:
        super().__init__()
        if not 0 < start <= 1:
            raise ValueError(f"start must be in (0, 1]; got {start}")
        # Plain lists of plain objects: the sites are the network's modules, not this one's.
        self.groups = tuple(network.unit_groups())
        self.residual = tuple(network.branches())
        self.sizes = [group.site.count for group in self.groups] + [1] * len(self.residual)
        count = sum(self.sizes)
        if count == 0:
            raise ValueError("the network has no gates")
        self.theta = nn.Parameter(torch.full((count,), start))
        self.units = count - len(self.residual)
        self.sampled: Tensor | None = None
        at = {branch.name: self.units + i for i, branch in enumerate(self.residual)}
        holders = [at[group.branch] if group.branch else -1 for group in self.groups]
        holders += [-1] * len(self.residual)
        self.holder: Tensor
        self.register_buffer("holder", torch.tensor(holders).repeat_interleave(torch.tensor(self.sizes)))

    @property
    def is_layer(self) -> Bool[Tensor, " gate"]:
        """Which gates gate a whole branch."""
        return torch.arange(len(self.theta)) >= self.units

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Float[Tensor, "batch gate"]:
        """Draw masks ξ ~ Ber(θ) for each sample of a batch and set them at the sites.

        The masks are a leaf that requires a gradient: after `backward`, `sampled.grad` holds ∂loss/∂ξ.
        """
        theta = self.theta.detach()
        uniform = torch.rand(batch, len(theta), generator=generator, device=theta.device)
        self.sampled = (uniform < theta).to(theta.dtype).requires_grad_()
        self._set(self.sampled)
        return self.sampled

    def decide(self) -> Float[Tensor, "1 gate"]:
        """Set the deterministic network at the sites: a gate is on where θ ≥ ½."""
        mask = (self.theta.detach() >= 0.5).to(self.theta.dtype)[None]
        self._set(mask)
        return mask

    def open(self) -> None:
        """Take all masks away: the plain network."""
        self._set(None)

    def difference(self) -> Float[Tensor, " gate"]:
        """First-order estimate of D = E[loss | ξ=1] − E[loss | ξ=0] from the last backward pass.

        The sum over the batch of ∂(mean loss)/∂ξ. Also ⟨∇_w loss, w⟩ = ξ·∂loss/∂ξ, since a branch is linear in w.

        Raises:
            RuntimeError: before a `sample`, forward and backward pass.
        """
        if self.sampled is None or self.sampled.grad is None:
            raise RuntimeError("sample masks, then run the loss backward, before asking for the difference")
        return self.sampled.grad.sum(0)

    def _set(self, masks: Tensor | None) -> None:
        sites = [*(group.site for group in self.groups), *(branch.site for branch in self.residual)]
        parts = masks.split(self.sizes, dim=1) if masks is not None else [None] * len(sites)
        for site, part in zip(sites, parts, strict=True):
            site.mask = part

    def weight_norms(self) -> tuple[Float[Tensor, " gate"], Float[Tensor, " gate"]]:
        """(ρ_in, ρ) of every gate; ρ is the fan-out norm of a unit, the norm's scale and shift of a branch.

        A branch has no second norm: its entry in ρ_in is NaN.
        """
        with torch.no_grad():
            fan_in = [group.fan_in_norm() for group in self.groups]
            fan_in.append(self.theta.new_full((len(self.residual),), torch.nan))
            fan_out = [group.fan_out_norm() for group in self.groups]
            fan_out += [branch.weight_norm()[None] for branch in self.residual]
            return torch.cat(fan_in), torch.cat(fan_out)
