"""Residual networks of bottlenecks (He et al., 2016), ResNet-50 among them, with gates.

Each block has one gate a unit on the outputs of its first and second convolution, so that neighbours' gates multiply
in the complexity, and one gate on its branch:

    y = relu( shortcut(x) + ξ_branch · norm3( conv3( ξ_2 · relu(norm2(conv2( ξ_1 · relu(norm1(conv1(x))) ))) ) ) )

Shortcuts are projected where the shape changes and have no gates. The 3×3 convolution carries the stride.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from training.errors import InputError
from training.gating.sites import Branch, GateSite, UnitGroup
from training.networks.initial import he_normal

__all__ = ["Bottleneck", "BottleneckResNet"]


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with gated units and a gated branch.

    Args:
        inputs: channels that it reads.
        inner: channels of the first two convolutions.
        outputs: channels that it writes.
        stride: of the 3×3 convolution and of the projection.

    Attributes:
        removed: whether the branch is gone and the block is its shortcut.
    """

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.units1 = GateSite(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.units2 = GateSite(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.branch = GateSite(1)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
        self.removed = False

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, outputs, h/stride, w/stride] from x [batch, inputs, h, w], not negative."""
        if self.removed:
            return x if isinstance(self.shortcut, nn.Identity) else F.relu(self.shortcut(x), inplace=True)
        hidden = self.units1.relu(self.norm1(self.conv1(x)), inplace=True)
        hidden = self.units2.relu(self.norm2(self.conv2(hidden)), inplace=True)
        return self.branch.add_relu(self.shortcut(x), self.norm3(self.conv3(hidden)))

    def remove_branch(self) -> None:
        """Remove the branch for good; what is left is the shortcut, with its projection where there is one."""
        del self.conv1, self.norm1, self.units1, self.conv2, self.norm2, self.units2
        del self.conv3, self.norm3, self.branch
        self.removed = True


class BottleneckResNet(nn.Module):
    """A residual network of bottlenecks; ResNet-50 by default.

    Args:
        blocks: number of blocks in each stage; from the second stage on the first block halves the image.
        width: inner channels of the first stage, ≥ 1; they double from stage to stage.
        expansion: a block writes this many times its inner channels.
        channels: of the images.
        classes: number of outputs.
        small_images: start with a 3×3 convolution instead of a 7×7 one with stride 2 and pooling.

    Raises:
        InputError: for a width below 1, or a stage without blocks.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        *,
        expansion: int = 4,
        channels: int = 3,
        classes: int = 1000,
        small_images: bool = False,
    ) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"width must be ≥ 1; got {width}")
        if not blocks or min(blocks) < 1:
            raise InputError(f"blocks must be stages of at least one block; got {list(blocks)}")
        kernel, stride = (3, 1) if small_images else (7, 2)
        self.conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool: nn.Module = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)
        made: list[Bottleneck] = []
        inputs = width
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            for position in range(count):
                made.append(Bottleneck(inputs, inner, expansion * inner, 2 if stage and not position else 1))
                inputs = expansion * inner
        self.blocks = nn.Sequential(*made)
        self.linear = nn.Linear(inputs, classes)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [batch, classes] of images [batch, channels, h, w]."""
        x = self.blocks(self.pool(F.relu(self.norm(self.conv(x)), inplace=True)))
        return self.linear(x.mean((2, 3)))

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Return two groups a block: the outputs of its first and of its second convolution."""
        groups = []
        for i, b in self._present():
            branch = f"block{i}.branch"
            groups.append(UnitGroup(f"block{i}.units1", b.units1, b.conv1, b.norm1, b.conv2, branch))
            groups.append(UnitGroup(f"block{i}.units2", b.units2, b.conv2, b.norm2, b.conv3, branch))
        return groups

    def branches(self) -> Sequence[Branch]:
        """Return one branch a block."""
        return [Branch(f"block{i}.branch", b.branch, b.norm3, b, b.shortcut) for i, b in self._present()]

    def _present(self) -> list[tuple[int, Bottleneck]]:
        """Return the blocks that have their branch, with their place among all blocks."""
        return [(i, b) for i, b in enumerate(self.blocks) if isinstance(b, Bottleneck) and not b.removed]
