"""One trajectory of the linear gate, piece by piece in closed form; compiled by `dynamics.integrators.exact_linear`.

The functions here are compiled through `dynamics.integrators.codegen`, which defines the names that are imported
for the type checker alone; they cannot be called from this module. A state is (ρ, θ).
"""

# Compiled code states no types: numba infers them from the arguments of the entry point, `solutions`.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from dynamics.integrators.interface import Vector, compiled, inlined

if TYPE_CHECKING:
    from dynamics.integrators.interface import (
        ALIVE,
        COMPONENTS,
        DIVERGED,
        FAILED,
        PARAMETERS,
        UNDECIDED,
        ZERO,
        amplitudes,
        eigenvalues,
        field,
        root_of,
    )

BELOW, INTERIOR, ABOVE = -1, 0, 1  # the three smooth systems: held at θ = 0, free, held at θ = 1


class Options(NamedTuple):
    """The options of `dynamics.integrators.exact_linear.solve`."""

    horizon: float
    bound: float


class Gate(NamedTuple):
    """The constants of a gate, and what follows from them."""

    decay: float
    coupling: float
    cost: float
    rate: float
    root: float  # q
    slow: float  # μ₋
    fast: float  # μ₊


class Piece(NamedTuple):
    """A stretch of the trajectory in one smooth system."""

    mode: int
    start: Vector
    a: float  # amplitudes in the interior, unstable and stable
    b: float


@compiled
def inside(t, piece, gate):
    """Return the interior solution after time t; ρ follows from θ' = r(ηρ − κ)."""
    rho, theta = piece.start
    if gate.coupling == 0:
        return rho * math.exp(-gate.decay * t), theta - gate.rate * gate.cost * t
    up = piece.a * math.expm1(gate.fast * t) if piece.a != 0 else 0.0
    down = piece.b * math.expm1(gate.slow * t)
    return max(0.0, rho + (gate.fast * up + gate.slow * down) / (gate.rate * gate.coupling)), theta + up + down


@compiled
def above(t, rho, gate):
    """Return ρ after time t on the face θ = 1: relaxes to η/λ."""
    decay, coupling = gate.decay, gate.coupling
    if decay == 0:
        return rho + coupling * t
    return rho * math.exp(-decay * t) - coupling * math.expm1(-decay * t) / decay


@compiled
def at(t, piece, gate):
    """Return the state after time t in one piece."""
    if piece.mode == BELOW:
        return piece.start[0] * math.exp(-gate.decay * t), 0.0
    if piece.mode == ABOVE:
        return above(t, piece.start[0], gate), 1.0
    rho, theta = inside(t, piece, gate)
    return rho, min(1.0, max(0.0, theta))


@compiled
def crossing(face, rising, piece, gate, low, high):
    """Return the time in [low, high] at which θ is on the face, and ρ then; θ is `rising` or falling there.

    Cauchy's method, the root of the second-order Taylor polynomial, kept in its bracket: it does not mind the
    turning point at the bracket's end, and as its order is 3 a correction below 10⁻⁶ leaves only rounding.
    """
    _, (rho, theta), a, b = piece
    fast, slow = gate.fast, gate.slow
    t = high
    for _ in range(200):
        up, down = a * math.expm1(fast * t), b * math.expm1(slow * t)
        value = theta + up + down - face
        faster, slower = fast * (a + up), slow * (b + down)
        speed, bend = faster + slower, fast * faster + slow * slower
        if (value > 0) == rising:
            high = t
        else:
            low = t
        under = speed * speed - 2 * value * bend
        under = math.sqrt(under) if under > 0 else 0.0
        following = t - 2 * value / (speed + (under if rising else -under))
        if not low <= following <= high:
            following = 0.5 * (low + high)
        if abs(following - t) <= 1e-6 * t or high - low <= 4e-16 * high:
            break
        t = following
    step = following - t  # so short that the second-order Taylor polynomial is exact to rounding
    up += step * faster * (1 + 0.5 * step * fast)
    down += step * slower * (1 + 0.5 * step * slow)
    return following, max(0.0, rho + (fast * up + slow * down) / (gate.rate * gate.coupling))


