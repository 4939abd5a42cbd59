"""The base of all gates: field, saddle, margin, certificate and headroom.

A concrete gate says which system bounds it (`system`) and how far a state lies from the separatrix
(`margin`); everything else here follows from these two.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from dynamics.gates.bounded import FINITE_NONNEGATIVE, NONNEGATIVE, POSITIVE, SHARE, BoundedGate, check
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA, GateSystem
from dynamics.numeric import Array, Operands, compile_expressions, operands

__all__ = ["ClosedFormGate", "Gate", "compiled_field"]


class Gate(BoundedGate, ABC):
    """One gate, or an array of gates, with its constants.

    Args:
        decay: λ ≥ 0, weight decay on the weights that the gate multiplies.
        coupling: η ≥ 0, bound on the pull of the loss (see each gate for the exact inequality). May be ∞ where no
            bound is known: then nothing is certified.
        cost: κ ≥ 0, the objective's price for the gate. Without a price (κ = 0) nothing is certified.
        rate: r > 0, the gate's learning rate over the weights' effective one, lr / (1 − momentum).

    Each may be a number, a NumPy array or a torch tensor, one entry a gate; they broadcast.

    Raises:
        ValueError: for a negative or NaN constant, an infinite one other than the coupling, r = 0, or shapes
            that do not broadcast.
    """

    system: GateSystem

    def __init__(self, *, decay: Array, coupling: Array, cost: Array, rate: Array) -> None:
        named = {DECAY.name: decay, COUPLING.name: coupling, COST.name: cost, RATE.name: rate}
        finite = dict.fromkeys((DECAY, COST, RATE), FINITE_NONNEGATIVE)
        super().__init__(named, finite | {COUPLING: NONNEGATIVE})
        check(operands({}, named), {RATE: POSITIVE})

    @property
    def saddle(self) -> tuple[Array, ...]:
        """Return the saddle of the bounding system, in the order of the state: (rho, theta).

        Infinite where the coupling is zero: without a pull there is no saddle.
        """
        return self._saddle_of(operands({}, self.parameters))

    def _saddle_of(self, given: Operands) -> tuple[Array, ...]:
        """Return the saddle in the backend of the operands, which hold the parameters."""
        coupling = given.xp.abs(given[COUPLING.name])  # −0, a measured pull of none, is 0
        return _saddle(type(self))(Operands(given.xp, {**given.values, COUPLING.name: coupling}))

    @property
    def eigenvalues(self) -> tuple[Array, ...]:
        """Return the eigenvalues of the linearised system at the saddle, the unstable one last."""
        return _eigenvalues(type(self))(operands({}, self.parameters))

    def field(self, *state: Array) -> tuple[Array, ...]:
        """Return the projected right-hand side of the ODE at a state (`rho, theta`, or `rho_in, rho_out, theta`).

        At θ = 0 a negative dθ/dt is dropped, at θ = 1 a positive one; an inward derivative stays, so that a
        gate at a face may leave it again.

        Raises:
            ValueError: if θ leaves [0, 1], a norm is negative or infinite, anything is NaN, or shapes do not broadcast.
        """
        given = self.checked_state(*state)
        *weights, theta_dot = compiled_field(self.system)(given)
        theta = given.broadcast(given["theta"])[0]
        outward = ((theta <= 0) & (theta_dot < 0)) | ((theta >= 1) & (theta_dot > 0))
        return (*weights, given.xp.where(outward, given.xp.zeros_like(theta_dot), theta_dot))

    @abstractmethod
    def margin(self, *state: Array) -> Array:
        """Return the signed distance to the separatrix along θ: negative = certified."""

    def certified(self, *state: Array) -> Array:
        """Return whether the gate is guaranteed to go to zero as long as its constants hold: margin < 0."""
        return self.margin(*state) < 0

    def headroom(self, *state: Array) -> Array:
        """Return how many times the coupling may grow before the certificate is lost.

        The supremum of m such that the same state is certified with coupling m·η: 0 where no coupling certifies
        it, ∞ where every one does (η = 0, or zero weights; for the linear gate zero weights and θ = 0). A value
        of at least 1 means certified now. Found by bisection on log₂ m in [−64, 64]; that the certified region
        shrinks as η grows is the claim `linear-monotone` / `bilinear-monotone` of `python -m dynamics verify`.
        """
        return self._largest_factor(self.checked_state(*state), lambda gate: gate.certified(*state))

    def checked_state(self, *state: Array) -> Operands:
        """Return the state beside the parameters, checked."""
        names = [symbol.name for symbol in self.system.state]
        if len(state) != len(names):
            raise TypeError(f"{type(self).__name__} takes a state ({', '.join(names)}); got {len(state)} values")
        given = operands(dict(zip(names, state, strict=True)), self.parameters)
        check(given, dict.fromkeys(self.system.weights, FINITE_NONNEGATIVE) | {THETA: SHARE})
        return given


class ClosedFormGate(Gate):
    """A gate whose separatrix through the saddle is known in closed form.

    A concrete one says how far a state lies from that curve (`_distance`); the margin where the saddle is above the
    strip, or where there is none, follows from the constants.
    """

    def margin(self, *state: Array) -> Array:
        """Return θ − θ_sep, the signed distance to the separatrix measured along θ: negative = certified.

        Where the saddle lies above the strip (θ* > 1) every state is certified, and the margin is at most 1 − θ*. It
        is −∞ for η = 0 with κ > 0: nothing pulls.
        """
        given = self.checked_state(*state)
        xp, eta = given.xp, given[COUPLING.name]
        with np.errstate(all="ignore"):  # extreme constants overflow to the infinity that is meant
            pulled = eta > 0
            found, saddle_theta = given.broadcast(*self._distance(given, xp.where(pulled, eta, xp.ones_like(eta))))
            above = 1 - saddle_theta
            found = xp.where((above < 0) & ~(found < above), above, found)  # also where it is ∞ − ∞
            priced = xp.where(pulled, found, xp.full_like(found, -xp.inf))
            return xp.where(given[COST.name] > 0, priced, self._without_price(given, found))

    @abstractmethod
    def _distance(self, given: Operands, eta: Array) -> tuple[Array, Array]:
        """Return θ less the height of the curve, and θ*, where `eta` > 0 is the coupling."""

    @abstractmethod
    def _without_price(self, given: Operands, found: Array) -> Array:
        """Return the margin for κ = 0, where `found` is the one with a pull."""


@functools.cache
def compiled_field(system: GateSystem) -> Callable[[Operands], tuple[Array, ...]]:
    """Return the smooth right-hand side as a function of state and parameters, not yet projected."""
    return compile_expressions([*system.state, *system.parameters], system.field)


@functools.cache
def _saddle(kind: type[Gate]) -> Callable[[Operands], tuple[Array, ...]]:
    return compile_expressions([DECAY, COUPLING, COST, RATE], kind.system.saddle)


@functools.cache
def _eigenvalues(kind: type[Gate]) -> Callable[[Operands], tuple[Array, ...]]:
    return compile_expressions([DECAY, COUPLING, COST, RATE], kind.system.eigenvalues)
