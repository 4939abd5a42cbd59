"""One trajectory of a projected gate system: the scheme, in scalar code that is compiled for each system.

θ is projected on [0, 1]. Three smooth systems take turns: the interior; the face θ = 0 and the face θ = 1, where θ
is held while its derivative points outwards. Dormand and Prince's embedded pair of orders 5(4) steps each of them
with its own step size. Where a step crosses into another system it is cut at the crossing, which is located by
root-finding on the step's interpolant of order 4, so that no step straddles a point where the projected field
jumps.

The functions here are compiled through `dynamics.integrators.codegen`, which defines the names that are imported
for the type checker alone; they cannot be called from this module. A state is a tuple: the norms, then θ.
"""

# Compiled code states no types: numba infers them from the arguments of the entry point, `trajectories`.
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from dynamics.integrators.interface import Vector, compiled, inlined

if TYPE_CHECKING:
    from dynamics.integrators.interface import (
        ALIVE,
        COMPONENTS,
        COOPERATIVE,
        DECREASING,
        DIVERGED,
        FAILED,
        HOMOGENEOUS,
        NORMS,
        PARAMETERS,
        STEEPENING,
        UNDECIDED,
        ZERO,
        decay_of,
        field,
    )

BELOW, INTERIOR, ABOVE = -1, 0, 1  # the three smooth systems: held at θ = 0, free, held at θ = 1
STAYS, CROSSES, GRAZES, CLAMPS = 0, 1, 2, 3  # what happens in a step

# Dormand & Prince (1980), "A family of embedded Runge-Kutta formulae", J. Comp. Appl. Math. 6, 19-26.
A21 = 1 / 5
A31, A32 = 3 / 40, 9 / 40
A41, A42, A43 = 44 / 45, -56 / 15, 32 / 9
A51, A52, A53, A54 = 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729
A61, A62, A63, A64, A65 = 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656
B1, B3, B4, B5, B6 = 35 / 384, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84
E1, E3, E4, E5, E6, E7 = 71 / 57600, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40
# Hairer's continuous extension of the pair (DOPRI5).
D1, D3, D4 = -12715105075 / 11282082432, 87487479700 / 32700410799, -10690763975 / 1880347072
D5, D6, D7 = 701980252875 / 199316789632, -1453857185 / 822651844, 69997945 / 29380423

SAFETY, SHRINK, GROW = 0.9, 0.2, 8.0


class Options(NamedTuple):
    """The options of `dynamics.integrators.batched_flow.integrate`."""

    horizon: float
    rtol: float
    atol: float
    bound: float
    epsilon: float
    max_steps: int


class Step(NamedTuple):
    """A step that was tried: its length, its end, and the slopes at all stages but the second."""

    h: float
    end: Vector
    k1: Vector
    k3: Vector
    k4: Vector
    k5: Vector
    k6: Vector
    k7: Vector


# Vectors.


@inlined
def with_theta(x, theta):
    """Return x with its last component replaced."""
    return (*(x[i] for i in NORMS), theta)


@inlined
def clamped(x):
    """Return x with norms that the error tolerance made negative set to zero."""
    return (*(max(x[i], 0.0) for i in NORMS), x[-1])


@inlined
def scaled(x, c):
    """Return the norms times c, and θ = 1."""
    return (*(x[i] * c for i in NORMS), 1.0)


@inlined
def corner(x, value):
    """Return every norm equal to `value`, and θ = 1."""
    return (*(value for i in NORMS), 1.0)


@inlined
def least(x):
    """Return the smallest norm (or, of a slope, the smallest derivative of a norm)."""
    return min(x[i] for i in NORMS)


@inlined
def largest(x):
    """Return the largest norm (or, of a slope, the largest derivative of a norm)."""
    return max(x[i] for i in NORMS)


@inlined
def finite(x):
    """Return whether every component is finite."""
    return all(math.isfinite(x[i]) for i in COMPONENTS)


@compiled
def larger(top, value):
    """Return the larger of two; the second where either is NaN."""
    return top if value <= top else value


@compiled
def size(v, x, options):
    """Return the largest component of v over the tolerance at x."""
    rtol, atol = options.rtol, options.atol
    return reduce(larger, (abs(v[i]) / (atol + rtol * abs(x[i])) for i in COMPONENTS))


# One step.


@compiled
def slope(x, p, mode):
    """Return the derivative in the present smooth system: θ is held on a face."""
    k = field(x, p)
    return k if mode == INTERIOR else with_theta(k, 0.0)


@compiled
def system_at(x, k):
    """Return which smooth system holds at x, where the field is k."""
    if x[-1] <= 0 and k[-1] <= 0:
        return BELOW
    if x[-1] >= 1 and k[-1] >= 0:
        return ABOVE
    return INTERIOR


