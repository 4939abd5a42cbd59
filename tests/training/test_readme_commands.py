"""Every `python -m training validate` and `compare` in the README has settings that the command takes."""

import re
import shlex
from pathlib import Path

import pytest

from dynamics.command_line import parse
from training.compare import Compare
from training.compare.settings import comparison
from training.config import Validate, preset

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"-m training ((?:validate|compare) [^#`\n]*)", README)))
KINDS = {"validate": (Validate, preset), "compare": (Compare, comparison)}


def test_there_are_some():
    assert len(COMMANDS) >= 6 and {command.split()[0] for command in COMMANDS} == set(KINDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_taken(command):
    which, *arguments = shlex.split(command)
    kind, default = KINDS[which]
    name = arguments[arguments.index("--preset") + 1]
    assert isinstance(parse(kind, "README", arguments, default(name)), kind)
