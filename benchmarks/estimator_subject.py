"""A small real network whose gates can be enumerated, and what is true of them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.batches import batches
from training.data.data_sets import load_digits
from training.estimators import all_masks
from training.gating.gates import Gates
from training.networks import ResNet

FREE = 10  # gates that are enumerated


class Subject:
    """The trained network with its free gates."""

    def __init__(self, epochs: int, images: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.data = load_digits()
        self.network = ResNet(8, 4, channels=1)
        self.gates = Gates(self.network, 0.8)
        self._train(epochs, seed)
        units = self.gates.units
        self.free = torch.tensor([0, 1, 2, 3, 4, 5, 6, units, units + 1, units + 2])
        self.layer = self.free >= units
        self.branch = torch.tensor([7, 7, 7, 7, 8, 8, 8, -1, -1, -1])  # of each unit, its branch among the free gates
        order = torch.randperm(len(self.data.train_labels))[:images]
        self.images, self.labels = self.data.normalise(self.data.train_images[order]), self.data.train_labels[order]
        for norm in self.network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 0.0  # batch statistics leave the running ones alone

    def _train(self, epochs: int, seed: int) -> None:
        optimizer = torch.optim.SGD(self.network.parameters(), 0.1, 0.9, weight_decay=5e-4)
        order = torch.Generator().manual_seed(seed)
        for epoch in range(epochs):
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * (1 + math.cos(math.pi * epoch / epochs)) / 2
            for images, labels in batches(self.data, 64, order):
                self.gates.sample(len(images))
                loss = F.cross_entropy(self.network(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def run(self, images: Tensor, labels: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """Losses [batch] and their masks [batch, gate], a leaf: all gates on but the free ones, which are as given."""
        masks = torch.ones(len(images), len(self.gates.theta))
        masks[:, self.free] = free.float()
        masks.requires_grad_()
        self.gates.put(masks)
        return F.cross_entropy(self.network(images), labels, reduction="none"), masks

    def slopes(self, losses: Tensor, masks: Tensor) -> Tensor:
        """Return ∂(Σ loss)/∂ξ of the free gates."""
        return torch.autograd.grad(losses.sum(), masks)[0][:, self.free]


def tabulate(subject: Subject) -> tuple[Tensor, Tensor]:
    """Losses [mask, image] and slopes [mask, image, gate] under all masks, statistics frozen."""
    subject.network.eval()
    count, losses, slopes = len(subject.images), [], []
    for part in all_masks(FREE).split(32):
        images, labels = subject.images.repeat(len(part), 1, 1, 1), subject.labels.repeat(len(part))
        loss, masks = subject.run(images, labels, part.repeat_interleave(count, 0))
        losses.append(loss.detach().view(len(part), count))
        slopes.append(subject.slopes(loss, masks).view(len(part), count, FREE))
    return torch.cat(losses).double(), torch.cat(slopes).double()


@torch.no_grad()
def flip_all(subject: Subject, image: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_b [L(ξ_bk=1) − L(ξ_bk=0)] for each free gate k, L the mean loss; and what of it is from sample b's own loss."""
    images, labels = subject.images[image], subject.labels[image]
    base = subject.run(images, labels, free)[0]
    total, direct = torch.zeros(2, FREE, dtype=torch.float64)
    for k in range(FREE):
        for b in range(len(image)):
            flipped = free.clone()
            flipped[b, k] = 1 - free[b, k]
            change = (subject.run(images, labels, flipped)[0] - base).double() * float(1 - 2 * free[b, k])
            total[k] += change.mean()
            direct[k] += change[b] / len(image)
    return total, direct
