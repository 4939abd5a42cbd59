"""A gate bounded by any D given as a SymPy expression (derived here).

The planar system of `dynamics.gates.reduced` bounds the gate; its separatrix is followed numerically
(`dynamics.gates.separatrix`). `LinearGate` and `BilinearGate` are the two cases with a closed form, which this path
reproduces to 1e-8 (claims `general-linear` and `general-bilinear`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import scipy  # its parts load when they are first used, half a second that not every command needs
import sympy as sp

from dynamics.gates.equilibria import Equilibrium, equilibria
from dynamics.gates.gate import Gate
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA, GateSystem
from dynamics.gates.reduced import Reduced, reduce_system
from dynamics.gates.separatrix import Floats, Separatrix, separatrix
from dynamics.numeric import Array, Operands, compile_expressions, operands

__all__ = ["GeneralGate", "smooth_gate"]

_OWN = {symbol.name: symbol for symbol in (COUPLING, DECAY, COST, RATE, THETA)}
_ROUGH = (sp.Max, sp.Min, sp.Piecewise, sp.Abs, sp.sign, sp.Heaviside, sp.floor, sp.ceiling)


class GeneralGate(Gate):
    """A gate whose loss difference is bounded by a given expression.

    With one weight, D(ρ), it certifies for every true loss difference with

        D_true(w) ≥ D(ρ)   and   ⟨∇D_true(w), w⟩ ≥ ρ D'(ρ),    ρ = ‖w‖,

    at all times; with two, D(P) of the product P = ρ_in ρ_out, for every one with D_true ≥ D(P) and both
    ⟨∇_{w_in}D_true, w_in⟩, ⟨∇_{w_out}D_true, w_out⟩ ≥ P D'(P). The comparison needs a cooperative bounding system:
    D must not rise with ρ (for a product: neither D(P) nor P D'(P) with P). It is checked on a fine grid of sizes.
    Where D turns up only beyond z*, states of larger size are not certified, as comparison ends there; where it
    turns before D = −κ is reached, the gate is refused.

    Sharp for one weight, and for two where ρ_in = ρ_out; elsewhere sufficient.

    Args:
        difference: D, smooth, with D = 0 at zero weights.
        weights: the symbols of `difference` that are norms; by default those that are no parameter.
        decay: λ ≥ 0.
        coupling: η ≥ 0. If the symbol `dynamics.gates.ode.COUPLING` (any symbol named "coupling") is in `difference`,
            that is its value; if not, D is multiplied by it as a whole. `headroom` multiplies it either way.
            In the first case headroom is meaningful where both D and D' fall as the coupling grows.
        cost: κ ≥ 0. Without a price (κ = 0) nothing is certified.
        rate: r > 0.
        **parameters: values of the other symbols of D, finite.

    All numbers may be arrays, one entry a gate. Margins are computed in NumPy's float64, one separatrix for each
    distinct tuple of parameters (some milliseconds, cached), and returned in the state's backend, dtype and
    device; no gradient flows through them. They are accurate to about 1e-10 relative to the larger of 1 and the
    margin: a numerical certificate, not a proof.

    The coupling may be ∞, and then nothing is certified.

    Raises:
        ValueError: if D is rough, does not vanish at zero weights, has a symbol without a value or a value
            without a symbol, if the weights are ambiguous, if two weights do not enter by their product, if D
            rises too early (above), or for the reasons given at `Gate`.

    Example:
        >>> rho, strength = sp.symbols("rho strength")
        >>> gate = GeneralGate(-strength * rho**2, decay=0.1, cost=0.5, rate=1.0, strength=2.0)
        >>> [round(float(x), 6) for x in gate.saddle]
        [0.5, 0.025]
        >>> bool(gate.certified(0.2, 0.3)), bool(gate.certified(0.6, 0.3))
        (True, False)
    """

    def __init__(
        self,
        difference: sp.Expr,
        weights: Sequence[sp.Symbol] | None = None,
        *,
        decay: Array,
        coupling: Array = 1.0,
        cost: Array,
        rate: Array,
        **parameters: Array,
    ) -> None:
        self.system = _system(sp.sympify(difference), _weight_names(difference, weights, parameters))
        unknown = {s.name for s in self.system.difference.free_symbols} - {w.name for w in self.system.weights}
        unknown -= {COUPLING.name, *parameters}
        if unknown:
            raise ValueError(f"parameter {min(unknown)} of the difference needs a value")
        super().__init__(decay=decay, coupling=coupling, cost=cost, rate=rate)
        for name, value in operands({}, parameters).values.items():
            if not bool(operands({}, parameters).xp.isfinite(value).all()):
                raise ValueError(f"{name} must be finite; got {value}")
        self.parameters |= parameters
        operands({}, self.parameters)  # shapes broadcast
        self.reduced = _reduced(self.system)
        self._separatrices()  # D is refused now, not at the first state

    def with_coupling(self, coupling: Array) -> Self:
        """Return the same gate with another coupling."""
        values = {**self.parameters, COUPLING.name: coupling}
        return type(self)(self.system.difference, self.system.weights, **values)

    def margin(self, *state: Array) -> Array:
        """Return the signed distance θ − θ_sep to the separatrix along θ: negative = certified.

        Where the saddle lies above the strip (θ* > 1) and the whole strip is the basin, it is at most 1 − θ*; if
        then the boundary starts on the face θ = 1 at z₁, states with z* < z < z₁ are measured against the
        nullcline. It is −∞ where D never reaches −κ, and +∞ for κ = 0 and beyond the sizes where D is valid.
        """
        given = self.checked_state(*state)
        log_size, theta, columns, shape = self._flat(given)
        found = np.empty(theta.shape)
        for row, here in _groups(columns):
            found[here] = separatrix(self.reduced, tuple(self.parameters), row).margin(log_size[here], theta[here])
        return _from_numpy(found.reshape(shape), given)

    def headroom(self, *state: Array) -> Array:
        """Return how many times the coupling may grow before the certificate is lost (see `Gate.headroom`).

        Each state needs some ten separatrices of its own (about 0.1 s), found by root finding on log₂ m in
        [−64, 64]. A multiple at which D must be refused counts as not certified.
        """
        given = self.checked_state(*state)
        log_size, theta, columns, shape = self._flat(given)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        found = [
            _headroom(self.reduced, dict(zip(self.parameters, row, strict=True)), x, t)
            for row, x, t in zip(rows, log_size[:, None], theta[:, None], strict=True)
        ]
        return _from_numpy(np.array(found).reshape(shape), given)

    def _flat(self, given: Operands) -> tuple[Floats, Floats, list[Floats], tuple[int, ...]]:
        """Return ln z, θ, one column for each parameter, all flat, and the shape that they had."""
        values = {name: _to_numpy(value, given) for name, value in given.values.items()}
        norms = [values[weight.name] for weight in self.system.weights]
        with np.errstate(divide="ignore"):  # ln S without squaring tiny norms
            log_size = np.log(norms[0]) if len(norms) == 1 else 2 * np.log(np.hypot(*norms)) - math.log(2)
        shape = np.broadcast_shapes(*(value.shape for value in values.values()))
        everything = [log_size, values[THETA.name], *(values[name] for name in self.parameters)]
        log_size, theta, *columns = (np.broadcast_to(value, shape).ravel() for value in everything)
        return log_size, theta, columns, shape

    @property
    def saddle(self) -> tuple[Array, ...]:
        """Return the saddle of the bounding system: (rho, theta), or (rho_in, rho_out, theta) with equal norms.

        Infinite where there is none because D stays above −κ. NaN where nothing is certified for want of one: κ = 0,
        an infinite coupling, D within rounding of −κ, or without a slope where it reaches −κ.
        """
        curves, shape = self._separatrices()
        log_size = np.array([c.log_size for c in curves])
        size = np.exp(log_size) if len(self.system.weights) == 1 else np.exp(log_size / 2)
        theta = np.array([c.theta for c in curves])
        absent = np.array([c.safe_everywhere for c in curves])
        size, theta = (np.where(absent, np.inf, v).reshape(shape) for v in (size, theta))
        given = operands({}, self.parameters)
        return tuple(_from_numpy(v, given) for v in (*[size] * len(self.system.weights), theta))

    @property
    def eigenvalues(self) -> tuple[Array, ...]:
        """Return the eigenvalues of the linearised system at the saddle, the unstable one last; NaN where there is
        none.
        """
        given = operands(dict(zip((s.name for s in self.system.state), self.saddle, strict=True)), self.parameters)
        entries = [_to_numpy(v, given) for v in given.broadcast(*_jacobian(self.system)(given))]
        n = len(self.system.state)
        matrices = np.stack(entries, axis=-1).reshape(*entries[0].shape, n, n)
        matrices = np.where(np.isfinite(matrices).all(axis=(-2, -1), keepdims=True), matrices, np.nan)
        values = np.full(matrices.shape[:-1], np.nan)
        good = ~np.isnan(matrices).any(axis=(-2, -1))
        values[good] = np.sort(np.linalg.eigvals(matrices[good]).real, axis=-1)
        return tuple(_from_numpy(values[..., k], given) for k in range(n))

    def equilibria(self) -> list[Equilibrium]:
        """Return all equilibria of one gate in the strip; see `dynamics.gates.equilibria`."""
        return equilibria(self.reduced, self.parameters)

    def _separatrices(self) -> tuple[list[Separatrix], tuple[int, ...]]:
        """Return one separatrix for each gate, in order, and the gates' shape."""
        given = operands({}, self.parameters)
        arrays = np.broadcast_arrays(*(_to_numpy(given[name], given) for name in self.parameters))
        rows = zip(*(array.ravel().tolist() for array in arrays), strict=True)
        return [separatrix(self.reduced, tuple(self.parameters), row) for row in rows], arrays[0].shape


def smooth_gate(
    slope: Array, curvature: Array, *, decay: Array, cost: Array, rate: Array, coupling: Array = 1.0
) -> GeneralGate:
    """Return the gate of a smooth loss, D = −gρ − Lρ²/2: g bounds the gradient at zero weights, L the curvature.

    By Taylor's theorem a loss difference with ‖∇D_true(0)‖ ≤ g and ‖∇D_true(w) − ∇D_true(v)‖ ≤ L‖w − v‖ satisfies
    both inequalities of `GeneralGate`.

    Args:
        slope: g ≥ 0.
        curvature: L ≥ 0.
        decay: λ ≥ 0.
        cost: κ ≥ 0.
        rate: r > 0.
        coupling: multiplies D as a whole.

    Raises:
        ValueError: outside these ranges.

    Example:
        >>> gate = smooth_gate(slope=1.0, curvature=2.0, decay=1.0, cost=0.75, rate=1.0)
        >>> [round(float(x), 6) for x in gate.saddle]
        [0.5, 0.25]
        >>> [round(float(x), 6) for x in gate.eigenvalues]
        [-2.265564, 1.765564]
        >>> bool(gate.certified(0.1, 0.3)), bool(gate.certified(0.5, 0.3))
        (True, False)
    """
    given = operands({}, {"slope": slope, "curvature": curvature})
    for name, value in given.values.items():
        if not bool((value >= 0).all()):
            raise ValueError(f"{name} must be ≥ 0; got {value}")
    rho, g, L = sp.symbols("rho slope curvature")
    return GeneralGate(
        -g * rho - L * rho**2 / 2,
        (rho,),
        decay=decay,
        coupling=coupling,
        cost=cost,
        rate=rate,
        slope=slope,
        curvature=curvature,
    )


def _weight_names(
    difference: sp.Expr, weights: Sequence[sp.Symbol] | None, parameters: dict[str, Array]
) -> tuple[str, ...]:
    """Return the names of the weights, checked against D and the parameters."""
    present = {symbol.name for symbol in sp.sympify(difference).free_symbols}
    if weights is None:
        inferred = sorted(present - {COUPLING.name, *parameters})
        if len(inferred) not in (1, 2):
            raise ValueError(
                f"weights cannot be inferred: difference has {len(inferred)} symbols without a value "
                f"({', '.join(inferred) or 'none'}); give weights=(…) and the other symbols' values"
            )
        weights = [sp.Symbol(name) for name in inferred]
    names = tuple(symbol.name for symbol in weights)
    for name in (*names, *(present - {COUPLING.name})):
        if name in _OWN:
            raise ValueError(f"difference must be an expression in weights, coupling and parameters; got {name}")
    idle = [name for name in (*names, *parameters) if name not in present]
    if idle:
        raise ValueError(f"{idle[0]} does not occur in the difference {difference}")
    return names


@functools.lru_cache(maxsize=256)
def _system(difference: sp.Expr, names: tuple[str, ...]) -> GateSystem:
    """Return D with the package's own symbols; multiplied by the coupling if that is not in it."""
    symbols = {s: _OWN.get(s.name, sp.Symbol(s.name, real=True)) for s in difference.free_symbols}
    symbols |= {s: sp.Symbol(s.name, nonnegative=True) for s in symbols if s.name in names}
    own = difference.subs(symbols, simultaneous=True)
    if own.has(*_ROUGH):
        raise ValueError(f"difference must be smooth; got {difference}")
    if COUPLING not in own.free_symbols:
        own = COUPLING * own
    weights = tuple(sp.Symbol(name, nonnegative=True) for name in names)
    at_zero = sp.simplify(own.subs(dict.fromkeys(weights, 0)))
    if at_zero != 0:
        raise ValueError(f"difference must vanish at zero weights; got {at_zero} there for {difference}")
    return GateSystem(difference=own, weights=weights)


@functools.lru_cache(maxsize=256)
def _reduced(system: GateSystem) -> Reduced:
    return reduce_system(system)


@functools.lru_cache(maxsize=256)
def _jacobian(system: GateSystem) -> Callable[[Operands], tuple[Array, ...]]:
    return compile_expressions([*system.state, *system.parameters], list(system.jacobian))


def _headroom(reduced: Reduced, values: dict[str, float], log_size: Floats, theta: Floats) -> float:
    """Return the root of the margin in log₂ m for one state (arrays of one entry)."""

    def margin(doublings: float) -> float:
        scaled = {**values, COUPLING.name: values[COUPLING.name] * 2.0**doublings}
        try:
            found = float(Separatrix(reduced, scaled).margin(log_size, theta)[0])
        except ValueError:
            return 1.0
        return min(max(found, -1.0), 1.0)  # infinite margins give the root finder a plain sign

    if values[COUPLING.name] == 0:
        return math.inf if margin(0) < 0 else 0.0
    step = 1.0 if margin(0) < 0 else -1.0
    inner, outer = 0.0, step
    while (margin(outer) < 0) == (step > 0):
        if abs(outer) >= 64:
            return math.inf if step > 0 else 0.0
        inner, outer = outer, outer * 2
    return 2.0 ** scipy.optimize.brentq(margin, *sorted((inner, outer)), xtol=1e-13)


def _groups(columns: list[Floats]) -> list[tuple[tuple[float, ...], np.ndarray | slice]]:
    """Return (distinct row, where it stands) of parallel columns."""
    if not columns[0].size:
        return []
    if all((column == column[0]).all() for column in columns):
        return [(tuple(float(column[0]) for column in columns), slice(None))]
    rows, which = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    edges = np.cumsum(np.bincount(which.ravel(), minlength=len(rows)))[:-1]
    return [(tuple(row.tolist()), here) for row, here in zip(rows, np.split(order, edges), strict=True)]


def _to_numpy(value: Array, given: Operands) -> Floats:
    """Return the value as float64, on the host."""
    if given.xp is np:
        return np.asarray(value, dtype=np.float64)
    return value.detach().to(device="cpu", dtype=given.xp.float64).numpy()


def _from_numpy(value: Floats, given: Operands) -> Array:
    """Return the value in the backend, dtype and device of the operands."""
    like = next(iter(given.values.values()))
    if given.xp is np:
        return np.asarray(value, dtype=like.dtype)[()]
    return given.xp.as_tensor(value.copy(), dtype=like.dtype, device=like.device)
