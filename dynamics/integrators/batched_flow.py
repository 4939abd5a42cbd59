"""The projected flow of many gates at once: where each state ends, and when.

Every state is followed on its own, with its own steps, so that its result does not depend on what else is in
the batch. The scheme is in `dynamics.integrators.kernel`, its compilation in `dynamics.integrators.codegen`. The
linear gate has an exact solution, much faster: `dynamics.integrators.exact_linear`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynamics.gates.gate import Gate
from dynamics.integrators.codegen import kernel
from dynamics.integrators.interface import Results
from dynamics.integrators.kernel import Options
from dynamics.numeric import Array

__all__ = ["Flow", "check_options", "check_positive", "follow_all", "integrate"]

CHUNK = 2048  # states a thread takes at a time: small enough to balance slow passages near the saddle


@dataclass(frozen=True)
class Flow:
    """The end of each state; every array has the broadcast shape of the states and the gate.

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
        >>> from dynamics.integrators.fate import Fate
        >>> gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
        >>> flow = integrate(gate, [0.1, 0.5], [0.3, 0.3])
        >>> [Fate(code).name for code in flow.outcome]
        ['ZERO', 'ALIVE']
    """
    check_options(rtol, max_steps, horizon=horizon, atol=atol, bound=bound, epsilon=epsilon)
    states = prepare(gate, *state)
    named = zip(gate.parameters, states.parameters, strict=True)
    signs = frozenset(name for name, value in named if value.size and value.min() >= 0)
    scheme = kernel(gate.system, tuple(gate.parameters), signs)
    options = Options(float(horizon), float(rtol), float(atol), float(bound), float(epsilon), int(max_steps))
    return follow_all(scheme.trajectories, states, options, times, threads)


class States(NamedTuple):
    """States and parameters made ready for compiled code."""

    flat: NDArray[np.float64]  # (component, state)
    parameters: tuple[NDArray[np.float64], ...]  # each of one value or of one a state
    shape: tuple[int, ...]  # what the states and the gate broadcast to


def prepare(gate: Gate, *state: Array) -> States:
    """Return the states of a gate, checked, beside its parameters.

    Raises:
        ValueError: as `Gate.field` for a state that is not one.
    """
    given = gate.checked_state(*(part if hasattr(part, "dtype") else np.asarray(part, float) for part in state))
    values = {name: _as_float64(value) for name, value in given.values.items()}
    shape = np.broadcast_shapes(*(value.shape for value in values.values()))
    names = [symbol.name for symbol in gate.system.state]
    flat = np.empty((len(names), math.prod(shape)))
    for row, name in zip(flat, names, strict=True):
        row.reshape(shape)[...] = values[name]
    return States(flat, tuple(_one_or_all(values[name], shape) for name in gate.parameters), shape)


def follow_all(
    follow: Callable[..., None], states: States, options: Any, times: ArrayLike | None, threads: int | None
) -> Flow:
    """Follow every state with a compiled scheme, in threads.

    Args:
        follow: the scheme's entry point; see `dynamics.integrators.kernel.trajectories`.
        states: what to follow.
        options: of the scheme, a tuple with the horizon.
        times: where the path is wanted, or None.
        threads: by default one a core.

    Raises:
        ValueError: unless the times increase within [0, horizon].
    """
    wanted = _checked_times(times, options.horizon)
    components, count = states.flat.shape
    results = Results(
        fates=np.empty(count, np.uint8),
        when=np.empty(count),
        steps=np.empty(count, np.int32),
        final=np.empty_like(states.flat),
        path=np.full((count, len(wanted), components) if len(wanted) else (1, 0, components), np.nan),
    )

    def work(first: int) -> None:
        follow(first, min(first + CHUNK, count), states.flat, states.parameters, options, wanted, results)

    _in_threads(work, range(0, count, CHUNK), threads)
    return _shaped(results, states.shape)


def _checked_times(times: ArrayLike | None, horizon: float) -> NDArray[np.float64]:
    """Return the requested times, none for None; refuse any that do not increase within [0, horizon]."""
    wanted = np.atleast_1d(np.asarray([] if times is None else times, float))
    if wanted.ndim != 1 or not (np.diff(wanted) > 0).all() or not ((wanted >= 0) & (wanted <= horizon)).all():
        raise ValueError(f"times must increase and lie in [0, horizon = {horizon:g}]; got {_short(wanted)}")
    return np.ascontiguousarray(wanted)


def _in_threads(work: Callable[[int], None], starts: range, threads: int | None) -> None:
    """Call `work` on every start; compiled code releases the interpreter's lock."""
    threads = threads or os.cpu_count() or 1
    if threads == 1 or len(starts) == 1:
        for first in starts:
            work(first)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, starts):
            pass


def _shaped(results: Results, shape: tuple[int, ...]) -> Flow:
    """Return flat results in the shape of the states."""
    fates, when, steps, final, path = results
    rows = None
    if path.shape[1]:  # (index, time, component) → one (time, *shape) a component
        rows = tuple(path[:, :, j].T.reshape(path.shape[1], *shape) for j in range(path.shape[2]))
    parts = tuple(row.reshape(shape) for row in final)
    return Flow(fates.reshape(shape), when.reshape(shape), steps.reshape(shape), parts, rows)


def _one_or_all(value: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the value flat, of length 1 or of one entry a state."""
    wide = value if value.size == 1 else np.broadcast_to(value, shape)
    return np.require(wide.reshape(-1), requirements=["C", "W"])  # compiled for writable arrays


def _as_float64(value: Array) -> NDArray[np.float64]:
    if hasattr(value, "detach"):  # a torch tensor, wherever it lives
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


def check_options(rtol: float, max_steps: int, **positive: float) -> None:
    """Check that the options of `integrate` lie in their ranges.

    Raises:
        ValueError: naming the first that is not.
    """
    check_positive(**positive)
    if not 1e-13 <= rtol <= 0.1:
        raise ValueError(f"rtol must be in [1e-13, 0.1]; got {rtol}")
    if not 1 <= max_steps < 2**31:
        raise ValueError(f"max_steps must be in [1, 2³¹); got {max_steps}")


def check_positive(**named: float) -> None:
    """Check that each option is finite and > 0.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in named.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and > 0; got {value}")


def _short(values: NDArray[np.float64]) -> str:
    return np.array2string(values, threshold=6, edgeitems=2, precision=6)
