"""Captions as LaTeX: written once in plain text with the symbols of the mathematics, turned into what LaTeX reads.

The paper's generated texts are translated here, too.
"""

from __future__ import annotations

import re

__all__ = ["as_latex"]

_SYMBOLS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "η": r"\eta", "θ": r"\theta", "κ": r"\kappa",
    "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau",
    "φ": r"\varphi", "Θ": r"\Theta", "Σ": r"\Sigma", "ℓ": r"\ell", "∂": r"\partial", "∫": r"\int", "√": r"\surd",
    "∞": r"\infty",
    "−": "-", "+": "+", "=": "=", "<": "<", ">": ">", "±": r"\pm", "∓": r"\mp", "×": r"\times", "·": r"\cdot",
    "≠": r"\neq", "≤": r"\leq", "≥": r"\geq", "≈": r"\approx", "→": r"\to", "∈": r"\in", "⊆": r"\subseteq",
    "‖": r"\Vert", "|": r"\vert", "⟨": r"\langle", "⟩": r"\rangle", "′": "'", "″": "''", "‴": "'''", "'": "'",
    "⁰": "^0", "¹": "^1", "²": "^2", "³": "^3", "⁴": "^4", "⁻": "^-", "₀": "_0", "₁": "_1", "₊": "_+", "₋": "_-",
    "∇": r"\nabla", "ψ": r"\psi", "Φ": r"\Phi", "⁺": "^+",
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
    raise ValueError(f"text holds {character!r}, which has no LaTeX here: add it to figures/caption.py")
