"""The start of a run: its network with the seed's initial weights, and a length that is long enough."""

from __future__ import annotations

import torch
from torch import nn

from training.data.source import Source
from training.engine.config import RunConfig
from training.errors import InputError
from training.networks import build

__all__ = ["check_length", "network_of"]


def check_length(config: RunConfig, dataset: Source) -> None:
    """Refuse a batch larger than the training set, and a run too short for its warm-up.

    Raises:
        InputError: naming the setting and what it may be.
    """
    images = len(dataset.train_labels)
    if config.batch > images:
        raise InputError(f"batch must be ≤ {images}, the number of training images; got {config.batch}")
    each, every, warmup = images // config.batch, config.tracker.every, config.tracker.warmup
    # The audit needs a record, and records come only at multiples of `every`; gates must have moved by then.
    least = max(every * max(1, -(-warmup // every)), config.hold + 1)
    if config.epochs * each < least:
        raise InputError(
            f"epochs must be ≥ {-(-least // each)}, {least} steps of which an epoch has {each}, with hold = "
            f"{config.hold}, tracker.warmup = {warmup} and tracker.every = {every}; got {config.epochs}"
        )


def network_of(config: RunConfig, dataset: Source) -> nn.Module:
    """Return the network with the seed's initial weights; gated and ungated runs start from the same ones.

    Raises:
        InputError: for an unknown network, or one that cannot be built for these images.
    """
    torch.manual_seed(config.seed)
    channels, size, _ = dataset.shape
    network = build(config.network, channels, dataset.classes, size=size, width=config.width)
    return network.to(config.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
