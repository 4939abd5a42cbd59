"""One path of a projected flow in any dimension, to high accuracy.

Some components (the gates) live in [0, 1]. The flow is smooth as long as the set of components that are held at a
face does not change, so each piece is integrated with that set fixed, up to the event that changes it: a free
component reaches a face, or the derivative of a held one turns inward. Between events the order of the integrator
is kept, which a clipped Runge–Kutta step loses at every face.

For many states of a planar system use the batched flow instead: this is one state at a time, in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
import scipy  # its parts load when they are first used, half a second that not every command needs

__all__ = ["Path", "projected_path"]

FACE = 1e-13  # closer to a face than this counts as on it: the events' own rounding
INWARD = 1e-14  # a held component is let go at this inward speed, so that one at rest on a face stays held
SWITCHES = 1000


@dataclass(frozen=True)
class Path:
    """A solution on [0, horizon] that can be evaluated at any time.

    Attributes:
        ends: the times at which the pieces end; the last is the horizon.
        pieces: dense outputs.
        end: the state at the horizon.
    """

    ends: np.ndarray
    pieces: Sequence[Callable[[np.ndarray], np.ndarray]]
    end: np.ndarray

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """Return the states at `times` (shape (n,), inside [0, horizon]), shape (n, components)."""
        times = np.asarray(times, dtype=float)
        if times.size and not (times.min() >= 0 and times.max() <= self.ends[-1] * (1 + 1e-12)):
            raise ValueError(f"times must be in [0, {self.ends[-1]}]; got {times.min()} to {times.max()}")
        which = np.minimum(np.searchsorted(self.ends, times), len(self.ends) - 1)
        states = np.empty((len(times), len(self.end)))
        for i in np.unique(which):
            states[which == i] = self.pieces[i](times[which == i]).T
        return states


def projected_path(
    field: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    bounded: slice,
    horizon: float,
    *,
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> Path:
    """Integrate `field` from `start`, the components `bounded` projected on [0, 1].

    Args:
        field: the smooth right-hand side, a state to its derivative; also defined slightly outside the cube.
        start: the state at time 0.
        bounded: which components are in [0, 1].
        horizon: the time to reach, > 0.
        rtol: the integrator's relative tolerance.
        atol: its absolute tolerance.

    Raises:
        ValueError: if the start is not finite or not in the cube, or the horizon is not positive and finite.
        RuntimeError: if the integrator fails, or the set of held components changes more than 1000 times.

    Example:
        >>> path = projected_path(lambda z: np.array([-1.0]), np.array([0.25]), slice(0, 1), 1.0)
        >>> [round(float(v), 6) for v in path(np.array([0.125, 0.25, 1.0]))[:, 0]]
        [0.125, 0.0, 0.0]
    """
    z = np.array(start, dtype=float)
    if not np.isfinite(z).all() or not ((z[bounded] >= 0) & (z[bounded] <= 1)).all():
        raise ValueError(f"start must be finite, with components {bounded} in [0, 1]; got {z}")
    if not 0 < horizon < np.inf:
        raise ValueError(f"horizon must be positive and finite; got {horizon}")
    limited = range(*bounded.indices(len(z)))
    t, ends, pieces = 0.0, [], []
    released: set[int] = set()
    for _ in range(SWITCHES):
        speed = field(z)
        held = {i: round(z[i]) for i in limited if i not in released and _outward(z[i], speed[i])}
        for i, face in held.items():
            z[i] = face
        watched, events = _events(field, held, limited)
        piece = scipy.integrate.solve_ivp(
            _with_zeros(field, list(held)),
            (t, horizon),
            z,
            method="DOP853",
            rtol=rtol,
            atol=atol,
            events=events,
            dense_output=True,
        )
        if piece.status < 0:
            raise RuntimeError(f"integration failed at t = {piece.t[-1]}: {piece.message}")
        if piece.t[-1] > t:
            ends.append(float(piece.t[-1]))
            pieces.append(piece.sol)
        t, z = float(piece.t[-1]), piece.y[:, -1].copy()
        z[bounded] = np.clip(z[bounded], 0.0, 1.0)
        if piece.status == 0:
            return Path(np.array(ends), pieces, z)
        # A component let go has zero speed: rounding must not hold it again at once.
        fired = [i for i, times in zip(watched, piece.t_events, strict=True) if len(times)]
        released = {i for i in fired if i in held}
    raise RuntimeError(f"the held components changed {SWITCHES} times before t = {t} of {horizon}")


def _outward(value: float, speed: float) -> bool:
    return bool((value <= FACE and speed <= 0) or (value >= 1 - FACE and speed >= 0))


def _with_zeros(
    field: Callable[[np.ndarray], np.ndarray], held: list[int]
) -> Callable[[float, np.ndarray], np.ndarray]:
    def function(_: float, z: np.ndarray) -> np.ndarray:
        speed = np.array(field(z), dtype=float)
        speed[held] = 0.0
        return speed

    return function


def _events(
    field: Callable[[np.ndarray], np.ndarray], held: dict[int, int], limited: Sequence[int]
) -> tuple[list[int], list[Any]]:
    """Return terminal events for scipy, and the component that each one watches."""
    watched: list[int] = []
    events: list[Any] = []

    def watch(component: int, distance: Callable[[np.ndarray], float], direction: int) -> None:
        def event(_: float, z: np.ndarray) -> float:
            return distance(z)

        event.terminal, event.direction = True, direction  # type: ignore[attr-defined]
        watched.append(component)
        events.append(event)

    for i in limited:
        if i in held:
            watch(i, partial(_inward, field, i, 1 if held[i] == 0 else -1), 1)
        else:
            watch(i, itemgetter(i), -1)
            watch(i, partial(_less_one, i), 1)
    return watched, events


def _inward(field: Callable[[np.ndarray], np.ndarray], i: int, sign: int, z: np.ndarray) -> float:
    return sign * float(field(z)[i]) - INWARD


def _less_one(i: int, z: np.ndarray) -> float:
    return float(z[i] - 1)
