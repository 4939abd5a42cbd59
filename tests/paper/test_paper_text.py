"""The text names what exists: claims, results, figures, works; and types no number that was measured."""

import re

import pytest

from dynamics.verification import all_claims
from paper.numbers import CONSTANTS, NUMBERS
from paper.observations import OBSERVATIONS
from paper.sources import ROOT, SOURCES
from paper.tables import TABLES
from paper.text import arguments, sections, theorems, typed_numbers, without_comments

PAPER = ROOT / "paper"
TEXT = sections(PAPER)
WHOLE = "\n".join(TEXT.values())
RESULTS = [f"code.{name}" for name in CONSTANTS] + [f"{s}.{n}" for s, names in NUMBERS.items() for n in names]

#: Sections about what was measured: every number there is a result.
MEASURED = ("experiments.tex", "comparison.tex", "limits.tex", "abstract.tex")


def test_claims_of_the_article_and_of_verify_are_the_same():
    used = set(arguments(WHOLE, "claim", "checkedby", "outcome"))
    assert used == set(all_claims()), used ^ set(all_claims())


def test_every_theorem_names_its_claims_or_says_that_none_covers_it():
    found = [each for text in TEXT.values() for each in theorems(text)]
    assert len(found) >= 15
    for label, names, only_here in found:
        assert bool(names) != only_here, f"{label} needs \\checkedby{{…}} or \\provedhere"
        assert set(names) <= set(all_claims()), label


def test_theorems_are_read_from_the_text():
    text = r"\begin{theorem}\label{a}x\checkedby{b,c}\end{theorem} \begin{proposition}y\provedhere\end{proposition}"
    assert list(theorems(text)) == [("a", ["b", "c"], False), (r"y\provedhere", [], True)]


def test_every_result_is_used_and_every_one_used_exists():
    used = set(arguments(WHOLE, "result"))
    assert used - set(RESULTS) == set(), "not in paper/numbers.py"
    assert set(RESULTS) - used == set(), "in paper/numbers.py, but nowhere in the text"


def test_results_stand_where_their_file_is_known_to_be_there():
    """Outside \\whenmeasured{source}{…} a number would stop the build while its file is missing."""
    for name, text in TEXT.items():
        for source in NUMBERS:
            if source in ("claims", *("code",)):
                continue
            guarded = "".join(_first_branches(text, source))
            for kind in ("result", "resulttable"):
                everywhere = [a for a in arguments(text, kind) if _source(kind, a) == source]
                inside = [a for a in arguments(guarded, kind) if _source(kind, a) == source]
                assert sorted(set(everywhere)) == sorted(set(inside)), f"{name}: {source}"


def _source(kind, name):
    return TABLES[name][0] if kind == "resulttable" else name.split(".")[0]


def _first_branches(text, source):
    """What stands in the second argument of every whenmeasured of a source."""
    for match in re.finditer(rf"\\whenmeasured\{{{re.escape(source)}\}}\{{", text):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield text[match.end() : end]


def test_sources_tables_and_observations_are_used_and_exist():
    assert set(arguments(WHOLE, "whenmeasured", "notmeasured")) <= set(SOURCES)
    assert set(arguments(WHOLE, "resulttable")) == set(TABLES)
    assert set(arguments(WHOLE, "observed")) == set(OBSERVATIONS)


@pytest.mark.parametrize("name", MEASURED)
def test_no_measured_number_is_typed(name):
    assert typed_numbers(TEXT[name]) == []


def test_a_typed_number_is_found():
    text = TEXT["experiments.tex"].replace(r"\result{shadow.accuracy}", "73.68", 1)
    assert typed_numbers(text) == ["73.68"]
    assert typed_numbers("of 146 units % not 3\n") == ["146"]


def test_citations_and_references_have_targets():
    works = re.findall(r"^@\w+\{([^,]+),", (PAPER / "references.bib").read_text(), re.MULTILINE)
    assert set(arguments(WHOLE, "cite")) == set(works) and len(works) == len(set(works))
    labels = arguments(WHOLE, "label")
    assert len(labels) == len(set(labels))
    made = {f"tab:{name}" for name in TABLES} | {f"fig:{name}" for name in arguments(WHOLE, "suitefigure")}
    assert set(arguments(WHOLE, "ref", "eqref")) <= set(labels) | made


def test_every_section_is_in_the_article():
    read = arguments(TEXT["paper.tex"], "input")
    there = {f"sections/{path.stem}" for path in (PAPER / "sections").glob("*.tex")}
    assert there == {name for name in read if name.startswith("sections/")}


def test_comments_are_no_text():
    assert without_comments("a 5\\% b % c\nd") == "a 5\\% b \nd"
