"""The table as Markdown."""

from __future__ import annotations

from typing import Any

from training.experiments.compare.columns import grid, notes, title
from training.runtime.text_tables import markdown_table

__all__ = ["as_markdown", "body"]


def as_markdown(result: dict[str, Any]) -> str:
    """Return a result of `training.experiments.compare.table` with all that is needed to judge it."""
    return f"# {title(result)}\n\n{body(result)}\n"


def body(result: dict[str, Any]) -> str:
    """Return the same without its heading."""
    headings, *rows = grid(result)
    table = markdown_table(headings, rows, below=["---"] * len(headings))
    return "\n".join([*table, "", " ".join(notes(result))])
