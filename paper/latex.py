"""Plain text with the symbols of the mathematics, as LaTeX in ASCII; and numbers as the article prints them."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["as_latex", "count", "decimal", "interval", "percent", "table"]

_SYMBOLS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "η": r"\eta", "θ": r"\theta", "κ": r"\kappa",
    "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau",
    "φ": r"\varphi", "Θ": r"\Theta", "Σ": r"\Sigma", "ℓ": r"\ell", "∂": r"\partial", "∫": r"\int", "√": r"\surd",
    "∞": r"\infty",
    "−": "-", "+": "+", "=": "=", "<": "<", ">": ">", "±": r"\pm", "∓": r"\mp", "×": r"\times", "·": r"\cdot",
    "≠": r"\neq", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx", "→": r"\to", "∈": r"\in", "⊆": r"\subseteq",
    "‖": r"\Vert", "|": r"\vert", "⟨": r"\langle", "⟩": r"\rangle", "′": "'", "″": "''", "‴": "'''", "'": "'",
    "⁰": "^0", "¹": "^1", "²": "^2", "³": "^3", "⁴": "^4", "⁻": "^-", "₀": "_0", "₁": "_1", "₊": "_+", "₋": "_-",
    "½": r"\tfrac12", "¼": r"\tfrac14",
}  # fmt: skip
_TEXT = {
    "%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "–": "--", "—": "---",
    "…": r"\dots{}", "’": "'", "“": "``", "”": "''",
}  # fmt: skip

#: A symbol with a subscript or a star, or a power: ρ_in, θ*, S*, 2^G, e^(−λt).
_SCRIPT = re.compile(r"(?P<base>[α-ωΘℓξA-Za-z])(?:_(?P<below>[A-Za-z0-9]+))?(?P<star>\*)|"
                     r"(?P<base2>[α-ωΘℓξA-Za-z])_(?P<below2>[A-Za-z0-9]+)|"
                     r"\^(?:\((?P<power>[^()]*)\)|(?P<short>[A-Za-z0-9]))")  # fmt: skip
_NEGATIVE_OR_PRIME = re.compile(r"(?<=[A-Za-z])'(?=[a-z])")  # an apostrophe inside a word


def as_latex(text: str) -> str:
    """Text for LaTeX in ASCII.

    Raises:
        ValueError: for a character that has no translation here, which LaTeX might not print.

    Example:
        >>> print(as_latex("ρ_in ≤ θ* in 95% of 2^G cases, e^(−λt)"))
        $\\rho_{\\mathrm{in}}$ $\\leq$ $\\theta^{*}$ in 95\\% of 2$^{G}$ cases, e$^{-\\lambda t}$
    """
    parts, end = [], 0
    for found in _SCRIPT.finditer(text):
        parts += [_plain(text[end : found.start()]), _script(found)]
        end = found.end()
    return "".join([*parts, _plain(text[end:])])


def _script(found: re.Match[str]) -> str:
    power = found["power"] if found["power"] is not None else found["short"]
    if power is not None:
        return f"$^{{{_mathematics(power)}}}$"
    base, below = found["base"] or found["base2"], found["below"] or found["below2"]
    if len(base) == 1 and base.isascii() and found.start() and found.string[found.start() - 1].isalpha():
        return _plain(found[0])  # part of a word, such as file_name
    small = "" if below is None else f"_{{{below}}}" if len(below) == 1 else rf"_{{\mathrm{{{below}}}}}"
    return f"${_SYMBOLS.get(base, base)}{small}{'^{*}' if found['star'] else ''}$"


def _mathematics(text: str) -> str:
    """Inside a formula: symbols without dollars, separated where two of them would run together."""
    return re.sub(r"(\\[a-z]+)(?=[A-Za-z])", r"\1 ", "".join(_SYMBOLS.get(c, c) for c in text))


def _plain(text: str) -> str:
    return "".join(_character(c) for c in _NEGATIVE_OR_PRIME.sub("’", text))


def _character(character: str) -> str:
    if character in _SYMBOLS and not (character.isascii() and character in "+="):
        return f"${_SYMBOLS[character]}$"
    if character in _TEXT:
        return _TEXT[character]
    if ord(character) < 128:
        return character
    raise ValueError(f"text holds {character!r}, which has no LaTeX here: add it to paper/latex.py")


def count(value: float) -> str:
    """An integer with thin spaces between groups of three digits.

    Raises:
        ValueError: if the value is no integer.

    Example:
        >>> print(count(60567), count(312))
        60\\,567 312
    """
    if value != int(value):
        raise ValueError(f"value must be an integer; got {value}")
    return f"{int(value):,}".replace(",", r"\,").replace("-", "$-$")


def decimal(value: float, digits: int = 2) -> str:
    """A number with that many digits after the point, the sign typeset.

    Example:
        >>> print(decimal(-1.234), decimal(50, 0))
        $-$1.23 50
    """
    return f"{value:.{digits}f}".replace("-", "$-$")


def percent(share: float, digits: int = 1) -> str:
    """A share in percent, without the sign.

    Example:
        >>> percent(0.98631)
        '98.6'
    """
    return decimal(100 * share, digits)


def interval(limits: Sequence[float] | None, show: object = percent) -> str:
    """[low, high], or a dash where there is none.

    Example:
        >>> print(interval((0.951, 0.998)), interval(None))
        [95.1, 99.8] --
    """
    return "--" if limits is None else f"[{show(limits[0])}, {show(limits[1])}]"  # type: ignore[operator]


def table(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A booktabs table; cells are LaTeX already.

    Raises:
        ValueError: without rows, or if a row has not as many cells as the head.
    """
    if not rows:
        raise ValueError("a table needs at least one row")
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row has {len(row)} cells under {len(head)} headings: {row}")
    lines = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"
