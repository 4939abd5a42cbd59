"""Command lines from typed dataclasses, with errors of one line.

All packages use this one function: tyro answers bad input with a framed page, where one line is easier to read in a
log and to search for.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from typing import TypeVar

import tyro

__all__ = ["parse"]

Options = TypeVar("Options")


def parse(kind: type[Options], prog: str, arguments: Sequence[str], default: Options | None = None) -> Options:
    """Return the options that the arguments ask for.

    Args:
        kind: a dataclass; its fields become the flags, their docstrings the help.
        prog: how the command is called.
        arguments: what follows it.
        default: where unnamed flags take their values from; by default the dataclass's own.

    Raises:
        SystemExit: with status 0 after printing help, with status 2 after one line on stderr for bad input.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if default is None:
                return tyro.cli(kind, prog=prog, args=list(arguments))
            return tyro.cli(kind, prog=prog, args=list(arguments), default=default)
    except SystemExit as exit_:
        if exit_.code:
            print(f"error: {_in_one_line(said.getvalue())} (see {prog} --help)", file=sys.stderr)
        raise


def _in_one_line(page: str) -> str:
    """Return the message at the head of tyro's page: a title, perhaps a rule, the message, a rule, a hint.

    The page is framed with box-drawing characters where the output takes them, and not framed elsewhere.

    Example:
        >>> _in_one_line("╭─ Error ─╮\\n│ Error parsing Run: x must be > 0;  │\\n│ got 0 │\\n│ ── │\\n│ help │")
        'x must be > 0; got 0'
        >>> _in_one_line(" Value error \\n ------ \\n  Error parsing Run: x must be > 0 \\n  ----- \\n  help \\n ")
        'x must be > 0'
        >>> _in_one_line("╭─ Parsing error ─╮\\n│ Unrecognized options: --y │\\n╰───╯")
        'Unrecognized options: --y'
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", page).strip().splitlines()[1:]  # without the title
    lines = ["" if re.fullmatch(r"[\s│─╭╮╰╯-]*", line) else line.strip(" │") for line in plain]
    blocks = [" ".join(block.split()) for block in "\n".join(lines).strip().split("\n\n")]
    # What __post_init__ says names its field itself; for a flag that cannot be read, tyro names the flag.
    return re.sub(r"^Error parsing (?:[^-\s]\S*: )?", "", blocks[0])
