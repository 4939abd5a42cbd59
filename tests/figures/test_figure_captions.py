"""Captions for LaTeX: every character becomes something that LaTeX prints, or is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figures.caption import _SYMBOLS, _TEXT, as_latex

KNOWN = "".join({*_SYMBOLS, *_TEXT, *map(chr, range(32, 127))})


@given(st.text(KNOWN, max_size=40))
def test_the_result_is_ascii_and_its_mathematics_closed(text):
    found = as_latex(text)
    assert found.isascii()
    assert len(re.findall(r"(?<!\\)\$", found)) % 2 == 0


@given(st.text("%&#$_", min_size=1, max_size=10))
def test_no_special_character_is_left_bare(text):
    assert not re.search(r"(?<!\\)[%&#$_]", as_latex(text))


@pytest.mark.parametrize(
    "text, latex",
    [
        ("S* = κ/η", r"$S^{*}$ = $\kappa$/$\eta$"),
        ("D = −ηρ²/2", r"D = $-$$\eta$$\rho$$^2$/2"),
        ("95%", r"95\%"),
        ("ρ_in", r"$\rho_{\mathrm{in}}$"),
        ("θ*", r"$\theta^{*}$"),
        ("θ_g²", r"$\theta_{g}$$^2$"),
        ("e^(−λt)", r"e$^{-\lambda t}$"),
        ("50 % of x_y", r"50 \% of $x_{y}$"),
        ("a file_name", r"a file\_name"),
        ("its flow's ρ'", r"its flow's $\rho$$'$"),
    ],
)
def test_examples(text, latex):
    assert as_latex(text) == latex


def test_an_unknown_character_is_refused():
    with pytest.raises(ValueError, match="ж"):
        as_latex("ж")
