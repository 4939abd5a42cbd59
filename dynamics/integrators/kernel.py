"""One trajectory of a projected gate system, in scalar code that numba compiles once for every system.

`dynamics.integrators.codegen` puts the functions of one system (its `field`, and vector operations of its length, all
generated) in place of the declarations above the line "from here on", and compiles the whole. So nothing here
is called through the module itself; it is the readable part of what runs.

**Scheme.** θ is projected on [0, 1]. Three smooth systems take turns: the interior; the face θ = 0 and the face
θ = 1, where θ is held while its derivative points outwards. Dormand and Prince's embedded pair of orders 5(4)
steps each of them with its own step size. Where a step crosses into another system it is cut at the crossing,
which is located by root-finding on the step's interpolant of order 4, so that no step straddles a point where
the projected field jumps.
"""

# Compiled code states no types: numba infers them from the signature of the entry point.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit

Vector: TypeAlias = tuple[float, ...]

N = 0  # length of the state (norms, then θ)
DECREASING = False  # D falls with every norm, for all parameters
COOPERATIVE = False  # no norm slows another at θ = 1: −∂²D/∂w_i∂w_j ≥ 0
HOMOGENEOUS = False  # ∇D(cw) = c∇D(w)
STEEPENING = False  # no norm weakens the pull: −∂²D/∂w_i∂w_j ≥ 0, i = j included


def field(x: Vector, p: Vector) -> Vector:
    """The smooth field, not projected."""
    raise NotImplementedError


def decay_of(p: Vector) -> float:
    """λ."""
    raise NotImplementedError


def sum1(x: Vector, h: float, a: float, k: Vector) -> Vector:
    """X + h·a·k."""
    raise NotImplementedError


def sums(x: Vector, h: float, *terms: float | Vector) -> Vector:
    """X + h·(a·k + b·l + …) with 2, 3, … terms: `sum2` … `sum6`."""
    raise NotImplementedError


sum2 = sum3 = sum4 = sum5 = sum6 = sums


def state_at(state: np.ndarray, i: int) -> Vector:
    """Column i of the states."""
    raise NotImplementedError


def parameters_at(parameters: tuple[np.ndarray, ...], i: int) -> Vector:
    """The parameters of state i; an array of one value holds for all."""
    raise NotImplementedError


def defect(h: float, x: Vector, y: Vector, rtol: float, atol: float, *terms: float | Vector) -> float:
    """Largest component of h·(E1·k1 + E3·k3 + …) over its tolerance, atol + rtol·max(|x|, |y|)."""
    raise NotImplementedError


def size(v: Vector, x: Vector, rtol: float, atol: float) -> float:
    """Largest component of v over the tolerance at x."""
    raise NotImplementedError


def interpolate(s: float, r1: Vector, r2: Vector, r3: Vector, r4: Vector, r5: Vector) -> Vector:
    """The step's interpolant at fraction s."""
    raise NotImplementedError


def interpolate_theta(s: float, r1: Vector, r2: Vector, r3: Vector, r4: Vector, r5: Vector) -> float:
    """Its last component."""
    raise NotImplementedError


def coefficients(h: float, x: Vector, y: Vector, *slopes: Vector) -> tuple[Vector, ...]:
    """Hairer's five coefficients of the interpolant."""
    raise NotImplementedError


def with_theta(x: Vector, theta: float) -> Vector:
    """X with its last component replaced."""
    raise NotImplementedError


def clamped(x: Vector) -> Vector:
    """Norms that the error tolerance made negative set to zero."""
    raise NotImplementedError


def scaled(x: Vector, c: float) -> Vector:
    """The norms times c, θ = 1."""
    raise NotImplementedError


def constant(value: float) -> Vector:
    """Every norm equal to `value`, θ = 1."""
    raise NotImplementedError


def least(x: Vector) -> float:
    """The smallest norm (or, of a slope, the smallest derivative of a norm)."""
    raise NotImplementedError


def largest(x: Vector) -> float:
    """The largest norm."""
    raise NotImplementedError


def settled(x: Vector, k: Vector, rate: float) -> bool:
    """Whether no norm changes by more than `rate` times itself a unit of time."""
    raise NotImplementedError


def finite(x: Vector) -> bool:
    """Whether every component is finite."""
    raise NotImplementedError


