"""Names of networks, and how each is built."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from training.errors import InputError
from training.networks.bottleneck import BottleneckResNet
from training.networks.lenet import dense, lenet5
from training.networks.resnet import ResNet
from training.networks.vgg import vgg

__all__ = ["NETWORKS", "build"]

#: (channels, classes, size, width or None for the usual one) → network.
Builder: TypeAlias = Callable[[int, int, int, int | None], nn.Module]


def _resnet(depth: int, channels: int, classes: int, size: int, width: int | None) -> nn.Module:
    return ResNet(depth, 16 if width is None else width, channels, classes)


def _vgg(bypass: bool, channels: int, classes: int, size: int, width: int | None) -> nn.Module:
    width = 64 if width is None else width
    return vgg(width=width, channels=channels, classes=classes, size=size, bypass=bypass)


def _lenet_300_100(channels: int, classes: int, size: int, width: int | None) -> nn.Module:
    width = 300 if width is None else width
    return dense((width, -(-width // 3)), channels=channels, classes=classes, size=size)


def _lenet5(channels: int, classes: int, size: int, width: int | None) -> nn.Module:
    width = 20 if width is None else width
    return lenet5((width, width * 5 // 2, width * 25), channels=channels, classes=classes, size=size)


def _resnet50(channels: int, classes: int, size: int, width: int | None) -> nn.Module:
    return BottleneckResNet(width=64 if width is None else width, channels=channels, classes=classes)


#: Name → builder.
NETWORKS: dict[str, Builder] = {
    **{f"resnet{depth}": functools.partial(_resnet, depth) for depth in (8, 14, 20, 32, 44, 56, 110)},
    "resnet50": _resnet50,
    "vgg16": functools.partial(_vgg, False),
    "vgg16-bypass": functools.partial(_vgg, True),
    "lenet-300-100": _lenet_300_100,
    "lenet-5": _lenet5,
}


def build(name: str, channels: int, classes: int, *, size: int = 32, width: int | None = None) -> nn.Module:
    """Return a gated network with fresh weights.

    Args:
        name: one of `NETWORKS`. "resnet50" is the ImageNet network; the other residual ones are for small images.
        channels: of the images, ≥ 1.
        classes: number of outputs, ≥ 1.
        size: height and width of the images; only networks that end in a flattened image depend on it.
        width: units of the first layer; the other layers keep their ratio to it. None: as published.

    Raises:
        InputError: for an unknown name, or numbers that the network cannot be built with.

    Example:
        >>> sum(p.numel() for p in build("resnet20", 3, 10).parameters())
        269722
    """
    if name not in NETWORKS:
        raise InputError(f"network must be one of {', '.join(NETWORKS)}; got {name!r}")
    for label, value in (("channels", channels), ("classes", classes), ("size", size)):
        if value < 1:
            raise InputError(f"{label} must be ≥ 1; got {value}")
    if width is not None and width < 1:
        raise InputError(f"width must be ≥ 1; got {width}")
    return NETWORKS[name](channels, classes, size, width)
