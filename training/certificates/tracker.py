"""The tracker measures each gate's coupling while training runs, and asks `dynamics` for its margin.

Over an interval of `every` steps the tracker adds up what the samples say (`training.estimators.Interval`); from that
`training.certificates.couplings` has each gate's pull, and η̂ = pull/ρ (over ρ_in·ρ_out for the bilinear bound) or
another reading of the coupling, with `training.estimators.weight_gradients`. The bound that enters the certificate is
the largest η̂ of the last `window` steps, times `factor`. It is a measurement of the past, so a certificate is a
conditional promise: *while η stays below the bound and κ above its value, the gate dies*.

Where a unit's branch was hardly ever on nothing was measured: the unit's coupling is taken as infinite and it has no
certificate of its own. But where the branch is certified, its units are certified with it
(`training.certificates.regions`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from training.certificates.constants import Constants
from training.certificates.couplings import KINDS, Kind, couplings, measured
from training.certificates.noise_bound import escape_bound
from training.certificates.record import Record
from training.certificates.regions import certify, own_certificates
from training.errors import InputError
from training.estimators import Interval, Sums
from training.estimators.dead_gate_probes import ProbeSums
from training.estimators.weight_gradients import GradientSums
from training.gating.gates import Gates

__all__ = ["Tracker", "TrackerSettings"]


@dataclass(frozen=True)
class TrackerSettings:
    """Settings of the measurement of couplings.

    Attributes:
        warmup: the audit lets no rule flag before this many steps: until the network has learned something,
            couplings rise steeply (about 40-fold on CIFAR-10) and what was measured bounds nothing.
        window: the bound is the maximum over this many steps.
        every: steps averaged into one estimate, and between two records.
        factor: safety factor on the measured coupling, the m of "still dies if it becomes m times as useful".
        coupling: how η̂ is read, see `training.certificates.couplings`: along (the present weights), confident (the
            same, less sure of D̂), gradient (all directions) or robust (the larger of along and gradient).
        z: standard errors put on by confident, gradient and robust.
        probe_every: steps between two probes of gates at θ = 0 (`training.estimators.dead_gate_probes`), in shadow
            mode; 0 for none.
    """

    warmup: int = 1000
    window: int = 500
    every: int = 50
    factor: float = 2.0
    coupling: Kind = "along"
    z: float = 1.0
    probe_every: int = 10

    def __post_init__(self) -> None:
        for name, least in (("warmup", 0), ("window", 1), ("every", 1), ("probe_every", 0)):
            if getattr(self, name) < least:
                raise InputError(f"tracker.{name} must be ≥ {least}; got {getattr(self, name)}")
        if self.window < self.every:
            raise InputError(f"tracker.window must be ≥ tracker.every = {self.every}; got {self.window}")
        if not 1 <= self.factor < np.inf:
            raise InputError(f"tracker.factor must be ≥ 1 and finite; got {self.factor}")
        if self.coupling not in KINDS:
            raise InputError(f"tracker.coupling must be one of {', '.join(KINDS)}; got {self.coupling!r}")
        if not 0 <= self.z < np.inf:
            raise InputError(f"tracker.z must be ≥ 0 and finite; got {self.z}")


class Tracker:
    """Sums over the steps of an interval, from which records are made.

    Args:
        gates: the gates to watch.
        settings: see `TrackerSettings`.

    Attributes:
        step: steps taken in.
        interval, gradients, probes: what the interval under way has shown.
    """

    def __init__(self, gates: Gates, settings: TrackerSettings) -> None:
        self.gates, self.settings = gates, settings
        length = -(-settings.window // settings.every)
        self._couplings: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=length)
        self._parent = gates.parent.cpu().numpy()  # the gate of the branch that each gate lies in, −1 for none
        self.step = 0
        self.gradients = GradientSums(gates)
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        count, device = len(self.gates.theta), self.gates.theta.device
        self.interval, self.probes = Interval.empty(count, device), ProbeSums.empty(count, device)
        self.gradients.clear()

    def keep(self, kept: np.ndarray, rho_in: np.ndarray | float = 1.0, rho: np.ndarray | float = 1.0) -> None:
        """Follow a removal: forget the gates that went, keep what was measured of the others.

        A bound η·ρ on the gain D must not fall because weights left and ρ with them, so the couplings grow as the
        norms shrank. Gradients of an interval that is under way are forgotten: the weights have other shapes now, and
        the record at its end has those of the steps from here on. Arguments are those of
        `training.gating.removal.Shrunk`.

        Args:
            kept: former index of every gate that is left. [gate left]
            rho_in: its fan-in norm before the removal over the one after. [gate left]
            rho: the same of its (fan-out) norm. [gate left]

        Raises:
            InputError: if there are not as many as gates left.
        """
        if len(kept) != len(self.gates.theta):
            raise InputError(f"kept must have {len(self.gates.theta)} entries, one a gate left; got {len(kept)}")
        self._couplings = deque(
            ((linear[kept] * rho, bilinear[kept] * (rho_in * rho)) for linear, bilinear in self._couplings),
            maxlen=self._couplings.maxlen,
        )
        index = torch.as_tensor(kept, device=self.gates.theta.device)
        self.interval.keep(index)
        self.probes.keep(index)
        self.gradients = GradientSums(self.gates)
        self._parent = self.gates.parent.cpu().numpy()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds: the window's couplings, and the interval that is under way."""
        return {
            "step": self.step,
            "count": self._count,
            "couplings": [torch.from_numpy(np.stack(pair)) for pair in self._couplings],
            "interval": asdict(self.interval),
            "gradients": self.gradients.state_dict(),
            "probes": asdict(self.probes),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of a tracker of the same gates."""
        self.step, self._count = state["step"], state["count"]
        pairs = (pair.numpy() for pair in state["couplings"])
        self._couplings = deque(((pair[0], pair[1]) for pair in pairs), maxlen=self._couplings.maxlen)
        device = self.gates.theta.device
        self.interval = Interval(**{name: value.to(device) for name, value in state["interval"].items()})
        self.gradients.load_state_dict(state["gradients"])
        self.probes = ProbeSums(**{name: value.to(device) for name, value in state["probes"].items()})

    def observe(
        self,
        sums: Sums,
        cost: Float[Tensor, " gate"],
        constants: Callable[[], Constants],
        batch: int | None = None,
    ) -> Record | None:
        """Take in one step before it is made, after its backward pass; every `every` steps return a record.

        Args:
            sums: of the batch; for units over the samples with their branch on (`Gates.informative`).
            cost: κ.
            constants: reads λ, r and h where the optimizer has them; called for every record.
            batch: samples, of all processes together, over which the loss was averaged whose gradients stand in
                `.grad`; by default as many as masks were sampled here.
        """
        self.interval.add(sums)
        if batch is None:
            batch = len(self.gates.sampled) if self.gates.sampled is not None else 0
        self.gradients.add(sums.count[1], batch)
        self._count += 1
        self.step += 1
        if self._count < self.settings.every:
            return None
        record = self._record(cost.double().cpu().numpy(), constants())
        self._clear()
        return record

    def _record(self, cost: np.ndarray, now: Constants) -> Record:
        theta = self.gates.theta.detach().double().cpu().numpy()
        rho_in, rho = (norm.double().cpu().numpy() for norm in self.gates.weight_norms())
        columns = self._columns() | {"rho": rho, "rho_in": rho_in}
        self._couplings.append(couplings(columns, self.settings.coupling, self.settings.z))
        coupling, bilinear = (
            self.settings.factor * np.max(past, axis=0) for past in zip(*self._couplings, strict=True)
        )
        is_branch = self.gates.is_branch.cpu().numpy()
        state = {"cost": cost, "rho_in": rho_in, "rho": rho, "theta": theta, "is_branch": is_branch}
        bounds = {"coupling": coupling, "coupling_bilinear": bilinear}
        own = own_certificates(decay=now.decay, rate=now.rate, **bounds, **state)
        escape = escape_bound(
            decay=now.decay,
            rate=now.rate,
            coupling=coupling,
            cost=cost,
            rho=rho,
            theta=theta,
            error=columns["error"],
            every=self.settings.every,
            step=now.step,
            parent=self._parent,
        )
        certificates = certify(own, self._parent, cost)._asdict() | {"escape": escape}
        return Record(step=self.step, theta=theta, cost=cost, **columns, **bounds, **certificates)

    def _columns(self) -> dict[str, np.ndarray]:
        """Return what the interval has shown, by the record's names."""
        seen = measured(self.interval, self.gates.is_branch.to(self.gates.theta.device))._asdict()
        seen |= {"slope_on": seen.pop("on"), "slope_off": seen.pop("off")}
        square, probe = self.gradients.square(), self.probes.estimate()
        assert square.error is not None and probe.error is not None
        found = {
            "gradient_square": square.value,
            "gradient_error": square.error,
            "probe": probe.value,
            "probe_error": probe.error,
            "probe_count": self.probes.count,
        }
        return seen | {name: value.double().cpu().numpy() for name, value in found.items()}
