"""All equilibria of a gate's projected bounding system in the strip 0 ≤ θ ≤ 1, with their kinds.

In the reduced system x' = θα(z) − B, θ' = r(f(z) − κ) they are: zero; inside, f(z) = κ and θ = B/α(z); on the face
θ = 1, α(z) = B where θ still pushes outwards, f(z) > κ. On θ = 0 the weights decay, so that only zero is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first used, half a second that not every command needs
import sympy as sp

from dynamics.gates.reduced import GRID, SIZE, Reduced
from dynamics.numeric import Array

__all__ = ["Equilibrium", "equilibria"]


@dataclass(frozen=True)
class Equilibrium:
    """An equilibrium of one gate.

    Attributes:
        state: the norms (equal ones where there are two), then θ.
        kind: "sink", "saddle", "source", or "degenerate" where an eigenvalue vanishes.
        face: 0 or 1 where it lies on that face and θ is held there; None inside.
        eigenvalues: of the free directions, increasing: on a face, of the reduced size alone.
    """

    state: tuple[float, ...]
    kind: str
    face: int | None
    eigenvalues: tuple[float, ...]


def equilibria(reduced: Reduced, parameters: Mapping[str, Array]) -> list[Equilibrium]:
    """Return all equilibria of one gate with θ in [0, 1], by increasing size, zero first.

    Where D is a rational function of the weights, every root is isolated exactly (SymPy, with the constants as
    exact rationals); otherwise roots are found between neighbours of a fine grid of sizes.

    Args:
        reduced: the gate's reduced system.
        parameters: one number for each constant of the gate, by name.

    Raises:
        ValueError: for a batch of gates (ask for one at a time) and for κ = 0, where all of θ at zero weights
            is an equilibrium.

    Example:
        >>> from dynamics.gates.general import smooth_gate
        >>> for e in smooth_gate(slope=1.0, curvature=0.0, decay=1.0, cost=0.75, rate=1.0).equilibria():
        ...     print(e.kind, e.face, e.state)
        sink 0 (0.0, 0.0)
        saddle None (0.75, 0.75)
        sink 1 (1.0, 1.0)
    """
    values = {name: np.asarray(value) for name, value in parameters.items()}
    if any(value.size != 1 for value in values.values()):
        raise ValueError("equilibria takes one gate, not a batch; give it numbers")
    numbers = {name: float(value.reshape(())) for name, value in values.items()}
    cost, rate, decay = numbers["cost"], numbers["rate"], numbers["decay"]
    if cost == 0:
        raise ValueError("cost must be > 0; got 0: then every θ at zero weights is an equilibrium")
    exact = {symbol: sp.Rational(numbers[symbol.name]) for symbol in reduced.parameters}
    pull, growth, shrink = (e.subs(exact) for e in (reduced.pull, reduced.growth, reduced.shrink))
    found: list[tuple[float, float, int | None, tuple[float, ...]]] = []
    for z in _positive_roots(pull - sp.Rational(cost)):
        alpha = float(growth.subs(SIZE, z))
        theta = float(shrink) / alpha if alpha > 0 else math.inf
        if theta <= 1:
            f1, alpha1 = (float((SIZE * sp.diff(e, SIZE)).subs(SIZE, z)) for e in (pull, growth))
            values_in = np.linalg.eigvals([[theta * alpha1, alpha], [rate * f1, 0.0]]).real
            found.append((z, theta, None, tuple(sorted(map(float, values_in)))))
    for z in _positive_roots(growth - shrink):
        if float(pull.subs(SIZE, z)) > cost:
            found.append((z, 1.0, 1, (float((SIZE * sp.diff(growth, SIZE)).subs(SIZE, z)),)))
    norms = (lambda z: (z,)) if not reduced.means else (lambda z: (math.sqrt(z),) * 2)
    zero = Equilibrium((*norms(0.0), 0.0), _kind((-decay,), True), 0, (-decay,))
    rest = [
        Equilibrium((*norms(z), t), _kind(mu, face == 1), face, mu)
        for z, t, face, mu in sorted(found, key=lambda e: e[0])
    ]
    return [zero, *rest]


def _kind(eigenvalues: tuple[float, ...], held: bool) -> str:
    """Return the kind by the eigenvalues' signs; a held θ counts as a stable direction."""
    if any(value == 0 for value in eigenvalues):
        return "degenerate"
    falling = held + sum(value < 0 for value in eigenvalues)
    total = held + len(eigenvalues)
    return "sink" if falling == total else "source" if falling == 0 else "saddle"


def _positive_roots(expression: sp.Expr) -> list[float]:
    """Return the positive zeros of an expression in z with numbers for everything else."""
    numerator, denominator = sp.fraction(sp.together(expression))
    if numerator.is_polynomial(SIZE) and denominator.is_polynomial(SIZE):
        roots = sp.Poly(numerator, SIZE).real_roots(multiple=False)
        return [float(root) for root, _ in roots if root > 0 and denominator.subs(SIZE, root) != 0]
    function = sp.lambdify(SIZE, expression, ["numpy", "scipy"])
    with np.errstate(all="ignore"):
        on_grid = np.broadcast_to(function(np.exp(GRID)), GRID.shape)
        changes = np.flatnonzero(np.isfinite(on_grid[1:]) & (on_grid[:-1] * on_grid[1:] < 0))
        return [
            math.exp(scipy.optimize.brentq(lambda x: function(np.exp(x)), GRID[i], GRID[i + 1], xtol=1e-15))
            for i in changes
        ]
