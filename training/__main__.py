"""`python -m training validate …` and `python -m training data …`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from dynamics.command_line import parse
from training.config import Validate, preset
from training.data_command import data
from training.errors import InputError
from training.validate import validate


def _validate(arguments: list[str]) -> None:
    config = parse(Validate, "python -m training validate", arguments, preset(_preset_name(arguments)))
    folder = validate(config)
    print(f"run folder: {folder}")


def _preset_name(arguments: list[str]) -> str:
    """The value of --preset, which decides the other defaults and so is read first."""
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith("--preset="):
            return argument.partition("=")[2]
    return Validate.preset


COMMANDS: dict[str, Callable[[list[str]], None]] = {"validate": _validate, "data": data}


def main() -> int:
    """Run the command; exit status 0, 2 for bad input, 130 for an interruption."""
    usage = f"usage: python -m training {{{','.join(COMMANDS)}}} …   (--help after a command lists its settings)"
    if len(sys.argv) < 2:
        print(usage, file=sys.stderr)
        return 2
    if sys.argv[1] in ("-h", "--help"):
        print(usage)
        return 0
    command = COMMANDS.get(sys.argv[1])
    if command is None:
        print(f"unknown command {sys.argv[1]!r}; {usage}", file=sys.stderr)
        return 2
    try:
        command(sys.argv[2:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the run folder holds what was done so far", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
