"""Every command of the tutorial is run, in order and in one folder, and gives the output that the page shows.

Words must agree exactly and numbers nearly: rounding differs between machines, and a short run amplifies it.
"""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from training.__main__ import main

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
COMMANDS = [
    tuple(part.partition("\n")[::2])
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")
NEARLY = {"rel": 0.25, "abs": 16}  # abs: two records of 11 steps at most in a lead, a few gates in a count


def differs(shown, printed):
    """Return why an output is not what is shown (`...` stands for anything), or None."""
    shown, printed = (" ".join(text.split()) for text in (shown, printed))
    parts, at = re.split(r" ?\.\.\. ?", shown), 0
    for number, part in enumerate(parts):
        pattern = r"(-?\d+(?:\.\d+)?)".join(map(re.escape, NUMBER.split(part)))
        begin, end = "\\A" * (number == 0), "\\Z" * (number == len(parts) - 1)
        match = re.search(begin + pattern + end, printed[at:])
        if match is None:
            return f"not the words {part!r}:\n{printed[at:]}"
        at += match.end()
        for written, found in zip(NUMBER.findall(part), match.groups(), strict=True):
            if float(found) != pytest.approx(float(written), **NEARLY):
                return f"{found} where the page has {written}:\n{printed}"
    return None


def run(command, monkeypatch):
    """Run `python -m training …` in this process; return all that it prints."""
    python, flag, package, *arguments = shlex.split(command)
    assert (python, flag, package) == ("python", "-m", "training")
    monkeypatch.setattr(sys, "argv", [package, *arguments])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), contextlib.suppress(SystemExit):
        main()
    return printed.getvalue()


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(tmp_path, monkeypatch):
    assert len(COMMANDS) >= 6
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for command, shown in COMMANDS:
        why = differs(shown, run(command, monkeypatch))
        assert why is None, f"{command}\n{why}"


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("a 100 b: 2.5%\nend", True),
        ("a 110 b: 2.4%   and more\nend", True),
        ("a 300 b: 2.5%\nend", False),
        ("a 100 c: 2.5%\nend", False),
        ("a 100 b: 2.5%\nend of it", False),
    ],
)
def test_words_must_agree_and_numbers_nearly(printed, same):
    assert (differs("a 100 b: 2.5% ... end", printed) is None) == same
