"""Gates on a network and their removal: sites, masks, dependents, and the network's complexity."""

from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import Shrunk, restore, shrink
from training.gating.sites import Branch, Gated, GateSite, UnitGroup

__all__ = ["Branch", "GateSite", "Gated", "Gates", "Shrunk", "UnitGroup", "restore", "shrink", "structure_of"]