# ---- from here on: the same for every system ----

ZERO, ALIVE, DIVERGED, UNDECIDED, FAILED = 0, 1, 2, 3, 4  # dynamics.integrators.batched_flow.Fate
BELOW, INTERIOR, ABOVE = -1, 0, 1  # held at θ = 0, free, held at θ = 1

# Dormand & Prince (1980), "A family of embedded Runge-Kutta formulae", J. Comp. Appl. Math. 6, 19-26.
A21 = 1 / 5
A31, A32 = 3 / 40, 9 / 40
A41, A42, A43 = 44 / 45, -56 / 15, 32 / 9
A51, A52, A53, A54 = 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729
A61, A62, A63, A64, A65 = 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656
B1, B3, B4, B5, B6 = 35 / 384, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84
E1, E3, E4, E5, E6, E7 = 71 / 57600, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40

SAFETY, SHRINK, GROW = 0.9, 0.2, 8.0


@njit
def slope(x, p, mode):
    """The derivative in the present smooth system: θ is held on a face."""
    k = field(x, p)
    return k if mode == INTERIOR else with_theta(k, 0.0)


@njit
def first_step(x, k, p, mode, rtol, atol):
    """A starting step from the sizes of the state, its derivative and its second derivative.

    Hairer, Nørsett, Wanner, "Solving Ordinary Differential Equations I", section II.4, in the maximum norm.
    """
    here, speed = size(x, x, rtol, atol), size(k, x, rtol, atol)
    if not speed > 0:
        return 1e-3
    h = 0.01 * here / speed if here > 1e-5 and speed > 1e-5 else 1e-6
    after = slope(sum1(x, h, 1.0, k), p, mode)
    steepest = max(speed, size(sum1(after, -1.0, 1.0, k), x, rtol, atol) / h)
    return min(100 * h, (0.01 / steepest) ** 0.2 if steepest > 1e-15 else max(1e-6, h * 1e-3))


@njit
def extremum(h, theta0, slope0, theta1, slope1):
    """Where the cubic through both ends of a step has θ' = 0, as a fraction; −1 if nowhere inside."""
    rise = theta1 - theta0
    a = 3 * (h * (slope0 + slope1) - 2 * rise)
    b = 2 * (3 * rise - h * (2 * slope0 + slope1))
    c = h * slope0
    under = b * b - 4 * a * c
    if under < 0:
        return -1.0
    q = -0.5 * (b + (under**0.5 if b >= 0 else -(under**0.5)))
    if a != 0 and 0 < q / a < 1:
        return q / a
    if q != 0 and 0 < c / q < 1:
        return c / q
    return -1.0


@njit
def hit(face, low, high, r1, r2, r3, r4, r5):
    """Fraction in [low, high] at which θ crosses the face; the interpolant changes sides between the two."""
    f_low = interpolate_theta(low, r1, r2, r3, r4, r5) - face
    f_high = interpolate_theta(high, r1, r2, r3, r4, r5) - face
    side = 0
    for _ in range(60):  # Illinois: the secant within a bracket, a stale end halved
        if high - low <= 1e-15 or f_high == 0:
            break
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        if not low < middle < high:
            middle = 0.5 * (low + high)
        f = interpolate_theta(middle, r1, r2, r3, r4, r5) - face
        if (f > 0) == (f_high > 0):
            high, f_high = middle, f
            if side == 1:
                f_low *= 0.5
            side = 1
        else:
            low, f_low = middle, f
            if side == -1:
                f_high *= 0.5
            side = -1
        if abs(f) <= 1e-15:
            return middle
    return high


@njit
def leave(face, p, r1, r2, r3, r4, r5):
    """Fraction at which the held θ is released; its derivative there points inwards, strictly."""
    inward = 1.0 if face == 0 else -1.0
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection: rare, and it keeps the end whose derivative is inwards
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        x = with_theta(interpolate(middle, r1, r2, r3, r4, r5), face)
        if inward * field(x, p)[N - 1] > 0:
            high = middle
        else:
            low = middle
    return high


