"""Proofs of strict inequalities on boxes: branch and bound with ball arithmetic (python-flint).

`prove_positive` asks whether f(x) > 0 for every x in a box. A ball evaluation of f over a part of the box
encloses all its values there, rounding included; so a part whose enclosure is positive is proved, a point whose
enclosure is not positive refutes the claim, and everything else is cut in two until the budget ends. Nothing is
concluded from floating-point numbers: they only name the corners of the parts, and a float is an exact rational.

A strict inequality that is an equality somewhere in the box can never be proved this way: divide the zero out
symbolically first, or leave a neighbourhood out and say so in the scope.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import sympy as sp

from dynamics.numeric import Operands
from dynamics.proofs.claim import Outcome, Status, proved, refuted, undecided

__all__ = [
    "Axis",
    "Ball",
    "all_positive",
    "balls",
    "centred",
    "compiled_differs",
    "compiled_on_balls",
    "joined",
    "prove_positive",
    "require_flint",
]

#: `flint.arb`: a real number known to lie within a radius of a midpoint.
Ball: TypeAlias = Any
Function: TypeAlias = Callable[[Mapping[str, Ball]], Ball]

PRECISION = 96  # bits: rounding is then far below the width of any part


def require_flint() -> ModuleType:
    """Return the module `flint`.

    Raises:
        ModuleNotFoundError: if python-flint is missing; the message names the extra that brings it.
    """
    try:
        import flint
    except ImportError:
        raise ModuleNotFoundError(
            "ball arithmetic needs python-flint: pip install -e '.[proof]' in the clone"
        ) from None
    return flint


@dataclass(frozen=True)
class Axis:
    """The closed interval [low, high] of one variable, halved at the geometric mean if `log`.

    Raises:
        ValueError: if the interval is empty or not finite, or not positive with `log`.
    """

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"an axis must be a finite interval; got [{self.low}, {self.high}]")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic axis must be positive; got [{self.low}, {self.high}]")

    @property
    def middle(self) -> float:
        """Return where the interval is cut."""
        if self.log:
            return min(max(math.sqrt(self.low) * math.sqrt(self.high), self.low), self.high)
        return self.low + (self.high - self.low) / 2

    @property
    def width(self) -> float:
        """Return length, in natural logarithms if `log`."""
        return math.log(self.high) - math.log(self.low) if self.log else self.high - self.low

    def halves(self) -> tuple[Axis, Axis]:
        """Return two intervals that share the cut, so that together they cover this one without a gap."""
        return Axis(self.low, self.middle, self.log), Axis(self.middle, self.high, self.log)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


Box: TypeAlias = Mapping[str, Axis]


def prove_positive(function: Function, box: Box, *, budget: int = 20_000, note: str = "") -> Outcome:
    """Decide whether `function` > 0 on the whole of `box`.

    Args:
        function: takes name → ball and returns a ball that encloses every value at points of those balls.
        box: name → interval.
        budget: how many parts may be looked at.
        note: added to the scope, for whatever the box alone does not say.

    Returns:
        proved (`cases` = parts of the final cover, `margin` = a lower bound of the function), refuted (`witness` =
        the point, exact floats; `margin` = an upper bound of the function there), or undecided.

    Raises:
        ValueError: for a box without axes or a budget below 1: nothing would be checked.
        ModuleNotFoundError: without python-flint.
    """
    if not box:
        raise ValueError("the box has no axes: nothing to check")
    if budget < 1:
        raise ValueError(f"budget must be ≥ 1; got {budget}")
    flint = require_flint()
    scope = _describe(box, note)
    ticket = itertools.count()  # breaks ties, so that boxes are never compared
    queue: list[tuple[float, int, Box]] = [(0.0, next(ticket), box)]
    covered, looked, smallest = 0, 0, math.inf
    with flint.ctx.workprec(PRECISION):
        while queue:
            if looked == budget:
                return undecided(f"{scope}; {len(queue)} parts left open after {looked}", cases=looked)
            looked += 1
            _, _, part = heapq.heappop(queue)
            enclosure = function({name: _hull(flint, axis) for name, axis in part.items()})
            if enclosure > 0:
                covered += 1
                smallest = min(smallest, _below(enclosure))
                continue
            point = {name: axis.middle for name, axis in part.items()}
            value = function({name: flint.arb(x) for name, x in point.items()})
            if value <= 0:
                return refuted(scope, point, margin=float(value.upper()))
            name = _axis_to_cut(function, flint, part)
            if name is None:
                return undecided(f"{scope}; not decided at {point} at the resolution of floats", cases=looked)
            # The part with the smallest value first: a counter-example, if there is one, is found early.
            urgency = float(value) if value.is_finite() else -math.inf
            for half in part[name].halves():
                heapq.heappush(queue, (urgency, next(ticket), {**part, name: half}))
    return proved(scope, cases=covered, margin=smallest)


def all_positive(expressions: Mapping[str, sp.Expr], box: Box, *, budget: int = 20_000, note: str = "") -> Outcome:
    """Check: `prove_positive` for each of several expressions over the same box, one after the other.

    Returns:
        the first outcome that is not proved, or proved with the parts of all and the smallest margin.

    Raises:
        ValueError: without expressions, or as `prove_positive`.
    """
    if not expressions:
        raise ValueError("no expressions: nothing to check")
    outcomes = []
    for name, expression in expressions.items():
        outcome = prove_positive(centred(expression), box, budget=budget, note=f"{name}; {note}" if note else name)
        if outcome.status is not Status.PROVED:
            return outcome
        outcomes.append(replace(outcome, scope=_describe(box, note)))
    return joined(*outcomes)


def joined(*outcomes: Outcome) -> Outcome:
    """Check: several proofs as one: the first that is no proof, or all scopes, the parts of all, the smallest margin.

    Raises:
        ValueError: without outcomes.
    """
    if not outcomes:
        raise ValueError("no outcomes to join: nothing was checked")
    for outcome in outcomes:
        if outcome.status is not Status.PROVED:
            return outcome
    scopes = " | ".join(dict.fromkeys(outcome.scope for outcome in outcomes))
    cases = sum(outcome.cases or 0 for outcome in outcomes)
    return proved(scopes, cases=cases, margin=min(o.margin for o in outcomes if o.margin is not None))


def _describe(box: Box, note: str) -> str:
    return ", ".join(f"{name} in {axis}" for name, axis in box.items()) + (f"; {note}" if note else "")


def _axis_to_cut(function: Function, flint: ModuleType, part: Box) -> str | None:
    """Return the axis that widens the enclosure most: the one whose collapse to its middle narrows it most.

    Only efficiency depends on the choice. None where no axis has a float strictly inside.
    """
    open_axes = [name for name, axis in part.items() if axis.low < axis.middle < axis.high]
    hulls = {name: _hull(flint, axis) for name, axis in part.items()}

    def radius_without(name: str) -> tuple[float, float]:
        narrowed = function({**hulls, name: flint.arb(part[name].middle)})
        finite = float(narrowed.rad()) if narrowed.is_finite() else math.inf
        return finite, -part[name].width

    return min(open_axes, key=radius_without, default=None)


def _hull(flint: ModuleType, axis: Axis) -> Ball:
    """Return a ball that contains the interval."""
    return flint.arb(axis.low).union(flint.arb(axis.high))


def _below(ball: Ball) -> float:
    """Return a float that is no larger than any number in the ball."""
    return math.nextafter(float(ball.lower()), -math.inf)


def balls(expression: sp.Expr) -> Function:
    """Return a SymPy expression as a function of balls, looked up by symbol name.

    A second evaluator, independent of `compile_expressions`: sums, products, integer and half-integer powers,
    exp and log, rational constants kept exact.

    Raises:
        TypeError: for any other kind of expression.

    Example:
        >>> x = sp.Symbol("x")
        >>> import flint
        >>> bool(balls(x**2 + sp.Rational(1, 3))({"x": flint.arb(2)}).contains(flint.fmpq(13, 3)))
        True
    """
    flint = require_flint()
    shared, (result,) = sp.cse([sp.sympify(expression)])
    steps = [(symbol.name, _ball_node(flint, part)) for symbol, part in shared]
    final = _ball_node(flint, result)

    def function(values: Mapping[str, Ball]) -> Ball:
        known = dict(values)
        for name, step in steps:
            known[name] = step(known)
        return final(known)

    return function


def compiled_on_balls(compiled: Callable[[Operands], tuple[Any, ...]], values: Mapping[str, Ball]) -> tuple[Ball, ...]:
    """Return what a function from `compile_expressions` gives for balls: the very code that NumPy arrays run through.

    Object arrays hand every operation on to the balls, so that the result encloses all values, rounding included.

    Example:
        >>> from dynamics.numeric import compile_expressions
        >>> x = sp.Symbol("x")
        >>> import flint
        >>> (root,) = compiled_on_balls(compile_expressions([x], [sp.sqrt(x) + 1]), {"x": flint.arb(4)})
        >>> root == 3
        True
    """
    given = Operands(np, {name: np.array(ball, dtype=object) for name, ball in values.items()})
    return tuple(part.item() for part in compiled(given))


def compiled_differs(
    compiled: Callable[[Operands], tuple[Any, ...]], expression: sp.Expr, cases: int = 200
) -> Outcome | None:
    """Return a refutation where a compiled expression differs from it, None where it does not at any of the points.

    At random points from 1e-3 to 1e3, by two evaluators that share nothing: `compiled_on_balls` and `balls`.
    """
    flint, rng, direct = require_flint(), np.random.default_rng(3), balls(expression)
    names = sorted(symbol.name for symbol in expression.free_symbols)
    for _ in range(cases):
        point = {name: float(value) for name, value in zip(names, 10 ** rng.uniform(-3, 3, len(names)), strict=True)}
        values = {name: flint.arb(value) for name, value in point.items()}
        (found,), wanted = compiled_on_balls(compiled, values), direct(values)
        if not found.overlaps(wanted) or found.rad() > 1e-9 * (1 + abs(found)):
            return refuted(f"the compiled {expression}", {**point, "found": str(found), "wanted": str(wanted)})
    return None


def centred(expression: sp.Expr) -> Function:
    """Return `balls` sharpened by the mean-value form f(m) + Σ ∂f/∂xᵢ(box)·(xᵢ − mᵢ), m the middle of the box.

    Its excess width falls with the square of the box's, which pays where the terms of f nearly cancel. The segment
    from m to a point of the box stays in the box, so the enclosure is as rigorous as the plain one.
    """
    symbols = sorted(expression.free_symbols, key=str)
    plain = balls(expression)
    slopes = {symbol.name: balls(sp.diff(expression, symbol)) for symbol in symbols}

    def function(values: Mapping[str, Ball]) -> Ball:
        enclosure = plain(values)
        if enclosure > 0 or enclosure <= 0:
            return enclosure
        middle = plain({name: ball.mid() for name, ball in values.items()})
        for name, slope in slopes.items():
            middle += slope(values) * (values[name] - values[name].mid())
        return middle if middle.rad() < enclosure.rad() else enclosure

    return function


def _ball_node(flint: ModuleType, node: sp.Expr) -> Function:
    """Return one node of an expression tree as a closure over its children."""
    if node.is_Symbol:
        name = node.name
        return lambda known: known[name]
    if node.is_Rational:
        numerator, denominator = int(node.p), int(node.q)
        return lambda known: flint.arb(flint.fmpq(numerator, denominator))  # rounded at the current precision
    parts = [_ball_node(flint, child) for child in node.args]
    if node.is_Add:
        return lambda known: sum((part(known) for part in parts[1:]), parts[0](known))
    if node.is_Mul:
        return lambda known: math.prod((part(known) for part in parts[1:]), start=parts[0](known))
    if node.is_Pow and (2 * node.exp).is_Integer:
        power, base, half = int(2 * node.exp), parts[0], node.exp.is_Integer
        return lambda known: base(known) ** (power // 2) if half else base(known).sqrt() ** power
    if isinstance(node, sp.exp | sp.log):
        inner, method = parts[0], "exp" if isinstance(node, sp.exp) else "log"
        return lambda known: getattr(inner(known), method)()
    raise TypeError(f"no ball arithmetic for {type(node).__name__} in {node}")
