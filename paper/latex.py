"""Numbers and tables as the article prints them; texts are translated by `figures.caption`."""

from __future__ import annotations

from collections.abc import Sequence

from figures.caption import as_latex
from training.runtime.text_tables import latex_table

__all__ = ["as_latex", "count", "decimal", "interval", "percent", "table", "typeset"]


def count(value: float) -> str:
    """Return an integer with thin spaces between groups of three digits.

    Raises:
        ValueError: if the value is no integer.

    Example:
        >>> print(count(60567), count(312))
        60\\,567 312
    """
    if value != int(value):
        raise ValueError(f"value must be an integer; got {value}")
    return typeset(f"{int(value):,}".replace(",", r"\,"))


def decimal(value: float, digits: int = 2) -> str:
    """Return a number with that many digits after the point, the sign typeset.

    Example:
        >>> print(decimal(-1.234), decimal(50, 0))
        $-$1.23 50
    """
    return typeset(f"{value:.{digits}f}")


def typeset(number: str) -> str:
    """Return a number, or a mean ± a deviation, with its signs as LaTeX prints them.

    Example:
        >>> print(typeset("-1.2 ± 0.3"))
        $-$1.2 $\\pm$ 0.3
    """
    return number.replace("-", "$-$").replace("±", r"$\pm$")


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent, without the sign.

    Example:
        >>> percent(0.98631)
        '98.6'
    """
    return decimal(100 * share, digits)


def interval(limits: Sequence[float] | None, show: object = percent) -> str:
    """Return [low, high], or a dash where there is none.

    Example:
        >>> print(interval((0.951, 0.998)), interval(None))
        [95.1, 99.8] --
    """
    return "--" if limits is None else f"[{show(limits[0])}, {show(limits[1])}]"  # type: ignore[operator]


def table(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a booktabs table; cells are LaTeX already.

    Raises:
        ValueError: without rows, or if a row has not as many cells as the head.
    """
    if not rows:
        raise ValueError("a table needs at least one row")
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row has {len(row)} cells under {len(head)} headings: {row}")
    return "\n".join(latex_table(f"@{{}}{columns}@{{}}", head, rows)) + "\n"
