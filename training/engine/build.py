"""The start of a run: its network with the seed's initial weights, and a length that is long enough."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from training.data.source import Source
from training.engine.config import RunConfig
from training.engine.optimizer import cosine_sum
from training.errors import InputError
from training.networks import build

__all__ = ["check_length", "network_of", "too_short_to_die"]


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


def too_short_to_die(config: RunConfig, cost: float, steps: int) -> str | None:
    """Say that a run is too short for a gate to die of its price, in a sentence; None where it is not.

    What nothing pulls goes down by gate_lr · κ a step, times the schedule's factor, once θ is not held any more.

    Args:
        config: settings of the run.
        cost: κ ≥ 0 of its dearest gate, at the start.
        steps: of the whole run.
    """
    full = cosine_sum(config.hold, steps)
    each = config.gate_lr * cost
    if each * full >= config.theta_start:
        return None
    long = f"{config.theta_start / each:,.0f} steps" if each else "for ever"
    return (
        f"this run is too short for any gate to reach zero by its price alone: from θ = {config.theta_start:g} down by "
        f"gate_lr · κ = {each:.2g} a step takes {long}, and this run has {full:,.0f} of them at the full learning rate "
        f"(hold = {config.hold}, then a cosine): raise epochs, gate-lr or nu"
    )


def network_of(config: RunConfig, dataset: Source) -> nn.Module:
    """Return the network with the seed's initial weights; gated and ungated runs start from the same ones.

    Raises:
        InputError: for an unknown network, one that cannot be built for these images, or that memory cannot hold.
    """
    channels, size, _ = dataset.shape
    make = partial(build, config.network, channels, dataset.classes, size=size, width=config.width)
    if config.width is not None:
        _check_memory(config, make)
    torch.manual_seed(config.seed)
    network = make()
    return network.to(config.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _check_memory(config: RunConfig, make: Callable[[], nn.Module]) -> None:
    """Refuse a width with which weights, gradients and momentum do not fit into this machine's memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with torch.device("meta"):  # shapes only: nothing is allocated, no random number drawn
            bytes_ = sum(parameter.numel() * parameter.element_size() for parameter in make().parameters())
    except (RuntimeError, OverflowError):  # beyond what a tensor's size can be
        bytes_ = None
    if bytes_ is None or 3 * bytes_ > memory:
        size = "" if bytes_ is None else f", whose weights alone take {bytes_ / 1e9:,.0f} GB"
        raise InputError(
            f"width must be such that {config.network} fits into the {memory / 1e9:,.0f} GB of memory here; "
            f"got {config.width}{size}"
        )
