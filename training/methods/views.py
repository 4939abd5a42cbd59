"""A network seen with some of its gates only: those on units, or those on branches.

A method that prunes units only has no gates on branches: it does not sample them, does not price them, and no branch
ever leaves. So it acts through a view of the network that lists none. Everything that reads a network's gates
(`training.gating.gates`, `training.gating.removal`, `training.gating.network_structure`) then does what it does for a
network that has no others: a group of units in no gated branch keeps one unit, and a branch without gated units leaves
whole.

A view holds the very modules of the network: what is removed through it is removed from the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from training.gating.sites import Branch, UnitGroup, as_gated

__all__ = ["LayersOnly", "UnitsOnly", "View"]


class View(nn.Module):
    """The network with all its gates.

    Args:
        network: gated.

    Attributes:
        network: as given.

    Raises:
        TypeError: for a network that does not list its unit groups and branches.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        as_gated(network)
        self.network: Any = network  # a module that lists its groups and branches
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Compute what the network computes."""
        return self.network(images)

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Return the network's groups of units."""
        return self.network.unit_groups()

    def branches(self) -> Sequence[Branch]:
        """Return the network's branches."""
        return self.network.branches()


class UnitsOnly(View):
    """The network with the gates on its units; arguments are those of `View`."""

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Return all groups of the network. What lies in a branch is always on, as far as the branch is concerned."""
        return [replace(group, branch=None) for group in super().unit_groups()]

    def branches(self) -> Sequence[Branch]:
        """Return no branches."""
        return []


class LayersOnly(View):
    """The network with the gates on its branches; arguments are those of `View`."""

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Return no groups of units."""
        return []
