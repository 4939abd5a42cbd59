"""What the pages say of the tree is so: files that they name are there, and the architecture names every rung."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ("dynamics", "training", "figures", "paper", "tests", "benchmarks")
QUESTIONS = re.findall(r"^\| ([^|]*\?) \| `([^`]+)` \|", ARCHITECTURE, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page):
    named = re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w/.-]*)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("package", ["training", "dynamics"])
def test_the_architecture_names_every_rung(package):
    table = ARCHITECTURE[ARCHITECTURE.index(f"| `{package}/` | one idea |") :].split("\n\n")[0]
    named = re.findall(r"`(\w+)(?:\.py|/)`", table)
    there = {path.stem for path in (ROOT / package).iterdir() if not path.stem.startswith("_")}
    assert set(named) == {package} | {name for name in there if name != "egg-info"}


def test_twelve_questions_have_an_answer_that_is_a_file():
    assert len(QUESTIONS) >= 12
    assert [file for _, file in QUESTIONS if not (ROOT / file).is_file()] == []
