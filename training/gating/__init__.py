"""Gates on a network and their removal: sites, masks, dependents, and the network's complexity."""

from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import Shrunk, restore, shrink
from training.gating.self_check import check_removal
from training.gating.sites import Branch, Gated, GateSite, UnitGroup

__all__ = [
    "Branch",
    "GateSite",
    "Gated",
    "Gates",
    "Shrunk",
    "UnitGroup",
    "check_removal",
    "restore",
    "shrink",
    "structure_of",
]
