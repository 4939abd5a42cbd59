"""Initial weights, the same for all networks."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

__all__ = ["he_normal"]

N = TypeVar("N", bound=nn.Module)


def he_normal(network: N) -> N:
    """Draw the convolutions by He et al. (2015), leave the rest as PyTorch makes it; return the network."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network
