"""One trajectory of the linear gate, piece by piece in closed form; compiled by `dynamics.integrators.exact_linear`.

The functions above the line "from here on" are generated from the derivation and put in their place.
"""

# Compiled code states no types: numba infers them from the signature of the entry point.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
from __future__ import annotations

import math

from numba import njit

Vector = tuple[float, ...]


def field(x: Vector, p: Vector) -> Vector:
    """The smooth field (ρ', θ')."""
    raise NotImplementedError


def root_of(p: Vector) -> Vector:
    """(q,) with q = |μ₋|/η."""
    raise NotImplementedError


def eigenvalues(p: Vector, q: Vector) -> Vector:
    """(μ₋, μ₊)."""
    raise NotImplementedError


def amplitudes(x: Vector, p: Vector, q: Vector) -> Vector:
    """(a, b), unstable and stable part of θ − θ*."""
    raise NotImplementedError


# ---- from here on: the same for every system ----

ZERO, ALIVE, DIVERGED, UNDECIDED, FAILED = 0, 1, 2, 3, 4  # dynamics.integrators.batched_flow.Fate


@njit
def inside(t, x, a, b, fast, slow, p):
    """The interior solution after time t; `fast` = μ₊, `slow` = μ₋. ρ follows from θ' = r(ηρ − κ)."""
    decay, coupling, cost, rate = p
    if coupling == 0:
        return x[0] * math.exp(-decay * t), x[1] - rate * cost * t
    up = a * math.expm1(fast * t) if a != 0 else 0.0
    down = b * math.expm1(slow * t)
    return max(0.0, x[0] + (fast * up + slow * down) / (rate * coupling)), x[1] + up + down


@njit
def crossing(face, rising, x, p, a, b, fast, slow, low, high):
    """The time in [low, high] at which θ is on the face, and ρ then; θ is `rising` or falling there.

    Cauchy's method, the root of the second-order Taylor polynomial, kept in its bracket: it does not mind the
    turning point at the bracket's end, and as its order is 3 a correction below 10⁻⁶ leaves only rounding.
    """
    t = high
    for _ in range(200):
        up, down = a * math.expm1(fast * t), b * math.expm1(slow * t)
        value = x[1] + up + down - face
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
    return following, max(0.0, x[0] + (fast * up + slow * down) / (p[3] * p[1]))


@njit
def first_face(x, p, a, b, fast, slow, released):
    """(time, face, ρ then) of the next meeting with a face; time ∞ where θ never meets one.

    θ' = a μ₊e^{μ₊t} + b μ₋e^{μ₋t} changes sign at most once, and in the end has the sign of a. So at most two
    monotone stretches, before and after the turning point; the last one certainly meets a face. A state just
    `released` from a face is at its turning point.
    """
    decay, coupling, cost, rate = p
    if coupling == 0:
        length = x[1] / (rate * cost) if cost > 0 else math.inf
        return length, 0.0, x[0] * math.exp(-decay * length)
    if a == 0:
        return math.inf, 0.0, 0.0
    turn, side = 0.0, fast * a + slow * b  # side = θ' now
    if side * a < 0 and not released:  # turns: b μ₋ e^{μ₋t} = −a μ₊ e^{μ₊t}
        turn = math.log(-slow * b / (fast * a)) / (fast - slow)
        extreme = x[1] + a * math.expm1(fast * turn) + b * math.expm1(slow * turn)
        if extreme < 0 or extreme > 1:
            face = 0.0 if extreme < 0 else 1.0
            length, rho = crossing(face, extreme > 1, x, p, a, b, fast, slow, 0.0, turn)
            return length, face, rho
    face = 0.0 if a < 0 else 1.0
    room = abs(face - x[1])
    stable = -b if a < 0 else b  # b (e^{μ₋t} − 1) takes at most |b| away from the way to the face
    high = math.log1p((room + max(0.0, stable)) / abs(a)) / fast
    high = max(high, turn) * (1 + 1e-12)
    length, rho = crossing(face, a > 0, x, p, a, b, fast, slow, turn, high)
    return length, face, rho