@compiled
def first_step(x, k, p, mode, options):
    """Return a starting step from the sizes of the state, its derivative and its second derivative.

    Hairer, Nørsett, Wanner, "Solving Ordinary Differential Equations I", section II.4, in the maximum norm.
    """
    here, speed = size(x, x, options), size(k, x, options)
    if not speed > 0:
        return 1e-3
    h = 0.01 * here / speed if here > 1e-5 and speed > 1e-5 else 1e-6
    after = slope(tuple(x[i] + h * k[i] for i in COMPONENTS), p, mode)
    change = size(tuple(after[i] - k[i] for i in COMPONENTS), x, options)
    steepest = max(speed, change / h)
    return min(100 * h, (0.01 / steepest) ** 0.2 if steepest > 1e-15 else max(1e-6, h * 1e-3))


@inlined
def try_step(x, k1, h, p, mode, options):
    """Return a step of length h from x, and its error over what is allowed."""
    k2 = slope(tuple(x[i] + h * (A21 * k1[i]) for i in COMPONENTS), p, mode)
    k3 = slope(tuple(x[i] + h * (A31 * k1[i] + A32 * k2[i]) for i in COMPONENTS), p, mode)
    k4 = slope(tuple(x[i] + h * (A41 * k1[i] + A42 * k2[i] + A43 * k3[i]) for i in COMPONENTS), p, mode)
    k5 = slope(tuple(x[i] + h * (A51 * k1[i] + A52 * k2[i] + A53 * k3[i] + A54 * k4[i]) for i in COMPONENTS), p, mode)
    k6 = slope(
        tuple(x[i] + h * (A61 * k1[i] + A62 * k2[i] + A63 * k3[i] + A64 * k4[i] + A65 * k5[i]) for i in COMPONENTS),
        p,
        mode,
    )
    y = tuple(x[i] + h * (B1 * k1[i] + B3 * k3[i] + B4 * k4[i] + B5 * k5[i] + B6 * k6[i]) for i in COMPONENTS)
    k7 = slope(y, p, mode)
    rtol, atol = options.rtol, options.atol
    error = reduce(
        larger,
        (
            abs(h * (E1 * k1[i] + E3 * k3[i] + E4 * k4[i] + E5 * k5[i] + E6 * k6[i] + E7 * k7[i]))
            / (atol + rtol * max(abs(x[i]), abs(y[i])))
            for i in COMPONENTS
        ),
    )
    return Step(h, y, k1, k3, k4, k5, k6, k7), error


@inlined
def accept_step(t, x, k1, h, end, steps, p, mode, options):
    """Shrink the step until its error is allowed.

    Returns whether a step was accepted, the step, whether it reaches `end`, the length proposed for the next one,
    and the steps tried so far. None is accepted where the budget ends, or where the length vanishes: then the
    proposed length is 0.
    """
    rejected = False
    while True:
        steps += 1
        reaches = h >= end - t
        if reaches:
            h = end - t
        step, error = try_step(x, k1, h, p, mode, options)
        if error <= 1:
            break
        shrink = SAFETY * error**-0.2
        h *= shrink if shrink > SHRINK else SHRINK  # a NaN shrinks most
        rejected = True
        if t + h <= t or h < 1e-290:
            return False, step, reaches, 0.0, steps
        if steps >= options.max_steps:
            return False, step, reaches, h, steps
    grow = GROW if error < 1e-5 else min(GROW, SAFETY * error**-0.2)
    following = h * (min(grow, 1.0) if rejected else max(grow, SHRINK))
    return True, step, reaches, following, steps


# Inside a step.


@inlined
def coefficients(x, step):
    """Return the five coefficients of the interpolant of a step from x."""
    h, y, k1, k3, k4, k5, k6, k7 = step
    return (
        x,
        tuple(y[i] - x[i] for i in COMPONENTS),
        tuple(h * k1[i] - (y[i] - x[i]) for i in COMPONENTS),
        tuple(2 * (y[i] - x[i]) - h * (k1[i] + k7[i]) for i in COMPONENTS),
        tuple(h * (D1 * k1[i] + D3 * k3[i] + D4 * k4[i] + D5 * k5[i] + D6 * k6[i] + D7 * k7[i]) for i in COMPONENTS),
    )


@compiled
def interpolate(s, r):
    """Return the state at fraction s of a step, from the coefficients of its interpolant."""
    r1, r2, r3, r4, r5 = r
    return tuple(r1[i] + s * (r2[i] + (1 - s) * (r3[i] + s * (r4[i] + (1 - s) * r5[i]))) for i in COMPONENTS)


