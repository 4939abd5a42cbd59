"""A slow, readable reference for the projected flow: scipy's `solve_ivp`, face by face, with events."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from dynamics.gates.gate import Gate


class End(NamedTuple):
    """Where a trajectory ends: "zero" or "one" (held at a face for good) or "horizon", when, and its state."""

    where: str
    time: float
    state: np.ndarray


def follow(gate: Gate, state: np.ndarray, horizon: float, rtol: float = 1e-12, settle: bool = True) -> End:
    """Follow one state; with `settle` stop at θ = 0 while D > −κ, or at θ = 1 with norms at rest or large."""
    parameters = {k: float(v) for k, v in gate.parameters.items()}
    smooth = smooth_field(gate, parameters)
    x, t = np.array(state, float), 0.0
    options = {"method": "DOP853", "rtol": rtol, "atol": 1e-14}

    def event(function, direction, terminal=True):
        function.terminal, function.direction = terminal, direction
        return function

    while t < horizon:
        inward = smooth(x)[-1]
        if x[-1] <= 0 and inward <= 0:
            if settle:
                return End("zero", t, x)
            held, released = 0.0, event(lambda s, y: smooth([*y[:-1], 0.0])[-1], 1)
        elif x[-1] >= 1 and inward >= 0:
            held, released = 1.0, event(lambda s, y: smooth([*y[:-1], 1.0])[-1], -1)
        else:
            held = None
        if held is None:
            meets = [event(lambda s, y: y[-1], -1), event(lambda s, y: y[-1] - 1, 1)]
            # An event at the very start is not one: step off the face first.
            done = solve_ivp(lambda s, y: smooth(y), (t, horizon), x, events=meets, **options)
            hits = [
                (ts[0], face, ys[0])
                for ts, ys, face in zip(done.t_events, done.y_events, (0, 1), strict=True)
                if len(ts)
            ]
            if not hits:
                return End("horizon", horizon, done.y[:, -1])
            t, face, x = hits[0]
            x = np.array([*x[:-1], float(face)])
        else:
            far = event(lambda s, y: max(y[:-1]) - 1e5, 1)
            calm = event(lambda s, y: np.abs(smooth([*y[:-1], 1.0])[:-1]).max() - 1e-9, -1)
            ends = [released, far, calm] if settle else [released]
            done = solve_ivp(
                lambda s, y, held=held: [*smooth([*y[:-1], held])[:-1], 0.0],
                (t, horizon),
                x,
                events=ends,
                **options,
            )
            if len(done.t_events[0]):
                t, x = done.t_events[0][0], np.array([*done.y_events[0][0][:-1], held])
                x = x - np.sign(held - 0.5) * np.eye(len(x))[-1] * 1e-15  # just inside
            elif done.status == 1:
                return End("one", done.t[-1], done.y[:, -1])
            else:
                return End("horizon", horizon, done.y[:, -1])
    return End("horizon", t, x)


def smooth_field(gate: Gate, parameters: dict[str, float]):
    """The field without the projection, by direct substitution."""
    import sympy as sp

    symbols = list(gate.system.state)
    constants = {s: parameters[s.name] for f in gate.system.field for s in f.free_symbols if s.name in parameters}
    compiled = sp.lambdify(symbols, [f.subs(constants) for f in gate.system.field], "math")
    return lambda x: np.array(compiled(*x), float)
