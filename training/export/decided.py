"""The deterministic network of a gated one: the gates that are on, everything else removed, or masked."""

from __future__ import annotations

import copy

import torch
from torch import nn

from training.gating.gates import Gates
from training.gating.removal import shrink

__all__ = ["decided"]


def decided(network: nn.Module, gates: Gates) -> tuple[nn.Module, nn.Module, Gates]:
    """Return copies of a network: with its decided gates as masks, and with nothing but what is on.

    `Gates.decided` says which gates are on.

    Args:
        network: gated, possibly shrunken already; is not changed.
        gates: its own; are not changed.

    Returns:
        The masked network; the shrunken one; the gates that are left. All on the CPU, in single precision and
        evaluation mode.

    Raises:
        InputError: for gates of another network, or a branch that cannot be removed.
    """
    masked, shrunken = _copy(network, gates), _copy(network, gates)
    going = ~gates.decided().cpu()
    shrink(shrunken[0], None, shrunken[1], going)
    masked[1].put((~going).float()[None])
    return masked[0], *shrunken


def _copy(network: nn.Module, gates: Gates) -> tuple[nn.Module, Gates]:
    sampled, gates.sampled = gates.sampled, None  # part of a step's graph, which cannot be copied
    try:
        pair = copy.deepcopy((network, gates))
    finally:
        gates.sampled = sampled
    for module in pair:
        module.to(device="cpu", dtype=torch.float32).eval().requires_grad_(False)
    return pair
