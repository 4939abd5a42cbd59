"""Claims about gates of any D: the numerical separatrix against closed forms, its own field, and simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sympy as sp

from dynamics.gates.bilinear import BILINEAR, BilinearGate
from dynamics.gates.gate import Gate
from dynamics.gates.general import GeneralGate, smooth_gate
from dynamics.gates.linear import LINEAR, LinearGate
from dynamics.gates.ode import GateSystem
from dynamics.numeric import Array
from dynamics.proofs.claim import Claim, Outcome, claim, held, refuted

__all__ = ["CLAIMS", "agreement", "fates_agree", "tangency"]

#: What a check applies to the general path's margins; the tests pass distortions that must be found out.
Distortion = Callable[[Array], Array]


def _as_is(margin: Array) -> Array:
    return margin


def _constants(rng: np.random.Generator, index: int) -> dict[str, float]:
    """Return λ (every tenth is zero), η, κ from 1e-3 to 10 and r from 1e-4 to 1e4."""
    decay, coupling, cost = (float(v) for v in 10 ** rng.uniform(-3, 1, 3))
    return {
        "decay": decay if index % 10 else 0.0,
        "coupling": coupling,
        "cost": cost,
        "rate": float(10 ** rng.uniform(-4, 4)),
    }


def agreement(
    kind: type[Gate], system: GateSystem, lowest: float, gates: int = 120, distort: Distortion = _as_is
) -> Outcome:
    """Compare a closed form's margins with those of its D through the general path.

    Args:
        kind: the gate with the closed form.
        system: the D that it stands for.
        lowest: decimal exponent of the smallest norms, in units of √(κ/η) or κ/η; the largest are 100 times that.
        gates: how many sets of constants.
        distort: applied to the general path's margins.
    """
    rng, worst, cases = np.random.default_rng(20), 0.0, 0
    allowed, states = 1e-8, 400
    for index in range(gates):
        constants = _constants(rng, index)
        scale = (constants["cost"] / constants["coupling"]) ** (1 / len(system.weights))
        norms = [scale * 10 ** rng.uniform(lowest, 2, states) for _ in system.weights]
        norms[0][0] = 1e-150  # S near the smallest number there is
        norms[-1][1] = 0.0
        theta = rng.uniform(0, 1, states)
        closed = kind(**constants).margin(*norms, theta)
        ours = distort(GeneralGate(system.difference, system.weights, **constants).margin(*norms, theta))
        finite = np.isfinite(closed)
        error = np.abs(ours[finite] - closed[finite]) / np.maximum(1, np.abs(closed[finite]))
        worst, cases = max(worst, float(error.max())), cases + states
        if not error.max() <= allowed or not np.array_equal(ours[~finite], closed[~finite]):
            return refuted("random constants and states", {**constants, "error": float(error.max())})
    return held(
        f"{gates} sets of constants, norms from 1e{lowest:g} to 100 times κ/η", cases=cases, margin=allowed - worst
    )


@claim("general-linear", "D = −ηρ through the general path has the closed form's margins to 1e-8", "random sampling")
def linear() -> Outcome:
    """Test the statement: constants over four to eight decades, states down to ρ = 0."""
    return agreement(LinearGate, LINEAR, lowest=-12)


@claim(
    "general-bilinear",
    "D = −η ρ_in ρ_out through the general path has the closed form's margins to 1e-8",
    "random sampling",
)
def bilinear() -> Outcome:
    """Test the statement: asymmetric states, S down to 1e-300 and beyond."""
    return agreement(BilinearGate, BILINEAR, lowest=-140)


def tangency(gates: int = 60, distort: Distortion = _as_is) -> Outcome:
    """Check: the smooth gate's curve against the gate's own field: (ρ', θ') must be parallel to (1, dθ_sep/dρ).

    Only through public functions: θ_sep = −margin(ρ, 0), its slope by central differences, the field inside the
    strip, where nothing is projected. The residual is the sine of the angle in the units of the two axes.
    """
    rng, worst, cases, allowed = np.random.default_rng(21), 0.0, 0, 1e-5
    for index in range(gates):
        constants = _constants(rng, index)
        slope, curvature = constants.pop("coupling"), float(10 ** rng.uniform(-3, 1))
        gate = smooth_gate(slope=slope, curvature=curvature, **constants)
        x = np.linspace(-3, 3, 601)
        x = x[np.abs(x) > 0.02]  # at the saddle both components vanish
        size = float(gate.saddle[0]) * np.exp(x)
        if gate.saddle[1] > 1:
            continue
        curve, h = (lambda rho, g=gate: -distort(g.margin(rho, 0.0))), 1e-4
        theta = curve(size)
        inside = (theta > 0) & (theta < 1)
        size, theta = size[inside], theta[inside]
        dtheta = (curve(size * np.exp(h)) - curve(size * np.exp(-h))) / (2 * h)
        rho_dot, theta_dot = gate.field(size, theta)
        ahead = dtheta * rho_dot / size
        residual = np.abs(theta_dot - ahead) / (np.abs(theta_dot) + np.abs(ahead) + 1e-300)
        cases += size.size
        worst = max(worst, float(residual.max(initial=0.0)))
        if not worst <= allowed:
            at = int(np.argmax(residual))
            witness = {"slope": slope, "curvature": curvature, **constants, "rho": size[at], "residual": worst}
            return refuted("points on the curve", witness)
    return held("points of the curve inside the strip, random constants", cases=cases, margin=allowed - worst)


@claim(
    "general-smooth",
    "for D = −gρ − Lρ²/2 the field is tangent to the numerical separatrix",
    "finite differences on random constants",
)
def smooth() -> Outcome:
    """Test the statement by `tangency`."""
    return tangency()


def examples() -> Iterator[tuple[str, GeneralGate, float, bool]]:
    """Return (name, gate, largest norm to try, whether the certificate is sharp) for the simulation."""
    for slope, curvature, decay, cost, rate in (
        (1.0, 1.0, 0.5, 0.7, 1.0),
        (0.2, 3.0, 1.0, 0.5, 0.3),
        (1.0, 0.1, 0.0, 0.3, 2.0),
        (0.05, 1.0, 0.2, 0.1, 5.0),
    ):
        gate = smooth_gate(slope=slope, curvature=curvature, decay=decay, cost=cost, rate=rate)
        yield f"smooth g={slope} L={curvature}", gate, 3 * float(gate.saddle[0]), True
    rho, first, second, g, L = sp.symbols("rho rho_in rho_out slope curvature")
    constants: dict[str, Any] = {"decay": 0.3, "cost": 0.4, "rate": 1.0}
    turning = GeneralGate(-g * rho - L * rho**2 / 2, (rho,), slope=1.0, curvature=-0.5, **constants)
    yield "a pull that turns at ρ = 2", turning, 2.0, False
    for decay, cost in ((0.3, 0.5), (3.0, 0.3)):  # in the second θ* > 1: the boundary starts on the face θ = 1
        yield f"cubic, decay {decay}", GeneralGate(-(rho**3), decay=decay, cost=cost, rate=1.0), 2.5, True
    product = GeneralGate(-sp.log(1 + first * second), (first, second), **constants)
    yield "product, asymmetric", product, 2.5, False


def fates_agree(states: int = 5000, distort: Distortion = _as_is) -> Outcome:
    """Simulate each example: certified states go to zero; where the certificate is sharp the others do not.

    States closer to the curve than 1e-3 are left out: there the integrator's tolerance decides.
    """
    from dynamics.integrators.batched_flow import integrate
    from dynamics.integrators.fate import Fate

    rng, cases, undecided = np.random.default_rng(22), 0, 0
    for name, gate, top, sharp in examples():
        norms = [rng.uniform(0, top, states) for _ in gate.system.weights]
        theta = rng.uniform(0, 1, states)
        margin = distort(gate.margin(*norms, theta))
        fate = integrate(gate, *norms, theta, horizon=1e4, threads=1).outcome
        clear = np.abs(margin) > 1e-3
        zero, open_ = fate == Fate.ZERO, (fate == Fate.UNDECIDED) | (fate == Fate.FAILED)
        wrong = clear & ~open_ & ((margin < 0) & ~zero | (margin > 0) & zero & sharp)
        if wrong.any():
            at = int(np.argmax(wrong))
            state = {s.name: float(v[at]) for s, v in zip(gate.system.state, (*norms, theta), strict=True)}
            return refuted("simulated fates", {"gate": name, **state, "fate": Fate(fate[at]).name})
        cases, undecided = cases + int((clear & ~open_).sum()), undecided + int((clear & open_).sum())
    return held(f"random states of eight gates; {undecided} more undecided by the simulation", cases=cases)


@claim(
    "general-fates",
    "simulated fates agree with the numerical separatrix (smooth, cubic); certified ones never come back (product)",
    "simulation",
)
def fates() -> Outcome:
    """Test the statement by `fates_agree`."""
    return fates_agree()


CLAIMS: tuple[Claim, ...] = (linear, bilinear, smooth, fates)
