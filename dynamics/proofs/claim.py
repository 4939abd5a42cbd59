"""A claim: a statement, the method that checks it, and the outcome of the check.

Four outcomes, never mixed: *proved* (symbolically for all parameters, or rigorously on stated boxes), *held* on n
cases, *refuted* with a witness, *undecided*. A check that looked at nothing is an error, not a success.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Claim", "Outcome", "Status", "claim", "held", "proved", "refuted", "undecided"]


class Status(StrEnum):
    """How a claim came out."""

    PROVED = "proved"
    HELD = "held"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Outcome:
    """The result of one check.

    Attributes:
        status: how it came out.
        scope: what it covers: "all parameters", the parameter boxes, or what was sampled.
        cases: how many cases were looked at, where the method looks at cases.
        margin: the smallest distance to failure seen or proved, in the claim's own units.
        witness: for a refuted claim, the case that refutes it.
    """

    status: Status
    scope: str
    cases: int | None = None
    margin: float | None = None
    witness: Mapping[str, Any] = field(default_factory=dict)


def proved(scope: str = "all parameters", *, cases: int | None = None, margin: float | None = None) -> Outcome:
    """Check: a proof: symbolic (scope "all parameters") or on boxes (then `cases` counts them)."""
    _require_cases(cases)
    return Outcome(Status.PROVED, scope, cases, margin)


def held(scope: str, *, cases: int, margin: float | None = None) -> Outcome:
    """Check: held on every one of `cases` cases; `scope` says how they were drawn."""
    _require_cases(cases)
    return Outcome(Status.HELD, scope, cases, margin)


def refuted(scope: str, witness: Mapping[str, Any], *, margin: float | None = None) -> Outcome:
    """Check: refuted by `witness`."""
    if not witness:
        raise ValueError("a refutation needs a witness")
    return Outcome(Status.REFUTED, scope, None, margin, dict(witness))


def undecided(scope: str, *, cases: int | None = None) -> Outcome:
    """Check: neither proved nor refuted within the check's budget."""
    return Outcome(Status.UNDECIDED, scope, cases)


def _require_cases(cases: int | None) -> None:
    if cases is not None and cases < 1:
        raise ValueError("nothing was checked: a check over zero cases is no success")


@dataclass(frozen=True)
class Claim:
    """A statement with its check.

    Attributes:
        name: a slug, unique; the paper and the docstrings refer to it.
        statement: one sentence of mathematics.
        method: how it is checked ("symbolic", "simulation", "branch and bound", "Monte Carlo", …).
        check: runs the check.
    """

    name: str
    statement: str
    method: str
    check: Callable[[], Outcome]


def claim(name: str, statement: str, method: str) -> Callable[[Callable[[], Outcome]], Claim]:
    """Return decorator: turn a check into a `Claim`.

    Example:
        >>> @claim("square", "x² ≥ 0 on the integers from −9 to 9", "enumeration")
        ... def square() -> Outcome:
        ...     return held("integers", cases=19, margin=min(x * x for x in range(-9, 10)))
        >>> square.check().status.value
        'held'
    """
    return lambda check: Claim(name, statement, method, check)
