"""Shadow runs whose gates follow the bounding ODE itself, with a coupling that is known in every interval."""

import numpy as np
import xarray as xr

from dynamics import BilinearGate, LinearGate
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.exact_linear import solve
from training.certificates.regions import certify, own_certificates
from training.evidence.runs import ShadowRun

DECAY, RATE, SPAN = 0.5, 1.0, 0.5
FACTOR = 2.0


def follow(state, couplings, costs, *, decay=DECAY, rate=RATE, span=SPAN):
    """States at the records: one before each interval and one after the last. [record, component]

    Args:
        state: (ρ, θ), or (ρ_in, ρ_out, θ) for a bilinear gate.
        couplings: η in each interval.
        costs: κ in each interval.
    """
    kind, flow = (LinearGate, solve) if len(state) == 2 else (BilinearGate, integrate)
    states = [np.array(state, float)]
    for coupling, cost in zip(couplings, costs, strict=True):
        gate = kind(decay=decay, coupling=coupling, cost=cost, rate=rate)
        path = flow(gate, *states[-1], times=[span], threads=1).path
        states.append(np.clip([part[0] for part in path], 0, [np.inf] * (len(state) - 1) + [1]))
    return np.array(states)


def layer_run(states, couplings, bound, costs, *, error=0.0, margin=None):
    """A run with one layer gate: η̂ of each interval is the given coupling exactly, with the given standard error."""
    return shadow_run(states[:, None, :], np.array(couplings)[:, None], bound, np.array(costs)[:, None], error, margin)


def shadow_run(states, couplings, bound, costs, error=0.0, margin=None, parent=None, bilinear=False):
    """A run from states [record, gate, component]; couplings and costs are those of the intervals between records.

    `bound` is that of every certificate, factor included. Without `bilinear`, gates are layers unless they have a
    parent.
    """
    count, gates = states.shape[:2]
    rho, theta = states[..., -2], states[..., -1]
    parent = np.full(gates, -1) if parent is None else np.asarray(parent)
    is_branch = (parent < 0) & (not bilinear)
    rho_in = np.where(is_branch, np.nan, states[..., 0] if bilinear else np.ones_like(rho))
    cost = np.concatenate([costs[:1], costs])
    bounds = np.broadcast_to(np.asarray(bound, float), (count, gates))
    norm = rho * rho_in if bilinear else rho
    difference = -np.concatenate([couplings[:1], couplings]) * norm
    own = own_certificates(
        decay=DECAY,
        rate=RATE,
        coupling=bounds,
        coupling_bilinear=bounds,
        cost=cost,
        rho_in=rho_in,
        rho=rho,
        theta=theta,
        is_branch=is_branch,
    )
    columns = certify(own, parent, cost)._asdict()
    if margin is not None:
        columns["margin"] = np.full((count, gates), margin)
    columns |= {"theta": theta, "rho": rho, "rho_in": rho_in, "cost": cost, "difference": difference}
    columns |= {"error": np.full((count, gates), error) * norm}
    columns |= {"coupling": bounds.copy(), "coupling_bilinear": np.where(is_branch, np.nan, bounds)}
    history = xr.Dataset(
        {name: (("step", "gate"), values) for name, values in columns.items()},
        coords={
            "step": 10 * np.arange(1, count + 1),
            "is_branch": ("gate", is_branch),
            "parent": ("gate", parent),
            "gate": [f"g{i}" for i in range(gates)],
        },
    )
    time = SPAN * np.arange(count)
    return ShadowRun("simulated", history, time, 10 * count, 0, FACTOR, DECAY, RATE, {"seed": 0})
