"""Tables and numbers as text, written in one way by reports, result files and the article."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["DASH", "latex_table", "markdown_table", "percent", "plus_minus", "whole", "with_interval"]

DASH = "–"  # stands for a number that there is not


def markdown_table(head: Sequence[Any], rows: Sequence[Sequence[Any]], below: Sequence[str] | None = None) -> list[str]:
    """Return a Markdown table, line by line.

    Args:
        head: headings.
        rows: cells of each row, as many as headings.
        below: cells of the line below the headings, such as `---:`; `|---|---|` by default.

    Example:
        >>> markdown_table(["rule", "wrong"], [["box", 0]])
        ['| rule | wrong |', '|---|---|', '| box | 0 |']
    """
    line = "|" + "---|" * len(head) if below is None else _markdown_row(below)
    return [_markdown_row(head), line, *map(_markdown_row, rows)]


def _markdown_row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"


def latex_table(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a LaTeX tabular with the rules of the package booktabs, line by line.

    Args:
        columns: the column specification.
        head: headings, LaTeX already.
        rows: cells of each row, LaTeX already.
    """
    cells = [" & ".join(row) + r" \\" for row in (head, *rows)]
    return [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", cells[0], r"\midrule", *cells[1:], r"\bottomrule",
            r"\end{tabular}"]  # fmt: skip


def percent(value: float | None, digits: int = 1, of: float = 1) -> str:
    """Return a value as a percentage of another, a dash for none.

    Example:
        >>> percent(0.98631), percent(3, of=8, digits=0), percent(None)
        ('98.6%', '38%', '–')
    """
    return DASH if value is None else f"{100 * value / of:.{digits}f}%"


def whole(value: float | None) -> str:
    """Return a number rounded to a whole one, a dash for none."""
    return DASH if value is None else f"{value:.0f}"


def with_interval(
    value: str, interval: Sequence[float] | None, show: Callable[[float], str], brackets: str = "[]"
) -> str:
    """Return a value with its interval, each limit written by `show`; the value alone where there is none.

    Example:
        >>> with_interval("50.0%", (0.4, 0.6), percent)
        '50.0% [40.0%, 60.0%]'
    """
    if interval is None or value == DASH:
        return value
    return f"{value} {brackets[0]}{show(interval[0])}, {show(interval[1])}{brackets[1]}"


def plus_minus(mean: float, deviation: float | None, digits: int, factor: float = 1, separator: str = "") -> str:
    """Return a mean ± its standard deviation, the mean alone where there is none.

    Args:
        mean: of the values.
        deviation: of the values, None for a single one.
        digits: written behind the point.
        factor: both are multiplied by it.
        separator: between groups of three digits, "" or ",".

    Example:
        >>> plus_minus(0.5, 0.01, 1, factor=100)
        '50.0 ± 1.0'
    """
    shown = f"{separator}.{digits}f"
    text = f"{factor * mean:{shown}}"
    return text if deviation is None else f"{text} ± {factor * deviation:{shown}}"
