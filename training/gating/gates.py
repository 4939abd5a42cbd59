"""The Bernoulli gates of a network: their probabilities θ, and the masks drawn from them.

A network places `GateSite` modules where a structure is to be scaled, and lists what each site gates: a
`UnitGroup` (the output channels of one layer) or a `Branch` (the nonlinear branch of a residual block), all three in
`training.gating.sites`. `Gates` then holds one probability θ a gate, in one vector for the whole network, and draws all
masks of a step at once. That is the whole interface: gate your own network by placing sites and returning the two
lists.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.gating.dependents import with_dependents
from training.gating.sites import Gated, as_gated, check_places
from training.runtime.shard import WHOLE, Share

__all__ = ["Gates"]


class Gates(nn.Module):
    """All gates of a network: the probabilities θ, and the masks drawn from them.

    The order of the gates is that of `dynamics.models.complexity.Structure`: the unit groups one after the other, then
    the branches.

    Args:
        network: where the gates sit.
        start: θ at the start, in (0, 1].

    Attributes:
        theta: the probabilities, [gate], in [0, 1].
        parent: index of the gate of the branch in which each gate lies, −1 for none, [gate].
        origin: index that each gate had before anything was removed, increasing, [gate].
        total: number of gates before anything was removed.
        groups, residual: the unit groups and branches.
        sizes: number of gates of each of them.
        units: number of unit gates.

    Raises:
        TypeError: for a network that does not list its unit groups and branches (a wrapper of one, say).
        ValueError: for a network without gates, a start outside (0, 1], a group in a branch that is not listed, or
            one whose modules do not fit its site (`training.gating.sites.check_places`).
    """

    parent: Tensor
    origin: Tensor

    def __init__(self, network: Gated, start: float = 0.9) -> None:
        super().__init__()
        if not 0 < start <= 1:
            raise ValueError(f"start must be in (0, 1]; got {start}")
        self.register_buffer("parent", None)
        self.place(network)
        self.total = sum(self.sizes)
        if self.total == 0:
            raise ValueError("the network has no gates")
        self.theta = nn.Parameter(torch.full((self.total,), start))
        self.register_buffer("origin", torch.arange(self.total))

    def place(self, network: Gated, kept: Tensor | None = None) -> None:
        """Find where the gates sit, at the start and after a removal, and remove all masks.

        Args:
            network: where the gates sit.
            kept: after a removal, the former indices of the gates that are left. [gate]
        """
        as_gated(network)
        # Plain lists of plain objects: the sites are the network's modules, not this one's.
        groups, residual = tuple(network.unit_groups()), tuple(network.branches())
        check_places(groups, residual, network)
        self.groups, self.residual = groups, residual
        self.sizes = [group.site.count for group in self.groups] + [1] * len(self.residual)
        self.units = sum(self.sizes) - len(self.residual)
        parent = torch.tensor(self._parents(), dtype=torch.long).repeat_interleave(torch.tensor(self.sizes).long())
        self.parent = parent if kept is None else parent.to(self.parent.device)
        if kept is not None:
            # θ stays the same Parameter, only shorter: no graph leads to it, and whoever moves it still holds it.
            self.theta.data = self.theta.detach()[kept]
            self.theta.grad = None
            self.origin = self.origin[kept]
        self.sampled: Tensor | None = None
        self.open()

    def _parents(self) -> list[int]:
        """Return for each group and branch the gate of the branch that it lies in, −1 for none."""
        at = {branch.name: self.units + i for i, branch in enumerate(self.residual)}
        return [at[g.branch] if g.branch is not None else -1 for g in self.groups] + [-1] * len(self.residual)

    @property
    def is_branch(self) -> Bool[Tensor, " gate"]:
        """Return which gates gate a whole branch."""
        return torch.arange(len(self.theta)) >= self.units

    def sample(
        self, batch: int, generator: torch.Generator | None = None, share: Share = WHOLE
    ) -> Float[Tensor, "share gate"]:
        """Draw masks ξ ~ Ber(θ) for each sample of a batch and set them at the sites.

        The masks are a leaf that requires a gradient: after `backward`, `sampled.grad` holds ∂loss/∂ξ. They are for
        this step: a batch of another size is refused at the sites, and so is the network in evaluation mode if it was
        in training mode when they were drawn.

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

    def with_dependents(self, remove: Tensor | np.ndarray) -> Bool[Tensor, " gate"]:
        """Return which gates go if `remove` goes; see `training.gating.dependents`.

        Args:
            remove: which gates are to go, bool. [gate]

        Raises:
            InputError: for another length or dtype.
        """
        in_branch = [group.branch is not None for group in self.groups]
        return with_dependents(remove, self.theta.detach(), self.parent, self.sizes[: len(self.groups)], in_branch)

    def decided(self) -> Bool[Tensor, " gate"]:
        """Return which gates are on in the deterministic network: θ ≥ ½, without those that then lead nowhere.

        A branch without units is off, and so are the units of a branch that is off (`training.gating.dependents`): what
        is on is the network that is left when the others are removed.
        """
        return ~self.with_dependents(self.theta.detach() < 0.5)

    def decide(self) -> Float[Tensor, "1 gate"]:
        """Set the deterministic network at the sites; see `decided`."""
        mask = self.decided().to(self.theta.dtype)[None]
        self.put(mask)
        return mask

    def open(self) -> None:
        """Remove all masks from the sites, which leaves the plain network."""
        self.put(None)

    def difference(self) -> Float[Tensor, " gate"]:
        """Return the first-order estimate of D = E[loss | ξ=1] − E[loss | ξ=0] from the last backward pass.

        It is the sum over the batch of ∂(mean loss)/∂ξ. Also ⟨∇_w loss, w⟩ = ξ·∂loss/∂ξ: a branch is linear in w.

        Raises:
            RuntimeError: before a `sample`, forward and backward pass.
        """
        if not len(self.theta):
            return self.theta.detach()  # everything was removed: no gate was in the graph
        if self.sampled is None or self.sampled.grad is None:
            raise RuntimeError("sample masks, then run the loss backward, before asking for the difference")
        return self.sampled.grad.sum(0)

    def informative(self, masks: Float[Tensor, "batch gate"] | None = None) -> Bool[Tensor, "batch gate"]:
        """Return which samples say something of which gate: all, of a unit those with its branch on.

        Args:
            masks: of the samples; by default those of the last `sample`.

        Raises:
            RuntimeError: before a `sample`, without masks.
        """
        masks = self.sampled if masks is None else masks
        if masks is None:
            raise RuntimeError("sample masks before asking which of them are informative")
        return (masks.detach()[:, self.parent] > 0) | (self.parent < 0)

    def put(self, masks: Float[Tensor, "batch gate"] | None) -> None:
        """Set given masks at the sites, a row a sample or one row for all; None takes them away."""
        drawn = masks is not None and masks is self.sampled
        sites = [*(group.site for group in self.groups), *(branch.site for branch in self.residual)]
        parts = masks.split(self.sizes, dim=1) if masks is not None and sites else [None] * len(sites)
        for site, part in zip(sites, parts, strict=True):
            site.mask = part
            site.drawn = drawn and site.training

    def weight_norms(self) -> tuple[Float[Tensor, " gate"], Float[Tensor, " gate"]]:
        """Return (ρ_in, ρ) of every gate; ρ is a unit's fan-out norm, of a branch that of its scale and shift.

        A branch has no second norm: its entry in ρ_in is NaN.
        """
        with torch.no_grad():
            fan_in = [group.fan_in_norm() for group in self.groups]
            fan_in.append(self.theta.new_full((len(self.residual),), torch.nan))
            fan_out = [self.theta.new_empty(0), *(group.fan_out_norm() for group in self.groups)]
            fan_out += [branch.weight_norm()[None] for branch in self.residual]
            return torch.cat(fan_in), torch.cat(fan_out)
