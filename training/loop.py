"""The training loop, the same for a gated and an ungated network.

One step of a gated network:

    ξ ~ Ber(θ) per sample;   loss = mean ℓ(w, ξ);   D̂ = Σ_batch ∂loss/∂ξ
    w ← momentum SGD on ∇loss + λw;   θ ← clip(θ − lr_θ (D̂ + κ), 0, 1)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from dynamics.complexity import Structure
from training.config import Validate
from training.data import Source, batches, test_batches
from training.errors import InputError
from training.gates import Gates
from training.optimizer import ProjectedSGD, cosine, gate_rate, weight_optimizer
from training.progress import Progress
from training.tracker import Record, Tracker

__all__ = ["Gating", "Trained", "evaluate", "train"]


@dataclass
class Gating:
    """A network's gates with what drives them.

    Attributes:
        gates: θ and the masks.
        structure: the network's complexity polynomial, for the costs κ.
        on_record: called with every record of the tracker.
    """

    gates: Gates
    structure: Structure
    on_record: Callable[[Record], None]


@dataclass(frozen=True)
class Trained:
    """What a training run ended with.

    Attributes:
        accuracy: on the test set after the last epoch, in [0, 1].
        loss: mean training loss of the last epoch, nats.
        seconds: wall time of training, evaluation left out.
        steps: optimizer steps.
    """

    accuracy: float
    loss: float
    seconds: float
    steps: int


def train(
    config: Validate,
    network: nn.Module,
    dataset: Source,
    progress: Progress,
    log: Callable[..., None],
    gating: Gating | None = None,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train a network, with gates if `gating` is given.

    Args:
        config: settings; `seed` fixes the order of the data, the augmentation and the masks.
        network: trained in place.
        dataset: gives its batches on the same device.
        progress: shows where the run stands.
        log: called with scalars as keywords.
        gating: the gates, or None for the plain network.
        on_epoch: called after each epoch with the number of epochs done.

    Raises:
        InputError: if the loss diverges, in a gated run at the very step.
    """
    optimizer = weight_optimizer(config.optimizer, network, lr=config.lr, momentum=config.momentum, decay=config.decay)
    order = torch.Generator().manual_seed(config.seed)
    masks = torch.Generator(device=config.device).manual_seed(config.seed + 1)
    gate_optimizer, tracker = None, None
    if gating is not None:
        gate_optimizer = ProjectedSGD(gating.gates.theta, config.gate_lr)
        rate = gate_rate(optimizer, config.gate_lr)
        tracker = Tracker(gating.gates, config.tracker, decay=config.decay, rate=rate)
    steps_per_epoch = len(dataset.train_labels) // config.batch
    steps, step, seconds = config.epochs * steps_per_epoch, 0, 0.0
    for epoch in range(config.epochs):
        network.train()
        start, total = time.perf_counter(), torch.zeros((), device=config.device)
        for images, labels in batches(dataset, config.batch, order, channels_last=True):
            factor = cosine(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = config.lr * factor
            if gating is not None:
                gating.gates.sample(len(images), masks)
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if gating is not None and gate_optimizer is not None and tracker is not None:
                difference = gating.gates.difference()
                if not bool(difference.isfinite().all()):
                    raise InputError(f"the loss diverged at step {step + 1}: lower lr = {config.lr}")
                cost = gating.structure.costs(gating.gates.theta.detach(), config.nu, config.alpha, config.beta)
                record = tracker.observe(difference, cost)
                if record is not None:
                    gating.on_record(record)
                gate_optimizer.lr = config.gate_lr * factor
                if step >= config.hold:
                    gate_optimizer.step(difference + cost)
            optimizer.step()
            total += loss.detach()
            step += 1
            progress.advance()
        seconds += time.perf_counter() - start
        mean = float(total) / steps_per_epoch
        if not mean < float("inf"):
            raise InputError(f"the loss is {mean} after epoch {epoch + 1}: lower lr = {config.lr}")
        accuracy = evaluate(network, dataset, config.batch, gating.gates if gating else None)
        log(epoch=epoch + 1, step=step, loss=mean, accuracy=accuracy, seconds=round(seconds, 2))
        progress.note(f"epoch {epoch + 1}/{config.epochs}  loss {mean:.3f}  accuracy {100 * accuracy:.2f}%")
        on_epoch(epoch + 1)
    return Trained(accuracy, mean, seconds, step)


@torch.no_grad()
def evaluate(network: nn.Module, dataset: Source, batch: int, gates: Gates | None) -> float:
    """Test accuracy in [0, 1]; with gates, of the deterministic network (a gate is on where θ ≥ ½)."""
    network.eval()
    if gates is not None:
        gates.decide()
    right = sum(
        int((network(images).argmax(1) == labels).sum())
        for images, labels in test_batches(dataset, batch, channels_last=True)
    )
    return right / len(dataset.test_labels)
