"""The table as LaTeX: a tabular for \\input, in ASCII but for comments; it needs the package booktabs."""

from __future__ import annotations

from typing import Any

from training.experiments.compare.columns import grid, notes, title

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
    cells = grid(result)
    rows = [" & ".join(map(escaped, row)) + r" \\" for row in cells]
    lines = [f"% {line}" for line in (r"\usepackage{booktabs}", title(result), *notes(result))]
    lines += [rf"\begin{{tabular}}{{ll{'r' * 7}{'l' * (len(cells[0]) - 9)}}}", r"\toprule", rows[0], r"\midrule"]
    return "\n".join([*lines, *rows[1:], r"\bottomrule", r"\end{tabular}", ""])
