"""The projected flow of many gates at once: where does each state end, and when?

Every state is followed on its own, with its own steps, so that its result does not depend on what else is in
the batch. The scheme is in `dynamics.integrators.kernel`, its compilation in `dynamics.integrators.codegen`. The linear
gate has
an exact solution, much faster: `dynamics.integrators.exact_linear`.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynamics.gates.gate import Gate
from dynamics.integrators.codegen import kernel
from dynamics.numeric import Array

__all__ = ["Fate", "Flow", "integrate", "prepare"]

CHUNK = 2048  # states a thread takes at a time: small enough to balance slow passages near the saddle


class Fate(IntEnum):
    """How a trajectory ends. Only what is certain gets a name; the rest is UNDECIDED.

    - ZERO: θ = 0 for good. On that face the norms only decay, so θ' stays ≤ 0 once it is.
    - ALIVE: θ = 1 for good, weights bounded.
    - DIVERGED: θ = 1 for good and the norms grow without bound, or passed the bound while growing. Not pruned.
    - UNDECIDED: the horizon or the step budget ended first, for instance in a slow passage near the saddle.
    - FAILED: the field is not finite at the start (an infinite coupling, an overflow), or no step size meets the
      tolerance.
    """

    ZERO = 0
    ALIVE = 1
    DIVERGED = 2
    UNDECIDED = 3
    FAILED = 4


@dataclass(frozen=True)
class Flow:
    """What became of each state; every array has the broadcast shape of the states and the gate.

    Attributes:
        outcome: `Fate` codes, uint8.
        time: when the fate became certain; for UNDECIDED and FAILED, how far the trajectory was followed.
        steps: Runge-Kutta steps tried (for the exact solution, smooth pieces).
        state: one array a component, at `time`.
        path: one array a component at the requested times, which are its first axis; None if none were asked
            for. NaN where the trajectory was not followed that far.
    """

    outcome: NDArray[np.uint8]
    time: NDArray[np.float64]
    steps: NDArray[np.int32]
    state: tuple[NDArray[np.float64], ...]
    path: tuple[NDArray[np.float64], ...] | None = None


def integrate(
    gate: Gate,
    *state: Array,
    horizon: float = 1e6,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    bound: float = 1e6,
    epsilon: float = 1e-9,
    max_steps: int = 100_000,
    times: ArrayLike | None = None,
    threads: int | None = None,
) -> Flow:
    """Follow each state along the projected flow until its fate is certain.

    An explicit embedded pair of orders 5(4). Not for very different time scales (decay ≫ rate·coupling or the
    reverse by more than 10⁵): the step is limited by the fastest one, and the budget ends as UNDECIDED.

    Args:
        gate: any gate; its parameters broadcast with the states.
        state: in the order of the gate's state, e.g. `rho, theta`; NumPy arrays, torch tensors or numbers.
        horizon: time at which to stop, finite and > 0.
        rtol: error allowed in a step relative to the state, in [1e-13, 0.1].
        atol: error allowed in a step, > 0.
        bound: norm above which a growing gate at θ = 1 counts as DIVERGED, > 0.
        epsilon: norm below which a gate at θ = 0 counts as ZERO where D is not known to fall with every norm.
        max_steps: budget of steps for each state, ≥ 1.
        times: where the path is wanted, increasing, in [0, horizon].
        threads: by default one a core.

    Raises:
        ValueError: for θ outside [0, 1], a negative or not finite norm, shapes that do not broadcast, an option out of
            its range.

    Example:
        >>> from dynamics import LinearGate
        >>> gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
        >>> flow = integrate(gate, [0.1, 0.5], [0.3, 0.3])
        >>> [Fate(code).name for code in flow.outcome]
        ['ZERO', 'ALIVE']
    """
    check_options(rtol, max_steps, horizon=horizon, atol=atol, bound=bound, epsilon=epsilon)
    flat, constants, shape = prepare(gate, *state)
    wanted = request(times, horizon)
    count = flat.shape[1]
    fates, when = np.empty(count, np.uint8), np.empty(count)
    steps, final = np.empty(count, np.int32), np.empty_like(flat)
    path = np.full((count, len(wanted), len(flat)) if len(wanted) else (1, 0, len(flat)), np.nan)
    signs = frozenset(n for n, v in zip(gate.parameters, constants, strict=True) if v.size and v.min() >= 0)
    follow = kernel(gate.system, tuple(gate.parameters), signs).trajectories

    def work(first: int) -> None:
        follow(
            first, min(first + CHUNK, count), flat, constants, float(horizon), float(rtol), float(atol),
            float(bound), float(epsilon), int(max_steps), wanted, fates, when, steps, final, path,
        )  # fmt: skip

    in_threads(work, range(0, count, CHUNK), threads)
    return collect(fates, when, steps, final, path if len(wanted) else None, shape)


def prepare(gate: Gate, *state: Array) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], ...], tuple[int, ...]]:
    """States as (component, index), parameters as flat arrays of one value or one a state, and the shape.

    Raises:
        ValueError: as `Gate.field` for a state that is not one.
    """
    given = gate._state(*(part if hasattr(part, "dtype") else np.asarray(part, float) for part in state))
    values = {name: _as_float64(value) for name, value in given.values.items()}
    shape = np.broadcast_shapes(*(value.shape for value in values.values()))
    names = [symbol.name for symbol in gate.system.state]
    flat = np.empty((len(names), math.prod(shape)))
    for row, name in zip(flat, names, strict=True):
        row.reshape(shape)[...] = values[name]
    constants = tuple(_one_or_all(values[name], shape) for name in gate.parameters)
    return flat, constants, shape


def request(times: ArrayLike | None, horizon: float) -> NDArray[np.float64]:
    """The requested times, checked.

    Raises:
        ValueError: unless they increase within [0, horizon].
    """
    wanted = np.atleast_1d(np.asarray([] if times is None else times, float))
    if wanted.ndim != 1 or not (np.diff(wanted) > 0).all() or not ((wanted >= 0) & (wanted <= horizon)).all():
        raise ValueError(f"times must increase and lie in [0, horizon = {horizon:g}]; got {_short(wanted)}")
    return np.ascontiguousarray(wanted)


def in_threads(work, starts: range, threads: int | None) -> None:  # type: ignore[no-untyped-def]
    """Call `work` on every start; compiled code releases the interpreter's lock."""
    threads = threads or os.cpu_count() or 1
    if threads == 1 or len(starts) == 1:
        for first in starts:
            work(first)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, starts):
            pass