@njit
def above(t, rho, p):
    """ρ after time t on the face θ = 1: relaxes to η/λ."""
    decay, coupling = p[0], p[1]
    if decay == 0:
        return rho + coupling * t
    return rho * math.exp(-decay * t) - coupling * math.expm1(-decay * t) / decay


@njit
def at(t, mode, x, a, b, fast, slow, p):
    """The state after time t in one piece: held at θ = 0 (mode −1), at θ = 1 (mode 1), or free."""
    if mode == -1:
        return x[0] * math.exp(-p[0] * t), 0.0
    if mode == 1:
        return above(t, x[0], p), 1.0
    rho, theta = inside(t, x, a, b, fast, slow, p)
    return rho, min(1.0, max(0.0, theta))


@njit
def solution(x, p, q, slow, fast, horizon, bound, times, path):
    """Fate, time at which it is certain, number of pieces, state then. `path` gets the states at `times`."""
    decay, coupling, cost, _ = p
    t, row, wanted = 0.0, 0, times.shape[0]
    fate = UNDECIDED
    if not (math.isfinite(x[0]) and math.isfinite(coupling)):
        return FAILED, t, 0, x
    released = False
    for piece in range(1, 20):
        speed = field(x, p)[1]
        a, b, length, face, landed, mode = 0.0, 0.0, math.inf, 0.0, 0.0, 0
        if x[1] <= 0 and speed <= 0:  # absorbed: the norm only decays
            mode, fate = -1, ZERO
        elif x[1] >= 1 and speed >= 0 and not released:
            mode, over = 1, coupling * coupling - decay * cost
            if over > 0:  # θ* < 1: ρ stays above ρ*. With θ* = 1 it tends to the saddle: undecided
                fate = DIVERGED if coupling > bound * decay else ALIVE
            elif over < 0:  # ρ sinks to ρ*, where θ is released
                length = math.log1p((x[0] - cost / coupling) / (cost / coupling - coupling / decay)) / decay
        else:
            if coupling > 0:
                a, b = amplitudes(x, p, q)
            length, face, landed = first_face(x, p, a, b, fast, slow, released)
        if not length >= 0:
            return FAILED, t, piece, x
        while row < wanted and (fate != UNDECIDED or times[row] <= t + length):
            path[row, 0], path[row, 1] = at(times[row] - t, mode, x, a, b, fast, slow, p)
            row += 1
        if fate != UNDECIDED:
            return fate, t, piece, x
        if t + length > horizon:
            return UNDECIDED, horizon, piece, at(horizon - t, mode, x, a, b, fast, slow, p)
        t += length
        released = mode == 1
        x = (cost / coupling, 1.0) if released else (landed, face)
    return FAILED, t, 20, x


@njit
def solutions(first, last, state, parameters, horizon, bound, times, fates, when, steps, final, path):
    """Solutions `first` … `last` − 1. A parameter with one value holds for all of them."""
    decay, coupling, cost, rate = parameters
    p: Vector = (0.0, 0.0, 0.0, 0.0)
    q: Vector = (1.0,)
    slow, fast = 0.0, 0.0
    one = decay.shape[0] == coupling.shape[0] == cost.shape[0] == rate.shape[0] == 1
    for i in range(first, last):
        if i == first or not one:
            p = (
                decay[i if decay.shape[0] > 1 else 0],
                coupling[i if coupling.shape[0] > 1 else 0],
                cost[i if cost.shape[0] > 1 else 0],
                rate[i if rate.shape[0] > 1 else 0],
            )
            q = root_of(p) if p[1] > 0 else (1.0,)
            slow, fast = eigenvalues(p, q)
        fate, t, count, x = solution(
            (state[0, i], state[1, i]), p, q, slow, fast, horizon, bound, times, path[i if path.shape[1] else 0]
        )
        fates[i], when[i], steps[i] = fate, t, count
        final[0, i], final[1, i] = x
