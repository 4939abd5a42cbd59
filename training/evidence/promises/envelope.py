"""The envelope of a promise: where the bounding ODE leads from the state in which the gate was flagged.

A certificate fixes a bound η and a cost κ. While D ≥ −ηρ and κ(t) ≥ κ, the gate's weights and θ stay below the solution
of the bounding system that starts from the flagged state, since that system is cooperative (comparison theorem). This
solution is the *envelope*; the certificate says that it ends in zero.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from dynamics import BilinearGate, LinearGate
from dynamics.integrators.batched_flow import Flow, integrate
from dynamics.integrators.exact_linear import solve
from training.evidence.measurements import System
from training.evidence.promises.promise import Promises
from training.evidence.runs import ShadowRun

__all__ = ["TOLERANCE", "State", "envelope", "height", "state_at"]

#: The components in the system's order: (ρ, θ), or (ρ_in, ρ_out, θ).
State: TypeAlias = tuple[np.ndarray, ...]

TOLERANCE = 0.01  # what counts as above the envelope, and as not yet at zero: in θ, and as a share of a norm


def state_at(run: ShadowRun, system: System, record: np.ndarray | int, gate: np.ndarray) -> State:
    """Return the state of gates at records.

    Args:
        run: a shadow run.
        system: whose components.
        record: indices, broadcast against `gate`.
        gate: indices.
    """
    names = ("rho", "theta") if system == "linear" else ("rho_in", "rho", "theta")
    return tuple(run.values(name)[record, gate] for name in names)


def envelope(run: ShadowRun, made: Promises, start: State, times: np.ndarray) -> Flow:
    """Return the bounding system's solutions under the bounds and costs of the promises.

    Args:
        run: for λ and r.
        made: the promises.
        start: state of each at time 0. [promise] each
        times: increasing, ≥ 0; may be empty.
    """
    constants = {"decay": run.decay, "coupling": made.bound, "cost": made.cost, "rate": run.rate}
    if made.system == "linear":
        return solve(LinearGate(**constants), *start, times=times, threads=1)
    return integrate(BilinearGate(**constants), *start, times=times, threads=1)


def height(state: State, limit: State) -> np.ndarray:
    """Return how far a state lies above another: in θ, or as a share of a norm, whichever is more."""
    *norms, theta = state
    *limits, theta_limit = limit
    # A norm that has decayed to nothing is no longer a measure of itself.
    shares = [(norm - most) / np.maximum(most, TOLERANCE) for norm, most in zip(norms, limits, strict=True)]
    return np.max(np.stack([theta - theta_limit, *shares]), axis=0)
