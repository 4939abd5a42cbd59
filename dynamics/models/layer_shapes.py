"""Layer shapes of common gated networks: residual nets (basic and bottleneck), plain chains, dense nets.

Written from the architectures' definitions, apart from any trained module: an independent reference for structures
that are read off real modules. Convolutions have no bias and are followed by a batch normalisation (two parameters
a channel, no multiply–accumulates); dense layers have a bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dynamics.models.complexity import Layer, Structure

__all__ = ["VGG16", "bottleneck_resnet", "chain", "dense", "resnet"]

#: Output channels of VGG-16's convolutions; "M" halves the image.
VGG16: tuple[int | Literal["M"], ...] = (
    *(64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
)


def convolution(
    name: str, inputs: str | int, outputs: str | int, kernel: int, size: int, branch: str | None = None
) -> Layer:
    """Return a kernel × kernel convolution with an image of size × size at its output, and its normalisation."""
    return Layer(name, inputs, outputs, kernel**2 * size**2, kernel**2, 2, branch)


def resnet(
    depth: int = 20,
    widths: Sequence[int] = (16, 32, 64),
    *,
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
) -> Structure:
    """Return a residual network of depth 6n+2 for small images, shortcuts without parameters (option A).

    Gates: the outputs of each block's first convolution, and each block's branch.

    Raises:
        ValueError: if the depth is not 6n+2 with n ≥ 1.

    Example:
        >>> net = resnet(20)
        >>> net.gates, net.full_macs, net.full_parameters
        (345, 40551040, 269722)
    """
    blocks, rest = divmod(depth - 2, 2 * len(widths))
    if rest or blocks < 1:
        raise ValueError(f"depth must be {2 * len(widths)}n + 2 with n ≥ 1; got {depth}")
    layers, width = [convolution("stem", channels, widths[0], 3, size)], widths[0]
    units: dict[str, int] = {}
    for stage, wide in enumerate(widths):
        for i in range(blocks):
            size = _halved(size) if stage and not i else size
            block = f"{stage}.{i}"
            units[block] = wide
            layers.append(convolution(f"{block}.first", width, block, 3, size, block))
            layers.append(convolution(f"{block}.second", block, wide, 3, size, block))
            width = wide
    layers.append(Layer("classifier", width, classes, 1, 1, 1))
    return Structure(layers, units, list(units))


def bottleneck_resnet(
    depth: int = 29,
    widths: Sequence[int] = (16, 32, 64),
    *,
    expansion: int = 4,
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
) -> Structure:
    """Return a residual network of depth 9n+2 with 1×1, 3×3, 1×1 blocks; shortcuts are projected where the shape
    changes.

    Gates: the outputs of each block's first and second convolution, so that neighbours' gates multiply, and each
    block's branch. The 3×3 convolution carries the stride.

    Raises:
        ValueError: if the depth is not 9n+2 with n ≥ 1.

    Example:
        >>> net = bottleneck_resnet(29)
        >>> net.gates, net.polynomial("macs").is_Add
        (681, True)
    """
    blocks, rest = divmod(depth - 2, 3 * len(widths))
    if rest or blocks < 1:
        raise ValueError(f"depth must be {3 * len(widths)}n + 2 with n ≥ 1; got {depth}")
    layers, width = [convolution("stem", channels, widths[0], 3, size)], widths[0]
    units: dict[str, int] = {}
    branches: list[str] = []
    for stage, narrow in enumerate(widths):
        for i in range(blocks):
            block, wide, before = f"{stage}.{i}", expansion * narrow, size
            size = _halved(size) if stage and not i else size
            first, second = f"{block}.first", f"{block}.second"
            units |= {first: narrow, second: narrow}
            branches.append(block)
            layers.append(convolution(first, width, first, 1, before, block))
            layers.append(convolution(second, first, second, 3, size, block))
            layers.append(convolution(f"{block}.third", second, wide, 1, size, block))
            if width != wide:
                layers.append(convolution(f"{block}.shortcut", width, wide, 1, size))
            width = wide
    layers.append(Layer("classifier", width, classes, 1, 1, 1))
    return Structure(layers, units, branches)


def chain(
    plan: Sequence[int | Literal["M"]] = VGG16, *, channels: int = 3, size: int = 32, classes: int = 10
) -> Structure:
    """Return a plain chain of 3×3 convolutions (VGG), then one dense layer; every convolution's outputs are gated.

    Example:
        >>> chain().full_macs
        313201664
    """
    layers: list[Layer] = []
    units: dict[str, int] = {}
    last: str | int = channels
    for step in plan:
        if step == "M":
            size = _halved(size)
            continue
        name = f"conv{len(units)}"
        layers.append(convolution(name, last, name, 3, size))
        units[name], last = step, name
    # A channel reaches the dense layer as size² numbers.
    layers.append(Layer("classifier", last, classes, size**2, size**2, 1))
    return Structure(layers, units, [])


def dense(widths: Sequence[int]) -> Structure:
    """Return a dense network of the given widths, inputs first; every hidden unit is gated.

    Example:
        >>> dense([3, 4, 2]).polynomial("parameters")
        6*units(hidden0) + 2
    """
    if len(widths) < 2:
        raise ValueError(f"widths must name at least inputs and outputs; got {list(widths)}")
    units = {f"hidden{i}": width for i, width in enumerate(widths[1:-1])}
    ends: list[str | int] = [widths[0], *units, widths[-1]]
    layers = [Layer(f"dense{i}", ends[i], ends[i + 1], 1, 1, 1) for i in range(len(ends) - 1)]
    return Structure(layers, units, [])


def _halved(size: int) -> int:
    if size % 2:
        raise ValueError(f"size must stay even where the image is halved; got {size}")
    return size // 2
