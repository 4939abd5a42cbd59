"""CIFAR residual networks with gates: depth 6n+2, option-A shortcuts (He et al., 2016, section 4.2).

Each block's first convolution has one gate a unit, and each block's branch has one gate:

    y = relu( shortcut(x) + ξ_branch · norm2( conv2( ξ_units · relu( norm1( conv1(x) ) ) ) ) )
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from training.errors import InputError
from training.gating.sites import Branch, GateSite, UnitGroup

__all__ = ["BasicBlock", "ResNet"]


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a gated first output and a gated branch.

    Attributes:
        removed: whether the branch is gone and the block is its shortcut.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.units = GateSite(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.branch = GateSite(1)
        self.stride, self.padding = stride, outputs - inputs
        self.removed = False

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, outputs, h/stride, w/stride] from x [batch, inputs, h, w], not negative."""
        if self.removed:
            return self.shortcut(x)  # without another ReLU: x came out of one
        hidden = self.units.relu(self.norm1(self.conv1(x)), inplace=True)
        return self.branch.add_relu(self.shortcut(x), self.norm2(self.conv2(hidden)))

    def shortcut(self, x: Tensor) -> Tensor:
        """Return x by option A: subsampled, the new channels padded with zeros; no parameters."""
        if self.stride == 1 and self.padding == 0:
            return x
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.padding // 2, self.padding - self.padding // 2))

    def remove_branch(self) -> None:
        """Remove the branch for good; what is left costs nothing."""
        del self.conv1, self.norm1, self.units, self.conv2, self.norm2, self.branch
        self.removed = True


class ResNet(nn.Module):
    """A residual network for small images.

    Args:
        depth: 6n + 2 with n ≥ 1 blocks in each of three stages: 8, 14, 20, 32, 44, 56, 110, ….
        width: channels of the first stage; the others have twice and four times as many.
        channels: of the images.
        classes: number of outputs.

    Raises:
        InputError: for another depth, or a width below 1.
    """

    def __init__(self, depth: int = 20, width: int = 16, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise InputError(f"depth must be 6n+2 with n ≥ 1 (8, 14, 20, 32, 44, 56, 110); got {depth}")
        if width < 1:
            raise InputError(f"width must be ≥ 1; got {width}")
        self.conv = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks: list[BasicBlock] = []
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            for position in range((depth - 2) // 6):
                blocks.append(BasicBlock(inputs, outputs, stride=2 if stage > 0 and position == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [batch, classes] of images [batch, channels, h, w]."""
        x = self.blocks(F.relu(self.norm(self.conv(x)), inplace=True))
        return self.linear(x.mean((2, 3)))

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Return one group a block: the outputs of its first convolution."""
        return [
            UnitGroup(f"block{i}.units", b.units, b.conv1, b.norm1, b.conv2, branch=f"block{i}.branch")
            for i, b in self._present()
        ]

    def branches(self) -> Sequence[Branch]:
        """Return one branch a block."""
        return [Branch(f"block{i}.branch", b.branch, b.norm2, b) for i, b in self._present()]

    def _present(self) -> list[tuple[int, BasicBlock]]:
        """Return the blocks that have their branch, with their place among all blocks."""
        return [(i, b) for i, b in enumerate(self.blocks) if isinstance(b, BasicBlock) and not b.removed]
