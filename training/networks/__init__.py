"""Gated networks by class and by name, and the parts from which to build others."""

from training.networks.bottleneck import Bottleneck, BottleneckResNet
from training.networks.chain import Chain, Residual
from training.networks.lenet import dense, lenet5
from training.networks.registry import NETWORKS, build
from training.networks.resnet import BasicBlock, ResNet
from training.networks.vgg import VGG16, vgg

__all__ = [
    "NETWORKS",
    "VGG16",
    "BasicBlock",
    "Bottleneck",
    "BottleneckResNet",
    "Chain",
    "ResNet",
    "Residual",
    "build",
    "dense",
    "lenet5",
    "vgg",
]