@njit
def judge_above(x, p, rtol, bound):
    """The fate of a gate held at θ = 1, or UNDECIDED.

    Where D falls with every norm and the norms are cooperative, a state `low` ≤ x whose norms do not fall
    bounds the trajectory from below for good (Kamke), and θ' > 0 at `low` then holds θ at 1 for good. The norms
    stay bounded if none grows at the corner of a cube that holds x; they grow without bound if their field is
    positive at `low` and either homogeneous (exponentially) or steepening without decay (linearly). Elsewhere
    the norms are followed until they settle or pass the bound.
    """
    k = field(x, p)
    if not k[N - 1] > 0:
        return UNDECIDED
    if DECREASING and COOPERATIVE:
        smallest = least(x)
        for trial in range(24):
            low = constant(smallest) if trial == 1 else scaled(x, 0.5 ** max(0, trial - 1))
            at_low = field(low, p)
            if trial != 1 and not at_low[N - 1] > 0:
                break
            if at_low[N - 1] > 0 and least(at_low) >= 0:
                if largest(x) <= bound and largest(field(constant(bound), p)) <= 0:
                    return ALIVE
                if (HOMOGENEOUS or (STEEPENING and decay_of(p) == 0)) and least(at_low) > 0:
                    return DIVERGED
                break
    if largest(x) > bound and largest(k) > 0:
        return DIVERGED
    if settled(x, k, rtol * max(decay_of(p), 1e-300)):
        slack = min(0.5, 1e3 * rtol)  # rest at the saddle itself is no life: θ' must be clear of zero
        if field(scaled(x, 1 - slack), p)[N - 1] > 0 and field(scaled(x, 1 + slack), p)[N - 1] > 0:
            return ALIVE
    return UNDECIDED


@njit
def judge_below(x, p, epsilon):
    """The fate of a gate held at θ = 0, or UNDECIDED.

    There the norms only decay. Where D falls with every norm, θ' = −r(D + κ) falls with them and stays
    negative: absorbed. Elsewhere absorbed without decay, or when the norms are below ε.
    """
    if not field(x, p)[N - 1] <= 0:
        return UNDECIDED
    return ZERO if DECREASING or decay_of(p) == 0 or largest(x) < epsilon else UNDECIDED


