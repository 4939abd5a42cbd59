"""Random numbers of a run come from one seed, with a separate stream for each purpose."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import torch

__all__ = ["Purpose", "stream"]

Purpose = Literal["order", "masks", "probes"]


def stream(purpose: Purpose, seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """Return the generator for one purpose in the run with this seed.

    Seeds are hashed with the purpose: with seed, seed + 1, seed + 2 for the three, neighbouring runs would share
    streams, and runs are counted as independent.

    Args:
        purpose: what they are drawn for: the order and augmentation of the data, the gates' masks, or probes.
        seed: of the run, ≥ 0.
        device: of the generator.

    Examples:
        >>> first, second = (torch.rand(1, generator=stream("masks", seed)) for seed in (0, 1))
        >>> bool(first != second)
        True
    """
    digest = blake2b(f"{purpose} {seed}".encode(), digest_size=8).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest) >> 1)
