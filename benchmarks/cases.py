"""The cases that are timed: from a state inside the strip to the face that θ meets first, and when.

Peers know no projection, so the task is the part that all can do: the interior system with an event. The
constants are such that the fate is certain at that moment, so that ours stops there too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from dynamics import BilinearGate, LinearGate
from dynamics.gates.gate import Gate
from dynamics.gates.general import smooth_gate

HORIZON = 200.0  # for every peer; a handful of states close to the separatrix may not get to a face


@dataclass(frozen=True)
class Case:
    name: str
    gate: Gate

    def states(self, count: int) -> list[np.ndarray]:
        """Random states inside the strip, norms up to three times the saddle's; two norms within 10% of one another."""
        rng = np.random.default_rng(1)
        norm = rng.uniform(0.02, 3, count) * float(self.gate.saddle[0])
        norms = [norm * rng.uniform(0.95, 1.05, count) for _ in self.gate.system.weights]
        return [*norms, rng.uniform(0.02, 0.98, count)]

    def field(self, modules: str):
        """Return the smooth field as a function of the state's components, for a peer's own arrays."""
        system = self.gate.system
        values = {s: float(self.gate.parameters[s.name]) for s in system.parameters}
        return sp.lambdify(list(system.state), [f.subs(values) for f in system.field], modules=modules, cse=True)


CASES = (
    Case("linear", LinearGate(decay=0.3, coupling=1.0, cost=0.5, rate=1.0)),
    Case("bilinear", BilinearGate(decay=0.3, coupling=1.0, cost=0.5, rate=1.0)),
    Case("general", smooth_gate(slope=1.0, curvature=0.2, decay=0.3, cost=0.5, rate=1.0)),
)
