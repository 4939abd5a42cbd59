"""What a certificate promised: whose bound it rests on, and where the bounding ODE leads from the flagged state.

At the flag the certificate fixes a bound η and a cost κ. While D ≥ −ηρ and κ(t) ≥ κ, the gate's weights and θ stay
below the solution of the bounding system that starts from the flagged state (comparison for cooperative systems): its
*envelope*. The certificate says that the envelope ends in zero. A unit that was certified with its branch has the
promise of the branch; one that is certified twice has two promises, of which one suffices.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from dynamics import BilinearGate, LinearGate
from dynamics.integrators.batched_flow import Flow, integrate
from dynamics.integrators.exact_linear import solve
from training.certificates.regions import inherits
from training.certificates.rules import Rule
from training.evidence.calibration import certificates_at
from training.evidence.measurements import System
from training.evidence.promises.assumptions import Promises, made_at
from training.evidence.runs import ShadowRun

__all__ = ["flow_of", "promises", "state_of"]


def promises(run: ShadowRun, rule: Rule, flag: Int[np.ndarray, " gate"]) -> list[Promises]:
    """The promises of one certificate's flags: own ones, then those through branches.

    Where neither holds when recomputed, the gate is taken at its record's word, as having its own: a certificate that
    the constants do not give is to be found out, not left out.

    Args:
        run: a shadow run.
        rule: a certificate.
        flag: step at which it first flagged each gate, −1 for never.
    """
    history = run.history
    assert rule.system is not None
    certificates = certificates_at(run, run.factor, own=True)
    own = {
        "box": certificates.in_box,
        "half-plane": certificates.margin < 0,
        "bilinear": certificates.margin_bilinear < 0,
    }[rule.name]
    branch = certificates.in_box if rule.name == "box" else certificates.margin < 0
    gate = np.flatnonzero(flag >= 0)
    record = np.searchsorted(history.step.values, flag[gate])
    parent = history.parent.values[gate]
    priced = inherits(history.parent.values, run.values("cost"))
    through = priced[record, gate] & branch[record, parent]
    itself = own[record, gate] | ~through
    return [
        made_at(history, gate[itself], gate[itself], record[itself], rule.system),
        made_at(history, gate[through], parent[through], record[through], "linear"),
    ]


def state_of(run: ShadowRun, system: System, record: np.ndarray | int, gate: np.ndarray) -> tuple[np.ndarray, ...]:
    """The state in the system's order: (ρ, θ), or (ρ_in, ρ_out, θ)."""
    names = ("rho", "theta") if system == "linear" else ("rho_in", "rho", "theta")
    return tuple(run.values(name)[record, gate] for name in names)


def flow_of(
    run: ShadowRun,
    system: System,
    limit: np.ndarray,
    cost: np.ndarray,
    state: tuple[np.ndarray, ...],
    times: np.ndarray,
) -> Flow:
    """The bounding system's solutions from the given states, at the given times.

    Args:
        run: for λ and r.
        system: which.
        limit: η. [gate]
        cost: κ. [gate]
        state: where each starts. [gate] each
        times: increasing, ≥ 0; may be empty.
    """
    constants = {"decay": run.decay, "coupling": limit, "cost": cost, "rate": run.rate}
    if system == "linear":
        return solve(LinearGate(**constants), *state, times=times, threads=1)
    return integrate(BilinearGate(**constants), *state, times=times, threads=1)
