"""The same task by diffrax (vmap, jit) and by a loop over scipy's `solve_ivp`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.cases import HORIZON, Case

Result = tuple[np.ndarray, np.ndarray]  # time of the first meeting with a face, state there (component, index)


def has_diffrax() -> bool:
    return importlib.util.find_spec("diffrax") is not None


def by_diffrax(case: Case, rtol: float, atol: float, batch: int) -> Callable[[list[np.ndarray]], Result]:
    """Return a compiled solver: Tsit5 (diffrax's recommendation for non-stiff problems), PID steps, a located event.

    States go through in batches of one shape, so that one compilation serves and a batch does not wait for the
    slowest of all states.
    """
    import diffrax
    import jax
    import jax.numpy as jnp
    import optimistix

    jax.config.update("jax_enable_x64", True)
    smooth = case.field("jax")

    def field(t, y, args):
        return jnp.stack(smooth(*y))

    def outside(t, y, args, **kwargs):
        return y[-1] * (1 - y[-1])

    def one(y):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            t0=0.0,
            t1=HORIZON,
            dt0=None,
            y0=y,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            event=diffrax.Event(outside, optimistix.Newton(rtol=1e-8, atol=1e-10)),
            adjoint=diffrax.ForwardMode(),  # forward only: the fastest loop diffrax has
            max_steps=100_000,
            throw=False,
        )
        return found.ts[-1], found.ys[-1]

    many = jax.jit(jax.vmap(one))

    def run(state: list[np.ndarray]) -> Result:
        stacked = np.stack(state, axis=1)
        count = len(stacked)
        padded = np.resize(stacked, (-(-count // batch) * batch, stacked.shape[1]))  # full batches: one compilation
        parts = [many(padded[i : i + batch]) for i in range(0, len(padded), batch)]
        times = np.concatenate([np.asarray(part[0]) for part in parts])[:count]
        states = np.concatenate([np.asarray(part[1]) for part in parts])[:count]
        return times, states.T

    return run


def by_scipy(case: Case, rtol: float, atol: float, method: str = "RK45") -> Callable[[list[np.ndarray]], Result]:
    """Solve one state at a time by `solve_ivp` with events; also the reference, with DOP853 and tight tolerances."""
    smooth = case.field("math")

    def at_zero(t, y):
        return y[-1]

    def at_one(t, y):
        return y[-1] - 1

    at_zero.terminal = at_one.terminal = True
    at_zero.direction, at_one.direction = -1, 1

    def run(state: list[np.ndarray]) -> Result:
        ends = [
            solve_ivp(
                lambda t, y: smooth(*y), (0, HORIZON), start, method=method, rtol=rtol, atol=atol,
                events=(at_zero, at_one),
            )
            for start in np.transpose(state)
        ]  # fmt: skip
        return np.array([end.t[-1] for end in ends]), np.stack([end.y[:, -1] for end in ends], axis=1)

    return run
