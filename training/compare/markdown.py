"""The table as Markdown."""

from __future__ import annotations

from typing import Any

from training.compare.columns import grid, notes, title

__all__ = ["as_markdown"]


def as_markdown(result: dict[str, Any]) -> str:
    """A result of `training.compare.table.table` with all that is needed to judge it."""
    headings, *rows = grid(result)
    rows = [headings, ["---"] * len(headings), *rows]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    about = " ".join(notes(result))
    return "\n".join([f"# {title(result)}", "", *lines, "", about, ""])
