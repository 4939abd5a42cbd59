"""The outcomes of `python -m dynamics verify` as the article states them: proved, or held on n cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paper.latex import as_latex, count, table

__all__ = ["claims_table", "said"]

_BOXES = "branch and bound"


def said(record: Mapping[str, Any]) -> str:
    """Return one record of claims.json in a few words, as LaTeX.

    Example:
        >>> print(said({"method": "simulation", "outcome": {"status": "held", "cases": 60000}}))
        held on 60\\,000 cases, simulation
    """
    outcome, method = record["outcome"], record["method"]
    if outcome is None:
        return r"\textbf{the check failed}"
    status, cases = outcome["status"], outcome["cases"]
    if status == "proved":
        boxes = f"proved by ball arithmetic on {count(cases or 0)} boxes"
        return boxes if method == _BOXES else "proved symbolically"
    if status == "held":
        return f"held on {count(cases)} cases, {as_latex(method)}"
    return rf"\textbf{{{status}}}"


def claims_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return all claims with statement and outcome, a longtable with a target for the links of the text."""
    rows = [
        [
            rf"\hypertarget{{claim:{r['name']}}}{{\texttt{{\claimname{{{r['name']}}}}}}}",
            as_latex(r["statement"]),
            said(r),
        ]
        for r in records
    ]
    body = table("", ["claim", "statement", "outcome"], rows).splitlines()
    left = r">{\raggedright\arraybackslash}"
    columns = "@{}" + "".join(rf"{left}p{{{width}\linewidth}}" for width in (0.24, 0.50, 0.20)) + "@{}"
    head = [rf"\begin{{longtable}}{{{columns}}}", *body[1:4], r"\endhead"]
    return "\n".join([*head, *body[4:-1], r"\end{longtable}"]) + "\n"
