r"""Contents of the LaTeX sections: claims, results, figures, citations, and numbers typed by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["arguments", "placed_figures", "sections", "theorems", "typed_numbers", "without_comments"]

#: Environments that state something, so that they must say what covers them.
_STATEMENTS = ("theorem", "proposition")

#: What may hold digits in the sections about experiments: names of networks, data sets and criteria, and formulas that
#: define a face or a special case, such as θ = 0. Nothing that was measured.
_NAMES = re.compile(r"ResNet-\d+|CIFAR-\d+|VGG-?16|L1\b|\\frac12|\$\\frac12\$|(?:\\theta\^\*|\\[a-z]+)[=>][01](?=\$)")
_COMMANDS = re.compile(
    r"\\(?:result|whenmeasured|ref|label|cite|eqref|claim|outcome|resulttable|suitefigure|seefigure|observed|notmeasured|"
    r"path|texttt|input)\{[^{}]*\}"
)


def without_comments(text: str) -> str:
    """Return the text without LaTeX comments."""
    return re.sub(r"(?<!\\)%.*", "", text)


def sections(paper: Path) -> dict[str, str]:
    """File name → text, comments left out, of the article and its sections."""
    files = [paper / "paper.tex", *sorted((paper / "sections").glob("*.tex"))]
    return {path.name: without_comments(path.read_text(encoding="utf-8")) for path in files}


def arguments(text: str, *commands: str) -> list[str]:
    r"""Return the first arguments of the given commands, split at commas, in order.

    Example:
        >>> arguments(r"\claim{a} and \checkedby{b,c}", "claim", "checkedby")
        ['a', 'b', 'c']
    """
    found = re.findall(rf"\\(?:{'|'.join(commands)})\{{([^{{}}]*)\}}", text)
    return [part.strip() for names in found for part in names.split(",")]


def theorems(text: str) -> Iterator[tuple[str, list[str], bool]]:
    """Return (label or first words, names of its claims, whether it says that it is proved in the text only)."""
    for kind in _STATEMENTS:
        for body in re.findall(rf"\\begin\{{{kind}\}}(.*?)\\end\{{{kind}\}}", text, re.DOTALL):
            label = arguments(body, "label")
            yield label[0] if label else body[:60], arguments(body, "checkedby"), r"\provedhere" in body


def placed_figures(paper: Path) -> set[str]:
    """Names of the figures that a section places."""
    return {name for text in sections(paper).values() for name in arguments(text, "suitefigure")}


def typed_numbers(text: str) -> list[str]:
    """Numbers that stand in a text itself, not in a result's name, a reference or the name of a network.

    Example:
        >>> typed_numbers(r"\\result{a.5} of the 146 units of ResNet-20 (Table~\\ref{tab:3})")
        ['146']
    """
    rest = _NAMES.sub("", _COMMANDS.sub("", without_comments(text)))
    return re.findall(r"\d+(?:[.,]\d+)*", rest)
