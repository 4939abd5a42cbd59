"""LeNet-300-100 and LeNet-5 with one gate a hidden unit (LeCun et al., 1998; LeNet-5 in the pruning literature's form).

LeNet-5 here has 20 and 50 filters of 5×5, each followed by pooling, and 500 dense units: 431,080 parameters on 28×28
images, the version that pruning results are reported on. No normalisation: a unit's fan-in is its weights and bias.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from training.errors import InputError
from training.gating.sites import GateSite
from training.networks.chain import Chain
from training.networks.initial import he_normal

__all__ = ["dense", "lenet5"]


def dense(hidden: Sequence[int] = (300, 100), *, channels: int = 1, classes: int = 10, size: int = 28) -> Chain:
    """Return a dense network on flattened images, every hidden unit gated; LeNet-300-100 by default.

    Args:
        hidden: units of the hidden layers, each ≥ 1.
        channels: of the images.
        classes: number of outputs.
        size: height and width of the images.

    Raises:
        InputError: for a hidden layer without units.

    Example:
        >>> sum(p.numel() for p in dense().parameters())
        266610
    """
    if not all(units >= 1 for units in hidden):
        raise InputError(f"hidden must be layers of at least one unit; got {list(hidden)}")
    parts: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    inputs = channels * size**2
    for i, units in enumerate(hidden, start=1):
        parts |= {f"linear{i}": nn.Linear(inputs, units), f"relu{i}": nn.ReLU(), f"units{i}": GateSite(units)}
        inputs = units
    return Chain(OrderedDict(parts, linear=nn.Linear(inputs, classes)))


def lenet5(
    widths: tuple[int, int, int] = (20, 50, 500), *, channels: int = 1, classes: int = 10, size: int = 28
) -> Chain:
    """Return LeNet-5: two convolutions and a dense layer, every unit gated, then the classifier.

    Args:
        widths: filters of the two convolutions, dense units; each ≥ 1.
        channels: of the images.
        classes: number of outputs.
        size: height and width of the images, ≥ 16.

    Raises:
        InputError: for a layer without units, or images too small for two 5×5 convolutions with pooling.

    Example:
        >>> sum(p.numel() for p in lenet5().parameters())
        431080
    """
    first, second, units = widths
    if min(widths) < 1:
        raise InputError(f"widths must be ≥ 1; got {widths}")
    left = ((size - 4) // 2 - 4) // 2
    if left < 1:
        raise InputError(f"size must be ≥ 16 (two 5×5 convolutions without padding, each halved); got {size}")
    parts: dict[str, nn.Module] = {}
    for i, (inputs, outputs) in enumerate([(channels, first), (first, second)], start=1):
        parts |= {f"conv{i}": nn.Conv2d(inputs, outputs, 5), f"relu{i}": nn.ReLU(), f"units{i}": GateSite(outputs)}
        parts[f"pool{i}"] = nn.MaxPool2d(2)
    hidden = {"linear3": nn.Linear(second * left**2, units), "relu3": nn.ReLU(), "units3": GateSite(units)}
    return he_normal(Chain(OrderedDict(parts, flatten=nn.Flatten(), **hidden, linear=nn.Linear(units, classes))))
