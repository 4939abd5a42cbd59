"""The table as LaTeX: a tabular for \\input, in ASCII but for comments; it needs the package booktabs."""

from __future__ import annotations

from typing import Any

from training.experiments.compare.columns import grid, notes, title
from training.runtime.text_tables import latex_table

__all__ = ["as_latex", "escaped"]

_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\to$",
    "–": "--",
    "—": "---",
    "θ": r"$\theta$",
    "≤": r"$\le$",
}


def escaped(text: str) -> str:
    """Return a text as LaTeX prints it.

    Raises:
        ValueError: for a character that has no translation here, which LaTeX might not print.

    Example:
        >>> escaped("l1_norm: 95% ± 2")
        'l1\\\\_norm: 95\\\\% $\\\\pm$ 2'
    """
    for character in text:
        if character not in _CHARACTERS and not (character.isascii() and character.isprintable()):
            raise ValueError(f"no LaTeX for {character!r}: add it to training/experiments/compare/latex.py")
    return "".join(_CHARACTERS.get(character, character) for character in text)


def as_latex(result: dict[str, Any]) -> str:
    """Return a result of `training.experiments.compare.table` as LaTeX; how to read it is in comments above."""
    head, *rows = ([escaped(cell) for cell in row] for row in grid(result))
    lines = [f"% {line}" for line in (r"\usepackage{booktabs}", title(result), *notes(result))]
    return "\n".join([*lines, *latex_table("ll" + "r" * 7 + "l" * (len(head) - 9), head, rows), ""])
