"""Every `python -m training validate` and `compare` in README and docs has settings that the command takes."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from dynamics.commands.arguments import parse
from training.engine.config import RunConfig, preset
from training.experiments.compare import Compare
from training.experiments.compare.settings import comparison
from training.methods.after_training import AfterTraining
from training.methods.registry import METHODS, TARGETS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMPARE = (ROOT / "docs" / "compare.md").read_text()
COMMANDS = sorted(
    {
        command.strip()
        for page in PAGES
        for command in re.findall(r"-m training ((?:validate|compare) --preset[^#`\n]*)", page.read_text())
        if "nu -1" not in command and "YOURS" not in command  # shown as bad input; the reader's own method
    }
)
KINDS = {"validate": (RunConfig, preset), "compare": (Compare, comparison)}


def test_there_are_some():
    assert len(COMMANDS) >= 6 and {command.split()[0] for command in COMMANDS} == set(KINDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_taken(command):
    which, *arguments = shlex.split(command)
    kind, default = KINDS[which]
    name = arguments[arguments.index("--preset") + 1]
    assert isinstance(parse(kind, "docs", arguments, default(name)), kind)


@pytest.mark.parametrize("name", METHODS)
def test_every_system_is_in_the_table_with_its_settings(name):
    (line,) = (line for line in COMPARE.splitlines() if line.startswith(f"| `{name}` |"))
    named = line.rsplit("|", 2)[1].split("(")[0].replace(",", " ").split()
    assert named == [each.name for each in fields(METHODS[name])]
    module = METHODS[name].__module__.replace(".", "/")
    assert name == "none" or f"(`{module}.py`)" in line
    assert (name in TARGETS) == ("--share" in line)
    assert issubclass(METHODS[name], AfterTraining) == ("--retrain" in line)


def test_the_help_names_every_system(capsys):
    with pytest.raises(SystemExit):
        parse(Compare, "test", ["--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in METHODS)
