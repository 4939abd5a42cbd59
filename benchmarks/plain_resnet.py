"""The CIFAR ResNet (He et al., 2016, section 4.2) as one writes it in plain PyTorch: the peer that knows no gates.

Written for the comparison, independent of `training.networks`; option-A shortcuts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.grow = outputs - inputs
        stride = 2 if self.grow else 1
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        beside = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grow // 2, self.grow // 2)) if self.grow else x
        return torch.relu_(self.main(x) + beside)


def plain_resnet(depth: int, width: int = 16, classes: int = 10) -> nn.Module:
    """Return a plain ResNet of depth 6n + 2."""
    blocks, inputs = [], width
    for outputs in (width, 2 * width, 4 * width):
        for _ in range((depth - 2) // 6):
            blocks.append(Block(inputs, outputs))
            inputs = outputs
    stem = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
