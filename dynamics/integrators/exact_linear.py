"""The linear gate's flow in closed form, piece by piece.

Inside the strip the system is linear. With the saddle's eigenvalues μ₋ < 0 < μ₊ and the state split along the
eigenvectors (amplitudes a of the unstable one and b of the stable one, both measured along θ),

    θ(t) = θ₀ + a (e^{μ₊t} − 1) + b (e^{μ₋t} − 1),

and ρ(t) likewise, so θ has at most one turning point, known in closed form, and the time at which it meets a
face is the root of a sum of two exponentials on an interval where it is monotone. On θ = 0 the norm decays; on
θ = 1 it relaxes to η/λ. A trajectory has at most a handful of such pieces. The amplitudes come from the margin
of `LinearGate` and its conjugate, so that nothing cancels where the saddle is far away.
"""

from __future__ import annotations

import functools
from types import ModuleType

import sympy as sp
from numpy.typing import ArrayLike

from dynamics.gates.linear import LINEAR, RATIO, RHO, SADDLE_RHO, LinearGate, scaled_margin
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from dynamics.integrators import codegen, pieces
from dynamics.integrators.batched_flow import Flow, check_positive, follow_all, prepare
from dynamics.integrators.pieces import Options
from dynamics.numeric import Array

__all__ = ["amplitudes", "eigenvalues", "solve"]

ROOT = sp.Symbol("root", positive=True)  # q = |μ₋|/η, the steepness of the stable line for ρ as a function of θ


def root() -> sp.Expr:
    """Return q in the ratio λ/η and r: minus the margin's coefficient of ρ*."""
    return -sp.diff(scaled_margin(), SADDLE_RHO)


def amplitudes() -> tuple[sp.Expr, sp.Expr]:
    """Return (a, b), the parts of θ − θ* along the unstable and the stable eigenvector.

    The margin φ vanishes on the stable line and is linear, so a = φ·q²/(q² + r). Exchanging the eigenvalues,
    q → −r/q, gives the function that vanishes on the unstable line, and so b.
    """
    phi = scaled_margin().subs(root(), ROOT)
    share = ROOT**2 / (ROOT**2 + RATE)
    conjugate = -RATE / ROOT
    return share * phi, sp.simplify(share.subs(ROOT, conjugate)) * phi.subs(ROOT, conjugate)


def eigenvalues() -> tuple[sp.Expr, sp.Expr]:
    """Return (μ₋, μ₊) in q: −ηq and, from the determinant −rη², rη/q."""
    stable = -COUPLING * ROOT
    return stable, sp.simplify(LINEAR.jacobian.det() / stable)


def solve(
    gate: LinearGate,
    rho: Array,
    theta: Array,
    *,
    horizon: float = 1e6,
    bound: float = 1e6,
    times: ArrayLike | None = None,
    threads: int | None = None,
) -> Flow:
    """Return the exact fate of each state of a linear gate; `steps` counts the smooth pieces.

    Exact up to rounding: events are located to machine precision. Meaning of the arguments, outcomes and errors
    are those of `dynamics.integrators.batched_flow.integrate`; as there, η/λ > `bound` counts as DIVERGED.

    Example:
        >>> gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
        >>> flow = solve(gate, [0.1, 0.5], [0.3, 0.3])
        >>> flow.outcome.tolist(), [round(float(t), 4) for t in flow.time]
        ([0, 1], [0.4327, 2.0389])
    """
    if not isinstance(gate, LinearGate):
        raise ValueError(f"only the linear gate has an exact solution; got {type(gate).__name__}")
    check_positive(horizon=horizon, bound=bound)
    options = Options(float(horizon), float(bound))
    return follow_all(_scheme().solutions, prepare(gate, rho, theta), options, times, threads)


@functools.cache
def _scheme() -> ModuleType:
    """Return the compiled module: `dynamics.integrators.pieces` with the derived formulas."""
    ratios = {RATIO: DECAY / COUPLING, SADDLE_RHO: COST / COUPLING}
    constants = (DECAY.name, COUPLING.name, COST.name, RATE.name)
    members = {"x": (RHO.name, THETA.name), "p": constants, "q": (ROOT.name,)}
    parts = [
        codegen.define("field", ("x", "p"), LINEAR.field, members),
        codegen.define("root_of", ("p",), (root().subs(ratios),), members),
        codegen.define("eigenvalues", ("p", "q"), eigenvalues(), members),
        codegen.define("amplitudes", ("x", "p", "q"), tuple(e.subs(ratios) for e in amplitudes()), members),
    ]
    return codegen.module_from(codegen.assemble(pieces, parts, len(LINEAR.state), len(constants)))