@inlined
def write_times(row, reached, t, h, r, times, path):
    """Write the state at the requested times from `row` on that are `reached`; return the next row."""
    while row < times.shape[0] and times[row] <= reached:
        at = clamped(interpolate((times[row] - t) / h, r))
        write(path, row, with_theta(at, min(max(at[-1], 0.0), 1.0)))
        row += 1
    return row


@compiled
def write(path, row, x):
    """Write one state."""
    for i in range(len(x)):
        path[row, i] = x[i]


@compiled
def turning_point(x, step):
    """Return where the cubic through both ends of a step has θ' = 0, as a fraction; −1 if nowhere inside."""
    h, slope0, slope1 = step.h, step.k1[-1], step.k7[-1]
    if not slope0 * slope1 < 0:
        return -1.0
    rise = step.end[-1] - x[-1]
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


@compiled
def hit(face, low, high, r):
    """Return the fraction in [low, high] at which θ crosses the face; it changes sides between the two."""
    f_low = interpolate(low, r)[-1] - face
    f_high = interpolate(high, r)[-1] - face
    side = 0
    for _ in range(60):  # Illinois: the secant within a bracket, a stale end halved
        if high - low <= 1e-15 or f_high == 0:
            break
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        if not low < middle < high:
            middle = 0.5 * (low + high)
        f = interpolate(middle, r)[-1] - face
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


@compiled
def leave(face, p, r):
    """Return the fraction at which the held θ is released; its derivative there points inwards, strictly."""
    inward = 1.0 if face == 0 else -1.0
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection: rare, and it keeps the end whose derivative is inwards
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        x = with_theta(interpolate(middle, r), face)
        if inward * field(x, p)[-1] > 0:
            high = middle
        else:
            low = middle
    return high


@inlined
def foresee(x, step, p, mode):
    """Return whether a step ends in another smooth system, the face where that begins, and θ's turning point.

    A turning point is a fraction of the step, −1 where there is none; at it θ may have been beyond a face although
    the step ends inside.
    """
    if mode == INTERIOR:
        theta = step.end[-1]
        return (CROSSES if theta < 0 or theta > 1 else STAYS), (0.0 if theta < 0 else 1.0), turning_point(x, step)
    speed = field(step.end, p)[-1]
    released = speed > 0 if mode == BELOW else speed < 0
    return (CROSSES if released else STAYS), (0.0 if mode == BELOW else 1.0), -1.0


@inlined
def locate(event, face, turn, x, p, mode, r):
    """Return what a step does, from what was foreseen: the event, its face, and the fraction at which it happens.

    A step grazes where it starts on the face, leaves it and returns, by less than the tolerance: θ stays there.
    """
    if event == CROSSES and mode != INTERIOR:
        return event, face, leave(face, p, r)
    if turn > 0 and x[-1] > 0 and x[-1] < 1:
        peak = interpolate(turn, r)[-1]
        if peak < 0 or peak > 1:  # touched a face and came back: cut at the first touch
            touched = 0.0 if peak < 0 else 1.0
            return CROSSES, touched, hit(touched, 0.0, turn, r)
        return event, face, (hit(face, turn, 1.0, r) if event == CROSSES else 1.0)
    if event == CROSSES:
        low = max(turn, 0.0) if x[-1] == face else 0.0
        above = interpolate(low, r)[-1] - face
        if x[-1] == face and (above <= 0 if face == 0 else above >= 0):
            return GRAZES, face, 0.0
        return event, face, hit(face, low, 1.0, r)
    return event, face, 1.0


# The fate.


@compiled
def judge(x, p, mode, options):
    """Return the fate of a gate in one of the smooth systems, or UNDECIDED."""
    if mode == BELOW:
        return judge_below(x, p, options)
    if mode == ABOVE:
        return judge_above(x, p, options)
    return UNDECIDED


@compiled
def judge_below(x, p, options):
    """Return the fate of a gate held at θ = 0, or UNDECIDED.

    There the norms only decay. Where D falls with every norm, θ' = −r(D + κ) falls with them and stays
    negative: absorbed. Elsewhere absorbed without decay, or when the norms are below ε.
    """
    if not field(x, p)[-1] <= 0:
        return UNDECIDED
    return ZERO if DECREASING or decay_of(p) == 0 or largest(x) < options.epsilon else UNDECIDED


