"""A record of all gates: measurements over an interval of steps, and the certificates that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Record"]


@dataclass(frozen=True)
class Record:
    """State of all gates at one step. Arrays are [gate]; NaN where a quantity does not exist (ρ_in of a branch).

    Attributes:
        step: steps done.
        theta: θ.
        rho: fan-out norm of a unit; norm of the last normalisation's scale and shift of a branch.
        rho_in: fan-in norm of a unit.
        difference, error, slope_on, slope_off, first_order: of the interval, given that the gate's branch is on; see
            `training.certificates.couplings.Slopes`.
        pull: of the interval.
        loss_difference, loss_error: D̂ from losses alone and its standard error, for units too.
        gradient_square: ‖∇_w E[ℓ | ξ=1]‖², noise taken off, may be negative; NaN where ξ=1 was hardly sampled.
        gradient_error: its standard error.
        probe, probe_error: D̂ of a gate at θ = 0 from probes, and its standard error; NaN where there were none.
        probe_count: samples that turned the gate on.
        coupling: the bound on η for the linear gate (window maximum of η̂, times factor).
        coupling_bilinear: the same for the bilinear gate.
        cost: κ.
        in_box: inside the invariant box of the linear gate, or of its branch's gate.
        margin: the smaller of the gate's own linear margin and its branch's; negative = certified.
        margin_bilinear: the smaller of the gate's bilinear margin and its branch's linear one; NaN for branches.
        escape: bound on the probability that noise carries the gate out of its region
            (`training.certificates.noise_bound`).
    """

    step: int
    theta: Float[np.ndarray, " gate"]
    rho: Float[np.ndarray, " gate"]
    rho_in: Float[np.ndarray, " gate"]
    difference: Float[np.ndarray, " gate"]
    error: Float[np.ndarray, " gate"]
    slope_on: Float[np.ndarray, " gate"]
    slope_off: Float[np.ndarray, " gate"]
    first_order: Float[np.ndarray, " gate"]
    pull: Float[np.ndarray, " gate"]
    loss_difference: Float[np.ndarray, " gate"]
    loss_error: Float[np.ndarray, " gate"]
    gradient_square: Float[np.ndarray, " gate"]
    gradient_error: Float[np.ndarray, " gate"]
    probe: Float[np.ndarray, " gate"]
    probe_error: Float[np.ndarray, " gate"]
    probe_count: Float[np.ndarray, " gate"]
    coupling: Float[np.ndarray, " gate"]
    coupling_bilinear: Float[np.ndarray, " gate"]
    cost: Float[np.ndarray, " gate"]
    in_box: Bool[np.ndarray, " gate"]
    margin: Float[np.ndarray, " gate"]
    margin_bilinear: Float[np.ndarray, " gate"]
    escape: Float[np.ndarray, " gate"]

    def spread(self, origin: np.ndarray, total: int) -> Record:
        """Return the record in the columns of all gates that there were at first.

        Of removed gates θ is 0, they are in no box, and everything else is NaN.

        Args:
            origin: first index of each gate left, `Gates.origin`. [gate]
            total: number of gates at first, `Gates.total`.
        """
        columns: dict[str, np.ndarray] = {}
        for name in (field.name for field in fields(self) if field.name != "step"):
            values = getattr(self, name)
            empty = {"theta": 0.0, "in_box": False}.get(name, np.nan)
            columns[name] = np.full(total, empty, dtype=values.dtype)
            columns[name][origin] = values
        return Record(step=self.step, **columns)
