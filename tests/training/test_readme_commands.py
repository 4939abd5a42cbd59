"""Every `python -m training validate` in the README has settings that the command takes."""

import re
import shlex
from pathlib import Path

import pytest

from dynamics.command_line import parse
from training.config import Validate, preset

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"-m training (validate [^#`\n]*)", README)))


def test_there_are_some():
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_taken(command):
    _, *arguments = shlex.split(command)
    name = arguments[arguments.index("--preset") + 1]
    assert isinstance(parse(Validate, "README", arguments, preset(name)), Validate)
