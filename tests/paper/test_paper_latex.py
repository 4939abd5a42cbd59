"""LaTeX out of plain text, numbers and tables; and what of a LaTeX log stops the build."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamics.verification import all_claims
from paper.latex import as_latex, count, decimal, interval, percent, table
from paper.log import ALLOWED, complaints, main


def balanced(text):
    depth = 0
    for before, character in zip(" " + text, text, strict=False):
        if before != "\\":
            depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    return depth == 0 and text.replace(r"\$", "").count("$") % 2 == 0


@pytest.mark.parametrize("claim", all_claims().values(), ids=lambda claim: claim.name)
def test_every_statement_has_latex_in_ascii(claim):
    text = as_latex(claim.statement)
    assert text.isascii() and balanced(text)


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs"))))
def test_any_ascii_text_is_balanced(text):
    assert balanced(as_latex(text))


@given(st.integers(-(10**12), 10**12))
def test_a_count_keeps_its_digits(value):
    assert int(count(value).replace(r"\,", "").replace("$-$", "-")) == value


def test_numbers_as_printed():
    assert (percent(0.5), decimal(-3, 0), interval((1.0, 2.0), decimal)) == ("50.0", "$-$3", "[1.00, 2.00]")
    with pytest.raises(ValueError, match=r"must be an integer; got 0\.5"):
        count(0.5)


def test_a_table_refuses_uneven_rows_and_none():
    assert table("lr", ["a", "b"], [["c", "1"]]).splitlines()[-3] == r"c & 1 \\"
    with pytest.raises(ValueError, match="1 cells under 2 headings"):
        table("lr", ["a", "b"], [["c"]])
    with pytest.raises(ValueError, match="at least one row"):
        table("lr", ["a", "b"], [])


BAD = [
    "LaTeX Warning: Reference `thm:x' on page 2 undefined on input line 41.",
    "LaTeX Warning: Citation `ville' on page 2 undefined on input line 17.",
    "LaTeX Warning: There were undefined references.",
    "LaTeX Warning: There were multiply-defined labels.",
    "LaTeX Warning: Label `a' multiply defined.",
    "LaTeX Warning: Label(s) may have changed. Rerun to get cross-references right.",
    "pdfTeX warning (dest): name{claim:a} has been referenced but does not exist, replaced by a fixed one",
    f"Overfull \\hbox ({ALLOWED + 0.01}pt too wide) in paragraph at lines 1--2",
    "Overfull \\vbox (12.3pt too high) has occurred while \\output is active []",
    "! Undefined control sequence.",
]
GOOD = [
    f"Overfull \\hbox ({ALLOWED}pt too wide) in paragraph at lines 1--2",
    "Underfull \\hbox (badness 10000) in paragraph at lines 1--2",
    "Package hyperref Info: Option `colorlinks' set `true' on input line 8.",
    "LaTeX Font Info:    Trying to load font information for T1+lmtt on input line 32.",
]


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_of_the_log_is_found(line):
    assert complaints("\n".join([*GOOD, line, *GOOD])) == [line]


def test_a_good_log_is_silent(tmp_path, capsys):
    log = tmp_path / "paper.log"
    log.write_text("\n".join(GOOD))
    assert main([str(log)]) == 0 and capsys.readouterr().err == ""
    log.write_text(BAD[0])
    assert main([str(log)]) == 1 and BAD[0] in capsys.readouterr().err
    assert main([str(tmp_path / "none.log")]) == 2