def collect(fates, when, steps, final, path, shape) -> Flow:  # type: ignore[no-untyped-def]
    """Flat results in the shape of the states."""
    rows = None
    if path is not None:  # (index, time, component) → one (time, *shape) a component
        rows = tuple(path[:, :, j].T.reshape(path.shape[1], *shape) for j in range(path.shape[2]))
    parts = tuple(row.reshape(shape) for row in final)
    return Flow(fates.reshape(shape), when.reshape(shape), steps.reshape(shape), parts, rows)


def _one_or_all(value: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Flat, of length 1 or of one entry a state."""
    wide = value if value.size == 1 else np.broadcast_to(value, shape)
    return np.require(wide.reshape(-1), requirements=["C", "W"])  # compiled for writable arrays


def _as_float64(value: Array) -> NDArray[np.float64]:
    if hasattr(value, "detach"):  # a torch tensor, wherever it lives
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


def check_options(rtol: float, max_steps: int, **positive: float) -> None:
    """The options of `integrate` in their ranges.

    Raises:
        ValueError: naming the first that is not.
    """
    check_positive(**positive)
    if not 1e-13 <= rtol <= 0.1:
        raise ValueError(f"rtol must be in [1e-13, 0.1]; got {rtol}")
    if not 1 <= max_steps < 2**31:
        raise ValueError(f"max_steps must be in [1, 2³¹); got {max_steps}")


def check_positive(**named: float) -> None:
    """Each option finite and > 0.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in named.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and > 0; got {value}")


def _short(values: NDArray[np.float64]) -> str:
    return np.array2string(values, threshold=6, edgeitems=2, precision=6)