@njit
def trajectory(x, p, horizon, rtol, atol, bound, epsilon, max_steps, times, path):
    """Follow one state until its fate is certain and all requested times are passed.

    Returns fate, the time at which it became certain, steps tried, the state at that time. `path` gets the
    state at each of `times`; rows that are not reached keep what they hold.
    """
    t, steps, row, wanted = 0.0, 0, 0, times.shape[0]
    fate, when, final = UNDECIDED, 0.0, x
    if not (finite(x) and finite(field(x, p))):
        return FAILED, t, steps, x
    mode, h, last, arrived = INTERIOR, 0.0, 1.0, True
    k1 = field(x, p)
    while row < wanted and times[row] <= 0:
        for i in range(N):
            path[row, i] = x[i]
        row += 1
    while True:
        if arrived:  # at the start and after a crossing: which smooth system holds here?
            theta = x[N - 1]
            if theta <= 0 and k1[N - 1] <= 0:
                mode = BELOW
            elif theta >= 1 and k1[N - 1] >= 0:
                mode = ABOVE
            else:
                mode = INTERIOR
            k1 = slope(x, p, mode)
            if h == 0:
                h = first_step(x, k1, p, mode, rtol, atol)
            arrived = False
        if fate == UNDECIDED:
            if mode == BELOW:
                fate = judge_below(x, p, epsilon)
            elif mode == ABOVE:
                fate = judge_above(x, p, rtol, bound)
            when, final = t, x
        end = horizon if fate == UNDECIDED else (times[wanted - 1] if row < wanted else t)
        if t >= end or steps >= max_steps:
            return fate, when, steps, final

        while True:  # until a step is accepted
            steps += 1
            reaches = h >= end - t
            if reaches:
                h = end - t
            k2 = slope(sum1(x, h, A21, k1), p, mode)
            k3 = slope(sum2(x, h, A31, k1, A32, k2), p, mode)
            k4 = slope(sum3(x, h, A41, k1, A42, k2, A43, k3), p, mode)
            k5 = slope(sum4(x, h, A51, k1, A52, k2, A53, k3, A54, k4), p, mode)
            k6 = slope(sum5(x, h, A61, k1, A62, k2, A63, k3, A64, k4, A65, k5), p, mode)
            y = sum5(x, h, B1, k1, B3, k3, B4, k4, B5, k5, B6, k6)
            k7 = slope(y, p, mode)
            error = defect(h, x, y, rtol, atol, E1, k1, E3, k3, E4, k4, E5, k5, E6, k6, E7, k7)
            if error <= 1:
                break
            shrink = SAFETY * error**-0.2
            h *= shrink if shrink > SHRINK else SHRINK  # a NaN shrinks most
            last = SHRINK
            if t + h <= t or h < 1e-290:
                return (FAILED if fate == UNDECIDED else fate), (t if fate == UNDECIDED else when), steps, final
            if steps >= max_steps:
                return fate, when, steps, final
        grow = GROW if error < 1e-5 else min(GROW, SAFETY * error**-0.2)
        following = h * (min(grow, 1.0) if last < 1 else max(grow, SHRINK))
        last = 1.0

        # Does the step cross into another smooth system?
        face, low, crossing = -1.0, 0.0, 0
        if mode == INTERIOR:
            theta0, theta1 = x[N - 1], y[N - 1]
            turn = -1.0
            if k1[N - 1] * k7[N - 1] < 0:
                turn = extremum(h, theta0, k1[N - 1], theta1, k7[N - 1])
            if theta1 < 0 or theta1 > 1:
                face, crossing = (0.0 if theta1 < 0 else 1.0), 1
                low = max(turn, 0.0) if theta0 == face else 0.0
        else:
            turn = -1.0
            face = 0.0 if mode == BELOW else 1.0
            released = field(y, p)[N - 1]
            if (released > 0) if mode == BELOW else (released < 0):
                crossing = 2
        s, reached = 1.0, end if reaches else t + h
        if crossing != 0 or turn > 0 or (row < wanted and times[row] <= reached):
            r1, r2, r3, r4, r5 = coefficients(h, x, y, k1, k3, k4, k5, k6, k7)
            if mode == INTERIOR and turn > 0 and x[N - 1] > 0 and x[N - 1] < 1:
                peak = interpolate_theta(turn, r1, r2, r3, r4, r5)
                if peak < 0 or peak > 1:  # touched a face and came back: cut at the first touch
                    face, crossing, low = (0.0 if peak < 0 else 1.0), 1, 0.0
                    s = hit(face, low, turn, r1, r2, r3, r4, r5)
                elif crossing == 1:
                    s = hit(face, turn, 1.0, r1, r2, r3, r4, r5)
            elif crossing == 1:
                above = interpolate_theta(low, r1, r2, r3, r4, r5) - face
                if x[N - 1] == face and (above <= 0 if face == 0 else above >= 0):
                    # Leaves the face and returns within the step, lower than the tolerance: it stays there.
                    mode = BELOW if face == 0 else ABOVE
                    k1 = with_theta(k1, 0.0)
                    continue
                s = hit(face, low, 1.0, r1, r2, r3, r4, r5)
            if crossing == 2:
                s = leave(face, p, r1, r2, r3, r4, r5)
            if crossing != 0:
                reached = t + s * h
            while row < wanted and times[row] <= reached:
                at = clamped(interpolate((times[row] - t) / h, r1, r2, r3, r4, r5))
                at = with_theta(at, min(max(at[N - 1], 0.0), 1.0))
                for i in range(N):
                    path[row, i] = at[i]
                row += 1
            if crossing != 0:
                y = with_theta(clamped(interpolate(s, r1, r2, r3, r4, r5)), face)
        if crossing != 0:
            k1, arrived = field(y, p), True
        elif least(y) < 0:
            y = clamped(y)
            k1 = slope(y, p, mode)
        else:
            k1 = k7
        t, x, h = reached, y, following


@njit
def trajectories(
    first, last, state, parameters, horizon, rtol, atol, bound, epsilon, max_steps,
    times, fates, when, steps, final, path,
):  # fmt: skip
    """Trajectories `first` … `last` − 1. A parameter with one value holds for all of them."""
    for i in range(first, last):
        fate, t, count, x = trajectory(
            state_at(state, i), parameters_at(parameters, i), horizon, rtol, atol, bound, epsilon, max_steps,
            times, path[i if path.shape[1] else 0],
        )  # fmt: skip
        fates[i], when[i], steps[i] = fate, t, count
        for j in range(N):
            final[j, i] = x[j]
