"""The constants of the ODE at one moment of a run: decay, rate and step, as the optimizer has them then."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.errors import InputError

__all__ = ["Constants"]


@dataclass(frozen=True)
class Constants:
    """Numbers that every certificate of a record rests on.

    Attributes:
        decay: λ, weight decay, ≥ 0.
        rate: r, the gates' learning rate over the weights' effective step, > 0.
        step: h, the weights' effective step lr/(1 − momentum), > 0.

    Raises:
        InputError: for a number out of range, naming it.
    """

    decay: float
    rate: float
    step: float

    def __post_init__(self) -> None:
        if not 0 <= self.decay < math.inf:
            raise InputError(f"decay must be ≥ 0 and finite; got {self.decay}")
        for name in ("rate", "step"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be > 0 and finite; got {getattr(self, name)}")
