"""Measures each gate's coupling while training runs, and asks `dynamics` for its margin.

Every step brings an estimate of D for every gate. Over an interval of `every` steps the tracker averages it; the
coupling along the present weights is η̂ = max(0, −D̄)/ρ (over ρ_in·ρ_out for the bilinear bound). The bound that
enters the certificate is the largest η̂ of the last `window` steps, times `factor`. It is a measurement of the past,
so a certificate is a conditional promise: *while η stays below the bound and κ above its value, the gate dies*.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dynamics import BilinearGate, LinearGate
from training.errors import InputError
from training.gates import Gates

__all__ = ["Record", "Tracker", "TrackerSettings"]


@dataclass(frozen=True)
class TrackerSettings:
    """How couplings are measured.

    Attributes:
        warmup: no certificate before this many steps: until the network has learned something, couplings rise
            steeply (about 40-fold on CIFAR-10) and what was measured bounds nothing.
        window: the bound is the maximum over this many steps.
        every: steps averaged into one estimate, and between two records.
        factor: safety factor on the measured coupling, the m of "still dies if it becomes m times as useful".
    """

    warmup: int = 1000
    window: int = 500
    every: int = 50
    factor: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("warmup", 0), ("window", 1), ("every", 1)):
            if getattr(self, name) < least:
                raise InputError(f"tracker.{name} must be ≥ {least}; got {getattr(self, name)}")
        if self.window < self.every:
            raise InputError(f"tracker.window must be ≥ tracker.every = {self.every}; got {self.window}")
        if not 1 <= self.factor < np.inf:
            raise InputError(f"tracker.factor must be ≥ 1 and finite; got {self.factor}")


@dataclass(frozen=True)
class Record:
    """One look at all gates. Arrays are [gate]; NaN where a quantity does not exist (ρ_in of a branch).

    Attributes:
        step: steps done.
        theta: θ.
        rho: fan-out norm of a unit; norm of the last normalisation's scale and shift of a branch.
        rho_in: fan-in norm of a unit.
        difference: D̄, the mean of D̂ over the interval.
        error: its standard error over the interval's steps.
        coupling: the bound on η for the linear gate (window maximum times factor).
        coupling_bilinear: the same for the bilinear gate.
        cost: κ.
        in_box: inside the invariant box of the linear gate.
        margin: linear margin; negative = certified. +∞ during warm-up.
        margin_bilinear: bilinear margin; +∞ during warm-up, NaN for branches.
    """

    step: int
    theta: Float[np.ndarray, " gate"]
    rho: Float[np.ndarray, " gate"]
    rho_in: Float[np.ndarray, " gate"]
    difference: Float[np.ndarray, " gate"]
    error: Float[np.ndarray, " gate"]
    coupling: Float[np.ndarray, " gate"]
    coupling_bilinear: Float[np.ndarray, " gate"]
    cost: Float[np.ndarray, " gate"]
    in_box: Bool[np.ndarray, " gate"]
    margin: Float[np.ndarray, " gate"]
    margin_bilinear: Float[np.ndarray, " gate"]


class Tracker:
    """Accumulates D̂ and turns it into records.

    Args:
        gates: the gates to watch.
        settings: see `TrackerSettings`.
        decay: λ, weight decay.
        rate: r, from `training.optimizer.gate_rate`.
    """

    def __init__(self, gates: Gates, settings: TrackerSettings, *, decay: float, rate: float) -> None:
        self.gates, self.settings, self.decay, self.rate = gates, settings, decay, rate
        length = -(-settings.window // settings.every)
        self._couplings: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=length)
        self.step = 0
        self._clear()

    def _clear(self) -> None:
        zeros = torch.zeros_like(self.gates.theta.detach(), dtype=torch.float64)
        self._sum, self._squares, self._count = zeros, zeros.clone(), 0

    def observe(self, difference: Float[Tensor, " gate"], cost: Float[Tensor, " gate"]) -> Record | None:
        """Take in one step's D̂ (before the step is made); every `every` steps return a record."""
        self._sum += difference
        self._squares += difference.double().square()
        self._count += 1
        self.step += 1
        if self._count < self.settings.every:
            return None
        record = self._record(cost)
        self._clear()
        return record

    def _record(self, cost: Float[Tensor, " gate"]) -> Record:
        mean = self._sum / self._count
        variance = (self._squares / self._count - mean.square()).clamp_min(0) / max(self._count - 1, 1)
        difference = mean.cpu().numpy()
        theta = self.gates.theta.detach().double().cpu().numpy()
        rho_in, rho = (norm.double().cpu().numpy() for norm in self.gates.weight_norms())
        pull = np.maximum(0.0, -difference)
        self._couplings.append((_quotient(pull, rho), _quotient(pull, rho_in * rho)))
        coupling, bilinear = (
            self.settings.factor * np.max(past, axis=0) for past in zip(*self._couplings, strict=True)
        )
        constants = {"decay": self.decay, "cost": cost.double().cpu().numpy(), "rate": self.rate}
        gate = LinearGate(coupling=coupling, **constants)
        warm = self.step >= self.settings.warmup
        margin, in_box = gate.margin(rho, theta), gate.in_box(rho, theta)
        return Record(
            step=self.step,
            theta=theta,
            rho=rho,
            rho_in=rho_in,
            difference=difference,
            error=variance.sqrt().cpu().numpy(),
            coupling=coupling,
            coupling_bilinear=bilinear,
            cost=constants["cost"],
            in_box=in_box if warm else np.zeros_like(in_box),
            margin=margin if warm else np.full_like(margin, np.inf),
            margin_bilinear=self._bilinear_margin(bilinear, constants, rho_in, rho, theta, warm),
        )

    def _bilinear_margin(
        self,
        coupling: np.ndarray,
        constants: dict,
        rho_in: np.ndarray,
        rho: np.ndarray,
        theta: np.ndarray,
        warm: bool,
    ) -> np.ndarray:
        margin = np.full_like(theta, np.nan)
        units = slice(self.gates.units)
        gate = BilinearGate(
            decay=self.decay, coupling=coupling[units], cost=constants["cost"][units], rate=self.rate
        )
        found = gate.margin(rho_in[units], rho[units], theta[units])
        margin[units] = found if warm else np.inf
        return margin


def _quotient(pull: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """pull / norm, 0 where the weights have vanished altogether (then nothing pulls)."""
    return np.divide(pull, norm, out=np.where(np.isnan(norm), np.nan, 0.0), where=norm > 0)