@compiled
def judge_above(x, p, options):
    """Return the fate of a gate held at θ = 1, or UNDECIDED.

    Where comparison decides nothing the norms are followed until they pass the bound or settle.
    """
    k = field(x, p)
    if not k[-1] > 0:
        return UNDECIDED
    if DECREASING and COOPERATIVE:
        fate = judge_by_comparison(x, p, options.bound)
        if fate != UNDECIDED:
            return fate
    if largest(x) > options.bound and largest(k) > 0:
        return DIVERGED
    calm = options.rtol * max(decay_of(p), 1e-300)
    if all(abs(k[i]) <= calm * x[i] for i in NORMS):
        slack = min(0.5, 1e3 * options.rtol)  # rest at the saddle itself is no life: θ' must be clear of zero
        if field(scaled(x, 1 - slack), p)[-1] > 0 and field(scaled(x, 1 + slack), p)[-1] > 0:
            return ALIVE
    return UNDECIDED


@compiled
def judge_by_comparison(x, p, bound):
    """Return the fate of a gate held at θ = 1 where D falls with every norm and the norms are cooperative.

    A state `low` ≤ x whose norms do not fall bounds the trajectory from below for good (Kamke), and θ' > 0 at `low`
    then holds θ at 1 for good. The norms stay bounded if none grows at the corner of a cube that holds x; they grow
    without bound if their field is positive at `low` and either homogeneous (exponentially) or steepening without
    decay (linearly).
    """
    for trial in range(24):
        low = corner(x, least(x)) if trial == 1 else scaled(x, 0.5 ** max(0, trial - 1))
        at_low = field(low, p)
        if trial != 1 and not at_low[-1] > 0:
            break
        if at_low[-1] > 0 and least(at_low) >= 0:
            if largest(x) <= bound and largest(field(corner(x, bound), p)) <= 0:
                return ALIVE
            if (HOMOGENEOUS or (STEEPENING and decay_of(p) == 0)) and least(at_low) > 0:
                return DIVERGED
            break
    return UNDECIDED


# The whole.


@compiled
def trajectory(x, p, options, times, path):
    """Follow one state until its fate is certain and all requested times are passed.

    Returns fate, the time at which it became certain, steps tried, the state at that time. `path` gets the
    state at each of `times`; rows that are not reached keep what they hold.
    """
    t, steps, row, wanted = 0.0, 0, 0, times.shape[0]
    fate, when, final = UNDECIDED, 0.0, x
    if not (finite(x) and finite(field(x, p))):
        return FAILED, t, steps, x
    if wanted > 0 and times[0] <= 0:
        write(path, 0, x)
        row = 1
    mode, k1, h, event = INTERIOR, field(x, p), 0.0, CROSSES  # a smooth system begins here, as after a crossing
    while True:
        if event == CROSSES:
            mode = system_at(x, k1)
        if event != STAYS:
            k1 = slope(x, p, mode)
        if h == 0:
            h = first_step(x, k1, p, mode, options)
        if fate == UNDECIDED:
            fate, when, final = judge(x, p, mode, options), t, x
        end = options.horizon if fate == UNDECIDED else (times[wanted - 1] if row < wanted else t)
        if t >= end or steps >= options.max_steps:
            return fate, when, steps, final

        accepted, step, reaches, following, steps = accept_step(t, x, k1, h, end, steps, p, mode, options)
        if not accepted:
            return (FAILED if following == 0 and fate == UNDECIDED else fate), when, steps, final
        y, reached = step.end, end if reaches else t + step.h
        event, face, turn = foresee(x, step, p, mode)
        if event == CROSSES or turn > 0 or (row < wanted and times[row] <= reached):
            r = coefficients(x, step)
            event, face, s = locate(event, face, turn, x, p, mode, r)
            if event == GRAZES:
                mode, h = (BELOW if face == 0 else ABOVE), step.h
                continue
            if event == CROSSES:
                reached = t + s * step.h
            row = write_times(row, reached, t, step.h, r, times, path)
            if event == CROSSES:
                y = with_theta(clamped(interpolate(s, r)), face)
        if event == CROSSES:
            k1 = field(y, p)
        elif least(y) < 0:
            y, event = clamped(y), CLAMPS
        else:
            k1 = step.k7
        t, x, h = reached, y, following


@compiled
def trajectories(first, last, state, parameters, options, times, results):
    """Follow states `first` … `last` − 1. A parameter with one value holds for all of them."""
    for i in range(first, last):
        start = tuple(state[j, i] for j in COMPONENTS)
        p = tuple(parameters[j][i if parameters[j].shape[0] > 1 else 0] for j in PARAMETERS)
        path = results.path[i if results.path.shape[1] else 0]
        results.fates[i], results.when[i], results.steps[i], final = trajectory(start, p, options, times, path)
        for j in range(len(final)):
            results.final[j, i] = final[j]
