"""What may stand between a layer, its gate site, and the layer that reads the units: a list, and nothing else.

A unit can leave only if its channel is its own from the layer that makes it to the layer that reads it. So before the
site stands only what does the same to every channel, each by itself; behind it only what, besides, leaves zero at zero,
since there a masked unit is zeros. What is not on these lists mixes channels (`GroupNorm`, `Softmax2d`), has entries a
channel that would stay behind (`PReLU(16)`), or turns zero into something (`Sigmoid`, a shift).
"""

from __future__ import annotations

from torch import nn

__all__ = ["keeps_channels_apart", "keeps_zero"]

#: Each the same function of every channel, and f(0) = 0.
_KEEPS_ZERO: tuple[type[nn.Module], ...] = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Tanh, nn.Softsign, nn.Hardswish, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d),
)
#: Each the same function of every channel, whatever zero becomes.
_KEEPS_APART: tuple[type[nn.Module], ...] = (
    *_KEEPS_ZERO,
    *(nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Softplus, nn.Hardtanh, nn.Threshold),
)


def keeps_channels_apart(module: nn.Module) -> bool:
    """Return whether a module does the same to every channel, each by itself."""
    return type(module) in _KEEPS_APART or _does_the_same(module)


def keeps_zero(module: nn.Module) -> bool:
    """Return whether a module does the same to every channel, each by itself, and leaves zero at zero."""
    return type(module) in _KEEPS_ZERO or _does_the_same(module)


def _does_the_same(module: nn.Module) -> bool:
    """Return whether a module whose arguments matter does the same to every channel, and leaves zero at zero."""
    if type(module) is nn.PReLU:  # a slope that all channels share has no entry for any of them
        return module.num_parameters == 1
    # Whole images only: then a dense layer reads each unit in columns that stand in a row.
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