@compiled
def first_face(piece, gate, released):
    """Return (time, face, ρ then) of the next meeting with a face; time ∞ where θ never meets one.

    θ' = a μ₊e^{μ₊t} + b μ₋e^{μ₋t} changes sign at most once, and in the end has the sign of a. So at most two
    monotone stretches, before and after the turning point; the last one certainly meets a face. A state just
    `released` from a face is at its turning point.
    """
    _, (rho, theta), a, b = piece
    fast, slow = gate.fast, gate.slow
    if gate.coupling == 0:
        length = theta / (gate.rate * gate.cost) if gate.cost > 0 else math.inf
        return length, 0.0, rho * math.exp(-gate.decay * length)
    if a == 0:
        return math.inf, 0.0, 0.0
    turn, side = 0.0, fast * a + slow * b  # side = θ' now
    if side * a < 0 and not released:  # turns: b μ₋ e^{μ₋t} = −a μ₊ e^{μ₊t}
        turn = math.log(-slow * b / (fast * a)) / (fast - slow)
        extreme = theta + a * math.expm1(fast * turn) + b * math.expm1(slow * turn)
        if extreme < 0 or extreme > 1:
            face = 0.0 if extreme < 0 else 1.0
            length, landed = crossing(face, extreme > 1, piece, gate, 0.0, turn)
            return length, face, landed
    face = 0.0 if a < 0 else 1.0
    room = abs(face - theta)
    stable = -b if a < 0 else b  # b (e^{μ₋t} − 1) takes at most |b| away from the way to the face
    high = math.log1p((room + max(0.0, stable)) / abs(a)) / fast
    high = max(high, turn) * (1 + 1e-12)
    length, landed = crossing(face, a > 0, piece, gate, turn, high)
    return length, face, landed


@inlined
def held_above(rho, gate, bound):
    """Return the fate of a gate held at θ = 1, or UNDECIDED and after what time it is released."""
    decay, coupling, cost = gate.decay, gate.coupling, gate.cost
    over = coupling * coupling - decay * cost
    if over > 0:  # θ* < 1: ρ stays above ρ*
        return (DIVERGED if coupling > bound * decay else ALIVE), math.inf
    if over < 0:  # ρ sinks to ρ*, where θ is released
        return UNDECIDED, math.log1p((rho - cost / coupling) / (cost / coupling - coupling / decay)) / decay
    return UNDECIDED, math.inf  # θ* = 1: it tends to the saddle


@inlined
def next_piece(x, gate, released, bound):
    """Return the fate that is certain at x, the piece that begins there, how long it lasts, and where it ends."""
    speed = field(x, gate[:4])[1]
    if x[1] <= 0 and speed <= 0:  # absorbed: the norm only decays
        return ZERO, Piece(BELOW, x, 0.0, 0.0), math.inf, x
    if x[1] >= 1 and speed >= 0 and not released:
        fate, length = held_above(x[0], gate, bound)
        return fate, Piece(ABOVE, x, 0.0, 0.0), length, (gate.cost / gate.coupling, 1.0)
    a, b = amplitudes(x, gate[:4], (gate.root,)) if gate.coupling > 0 else (0.0, 0.0)
    piece = Piece(INTERIOR, x, a, b)
    length, face, landed = first_face(piece, gate, released)
    return UNDECIDED, piece, length, (landed, face)


@compiled
def solution(x, gate, options, times, path):
    """Follow one state until its fate is certain.

    Returns fate, the time at which it became certain, number of pieces, the state at that time. `path` gets the
    state at each of `times`; rows that are not reached keep what they hold.
    """
    t, row, wanted = 0.0, 0, times.shape[0]
    if not (math.isfinite(x[0]) and math.isfinite(gate.coupling)):
        return FAILED, t, 0, x
    released = False
    for count in range(1, 20):
        fate, piece, length, landing = next_piece(x, gate, released, options.bound)
        if not length >= 0:
            return FAILED, t, count, x
        while row < wanted and (fate != UNDECIDED or times[row] <= t + length):
            path[row, 0], path[row, 1] = at(times[row] - t, piece, gate)
            row += 1
        if fate != UNDECIDED:
            return fate, t, count, x
        if t + length > options.horizon:
            return UNDECIDED, options.horizon, count, at(options.horizon - t, piece, gate)
        t += length
        released = piece.mode == ABOVE
        x = landing
    return FAILED, t, 20, x


@compiled
def gate_of(p):
    """Return a gate from its constants; one that nothing pulls has no saddle, and its root counts as 1."""
    q = root_of(p) if p[1] > 0 else (1.0,)
    slow, fast = eigenvalues(p, q)
    return Gate(p[0], p[1], p[2], p[3], q[0], slow, fast)


@compiled
def solutions(first, last, state, parameters, options, times, results):
    """Follow states `first` … `last` − 1. A parameter with one value holds for all of them."""
    gate = gate_of(tuple(parameters[j][first if parameters[j].shape[0] > 1 else 0] for j in PARAMETERS))
    one = all(parameters[j].shape[0] == 1 for j in PARAMETERS)
    for i in range(first, last):
        if i > first and not one:
            gate = gate_of(tuple(parameters[j][i if parameters[j].shape[0] > 1 else 0] for j in PARAMETERS))
        start = tuple(state[j, i] for j in COMPONENTS)
        path = results.path[i if results.path.shape[1] else 0]
        results.fates[i], results.when[i], results.steps[i], final = solution(start, gate, options, times, path)
        results.final[0, i], results.final[1, i] = final
