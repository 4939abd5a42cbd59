"""Symbolic proofs from two kinds of steps: an identity, and a manifest sign.

An inequality is proved by writing its two sides' difference as an expression whose sign can be read off (sums
and products of things of known sign), and by verifying that identity. A step that does not come out is looked at
in exact rationals: a value that breaks it is a witness; without one the claim is undecided, never proved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from dynamics.proofs.claim import Outcome, proved, refuted, undecided

__all__ = ["Step", "equal", "negative", "nonnegative", "nonpositive", "positive", "prove"]

# Values to try where an identity fails: pairwise different, no special ones, all in (0, 1).
_TRIALS = [sp.Rational(p, 97) for p in (11, 37, 53, 71, 5, 83, 29, 61, 43, 19)]


@dataclass(frozen=True)
class Step:
    """left = right identically; and, unless `sign` is empty, right has that sign by its symbols' assumptions."""

    name: str
    left: sp.Expr
    right: sp.Expr
    sign: str = ""


_NONZERO = sp.Float("1e-12")  # SymPy tracks the accuracy of 30 digits: a larger value is not zero

_SIGNS: dict[str, Callable[[sp.Expr], bool | None]] = {
    "> 0": lambda e: e.is_positive,
    "≥ 0": lambda e: e.is_nonnegative,
    "< 0": lambda e: e.is_negative,
    "≤ 0": lambda e: e.is_nonpositive,
}
_HOLDS: dict[str, Callable[[sp.Expr], bool]] = {
    "> 0": lambda v: bool(v > 0),
    "≥ 0": lambda v: bool(v >= 0),
    "< 0": lambda v: bool(v < 0),
    "≤ 0": lambda v: bool(v <= 0),
}


def equal(name: str, left: Any, right: Any) -> Step:
    """Return the steps of the proof: left = right."""
    return Step(name, sp.sympify(left), sp.sympify(right))


def positive(name: str, left: Any, form: Any) -> Step:
    """Return the steps of the proof: left = form > 0."""
    return Step(name, sp.sympify(left), sp.sympify(form), "> 0")


def nonnegative(name: str, left: Any, form: Any) -> Step:
    """Return the steps of the proof: left = form ≥ 0."""
    return Step(name, sp.sympify(left), sp.sympify(form), "≥ 0")


def negative(name: str, left: Any, form: Any) -> Step:
    """Return the steps of the proof: left = form < 0."""
    return Step(name, sp.sympify(left), sp.sympify(form), "< 0")


def nonpositive(name: str, left: Any, form: Any) -> Step:
    """Return the steps of the proof: left = form ≤ 0."""
    return Step(name, sp.sympify(left), sp.sympify(form), "≤ 0")


def prove(*steps: Step, scope: str = "all λ, η, κ, r > 0") -> Outcome:
    """Check: proved if every step is; otherwise refuted with a rational witness, or undecided.

    Raises:
        ValueError: without steps: nothing would be checked.
    """
    if not steps:
        raise ValueError("a proof needs at least one step")
    open_steps = []
    for step in steps:
        witness = _witness(step)  # first, since it is quick where the step is wrong
        if witness:
            return refuted(step.name, witness)
        if step.left != step.right and not _vanishes(step.left - step.right):
            open_steps.append(step.name)
        elif step.sign and _SIGNS[step.sign](step.right) is not True:
            open_steps.append(f"{step.name}: sign of {step.right}")
    if open_steps:
        return undecided("; ".join(open_steps))
    return proved(scope)


def _vanishes(expression: sp.Expr) -> bool:
    """Return whether SymPy reduces it to zero. `cancel` decides this for rational functions; logs may need more."""
    if expression == 0 or sp.cancel(sp.together(expression)) == 0:
        return True
    return bool(sp.simplify(sp.expand_log(expression)) == 0)


def _witness(step: Step) -> dict[str, Any]:
    """Return exact rational values that break the claimed identity or sign; empty if none of those tried does.

    What a step claims of `left` is its sign where it names one (the form is only the way there), and otherwise
    that it equals `right`.
    """
    symbols = sorted(step.left.free_symbols | step.right.free_symbols, key=str)
    for shift in range(len(_TRIALS)):
        values = {s: _TRIALS[(i + shift) % len(_TRIALS)] for i, s in enumerate(symbols)}
        left, right = step.left.subs(values), step.right.subs(values)
        if step.sign:
            broken = _HOLDS[step.sign](left) is False
        else:
            broken = left != right and bool(abs(sp.N(left - right, 30)) > _NONZERO)
        if broken:
            named: dict[str, Any] = {s.name: str(v) for s, v in values.items()}
            return {**named, "left": str(left), "right": step.sign or str(right)}
        if not symbols:
            break
    return {}
