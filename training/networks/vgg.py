"""VGG with batch normalisation for small images (Simonyan and Zisserman, 2015), plain or with bypasses.

3×3 convolutions in stages, the image halved after each stage, then one dense layer.

Plain: the outputs of every convolution have one gate a unit. With bypasses: within a stage all but the first
convolution keep the shape of what they read, so an identity path is laid around them and their branch gets a gate:

    x → conv → norm → relu → x + ξ_branch · norm(conv(… ξ_units · relu(norm(conv(x))) …)) → relu → pool

(the first convolution too, where the stage keeps the width). What is added to an identity path has no unit gates:
its channels are those of the path. "Layers" that can be removed need such a path; which one the listed systems laid
is not stated in their abstracts, and this is this project's choice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from training.errors import InputError
from training.gating.sites import GateSite
from training.networks.chain import Chain, Residual
from training.networks.initial import he_normal

__all__ = ["VGG16", "vgg"]

#: VGG-16's stages: for each, the widths of its convolutions in units of the first one's.
VGG16: tuple[tuple[int, ...], ...] = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))


def vgg(
    stages: Sequence[Sequence[int]] = VGG16,
    width: int = 64,
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    bypass: bool = False,
) -> Chain:
    """Return a gated VGG network.

    Args:
        stages: for each stage, the widths of its convolutions in multiples of `width`.
        width: output channels of the first convolution, ≥ 1.
        channels: of the images.
        classes: number of outputs.
        size: height and width of the images, a multiple of 2^(number of stages).
        bypass: lay residual paths around the sections that keep their shape.

    Raises:
        InputError: for a width below 1 or a size that cannot be halved after each stage.

    Example:
        >>> net = vgg()
        >>> sum(p.numel() for p in net.parameters()), len(net.unit_groups())
        (14724042, 13)
    """
    if width < 1:
        raise InputError(f"width must be ≥ 1; got {width}")
    if size < 1 or size % 2 ** len(stages):
        raise InputError(
            f"size of the images must be a multiple of {2 ** len(stages)} (one halving a stage); got {size}"
        )
    parts: dict[str, nn.Module] = {}
    inputs, number = channels, 1
    for stage, multiples in enumerate(stages, start=1):
        widths = [width * multiple for multiple in multiples]
        parts |= _bypassed(inputs, widths, number, stage) if bypass else _plain(inputs, widths, number)
        parts[f"pool{stage}"] = nn.MaxPool2d(2)
        inputs, number = widths[-1], number + len(widths)
    left = size // 2 ** len(stages)
    parts |= {"flatten": nn.Flatten(), "linear": nn.Linear(inputs * left**2, classes)}
    return he_normal(Chain(OrderedDict(parts)))


def _plain(inputs: int, widths: Sequence[int], number: int) -> dict[str, nn.Module]:
    """Return convolutions with gated outputs, counted from `number`."""
    parts: dict[str, nn.Module] = {}
    for i, outputs in enumerate(widths, start=number):
        parts |= _convolution(inputs, outputs, i) | {f"relu{i}": nn.ReLU(), f"units{i}": GateSite(outputs)}
        inputs = outputs
    return parts


def _bypassed(inputs: int, widths: Sequence[int], number: int, stage: int) -> dict[str, nn.Module]:
    """Return one stage: a convolution to its width where that differs, then a section with an identity path."""
    parts: dict[str, nn.Module] = {}
    first, *others = widths
    if inputs != first:
        parts |= _convolution(inputs, first, number) | {f"relu{number}": nn.ReLU()}
        section, number = others, number + 1
    else:
        section = [first, *others]
    if not section or section[-1] != first:
        raise InputError(f"a stage with a bypass must keep one width over two convolutions; got {list(widths)}")
    *inner, last = section
    branch = _plain(first, inner, number)
    branch |= _convolution(inner[-1] if inner else first, last, number + len(inner))
    return parts | {f"section{stage}": Residual(Chain(OrderedDict(branch))), f"after{stage}": nn.ReLU()}


def _convolution(inputs: int, outputs: int, number: int) -> dict[str, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
    return {f"conv{number}": convolution, f"norm{number}": nn.BatchNorm2d(outputs)}
