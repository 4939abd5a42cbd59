"""Published numbers on CIFAR-10, for the networks that they are for; never ours, and never mixed with ours.

As the READMEs or abstracts of these works give them. Most start from a pretrained network and fine-tune for hundreds of
epochs, and several report the best test epoch, where a table here has the last: upper bounds.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Published", "published"]


class Published(NamedTuple):
    """One published result.

    Attributes:
        network: that it is for.
        method: the method here that is of the same kind; None: none.
        text: base → pruned accuracy in %, and the share of FLOPs removed.
        source: whose number it is.
    """

    network: str
    method: str | None
    text: str
    source: str


_ALL = [
    Published("resnet56", None, "93.61 → 93.04 @ 52.6%, from scratch", "LAASP, README or abstract"),
    Published("resnet56", None, "93.26 → 94.16 @ 47.4%", "CHIP, README or abstract"),
    Published("resnet56", "torch-pruning", "93.53 → 93.64 @ 61%", "DepGraph, README or abstract"),
    Published("resnet56", None, "93.44 → 93.22 @ 75.6%", "soft mask, README or abstract"),
    Published("resnet110", None, "94.41 → 94.17 @ 52.5%, from scratch", "LAASP, README or abstract"),
    Published("resnet110", None, "93.5 → 94.15 @ 66.6%", "AutoBot, README or abstract"),
    Published("resnet110", None, "93.23 @ 71.6%", "HRankPlus, README or abstract"),
    Published("vgg16", None, "93.79 → 93.79 @ 60.5%, from scratch", "LAASP, README or abstract"),
    Published("vgg16", None, "93.96 → 93.62 @ 76.9%", "AutoBot, README or abstract"),
    Published("vgg16", None, "93.18 @ 78.6%", "CHIP, README or abstract"),
    Published("vgg16", "while-training", "drop under 1 at 80% of filters removed", "arXiv 2003.02800, abstract"),
    Published("resnet32", None, "91.8 @ 66%, from scratch", "PruneTrain, README or abstract"),
    Published("resnet32", None, "92.64 @ 53.3%", "LAASP, README or abstract"),
]


def published(network: str, width: int | None, data: str) -> list[Published]:
    """Return what is published for a network on a data set.

    Args:
        network: by name.
        width: None, or as published: 16 for residual networks, 64 for VGG-16.
        data: name of the data set.

    Example:
        >>> [p.text for p in published("resnet56", None, "cifar10") if p.method == "torch-pruning"]
        ['93.53 → 93.64 @ 61%']
        >>> published("resnet56", 8, "cifar10")
        []
    """
    usual = 64 if network.startswith("vgg") else 16
    if data != "cifar10" or width not in (None, usual):
        return []
    return [each for each in _ALL if each.network == network]
