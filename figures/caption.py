"""Captions as LaTeX: written once in plain text with the symbols of the mathematics, turned into what LaTeX reads."""

from __future__ import annotations

import re

__all__ = ["as_latex"]

_SYMBOLS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "η": r"\eta", "θ": r"\theta", "κ": r"\kappa",
    "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "φ": r"\varphi",
    "−": "-", "×": r"\times", "≥": r"\ge", "≤": r"\le", "<": "<", ">": ">", "≈": r"\approx", "±": r"\pm", "·": r"\cdot",
    "∞": r"\infty", "½": r"\tfrac12", "√": r"\surd", "²": "^2", "³": "^3", "₀": "_0", "₊": "_+", "→": r"\to",
    "|": r"\vert",
}  # fmt: skip
_TEXT = {
    "%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "–": "--", "’": "'",
}  # fmt: skip

_GREEK = "αβγδηθκλμνξπρσφ"
_VARIABLE = re.compile(rf"([{_GREEK}]|(?<![A-Za-z])[A-Za-z](?=[_*]))(?:_([A-Za-z0-9]+))?(\*)?")


def as_latex(text: str) -> str:
    """A caption's text for LaTeX in ASCII; `ρ*` and `ρ_in` become a superscript and a subscript.

    Raises:
        ValueError: for a character that has no translation here, which LaTeX might not print.

    Example:
        >>> print(as_latex("ρ_in < κ/η in 95% of 3×4 cells"))
        $\\rho_{\\mathrm{in}}$ $<$ $\\kappa$/$\\eta$ in 95\\% of 3$\\times$4 cells
    """
    parts, end = [], 0
    for found in _VARIABLE.finditer(text):
        parts += [_plain(text[end : found.start()]), _variable(*found.groups())]
        end = found.end()
    joined = "".join([*parts, _plain(text[end:])])
    return re.sub(r"(?<!\\)\$\$", "", joined)  # neighbours in one formula


def _variable(base: str, subscript: str | None, star: str | None) -> str:
    below = rf"_{{\mathrm{{{subscript}}}}}" if subscript else ""
    return f"${_SYMBOLS.get(base, base)}{below}{'^*' if star else ''}$"


def _plain(text: str) -> str:
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character in _SYMBOLS:
        return f"${_SYMBOLS[character]}$"
    if character in _TEXT:
        return _TEXT[character]
    if ord(character) < 128:
        return character
    raise ValueError(f"caption holds {character!r}, which has no LaTeX here: add it to figures/caption.py")
