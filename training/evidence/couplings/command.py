"""The command line that the analyses of couplings share: `python -m MODULE FILE.json RUN [RUN …]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.errors import InputError
from training.evidence.runs import ShadowRun, open_run
from training.runtime.atomic_files import write_atomically

__all__ = ["write_result"]


def write_result(
    arguments: Sequence[str],
    analysis: Callable[[list[ShadowRun]], dict[str, Any]],
    *,
    most: float = float("inf"),
    indent: int | None = None,
) -> int:
    """Write what an analysis says of runs, and return the exit status: 0, or 2 for bad arguments or run folders.

    Args:
        arguments: the file to write, then run folders.
        analysis: from the runs to a JSON value.
        most: runs that it is made for.
        indent: of the JSON file.
    """
    try:
        if not 2 <= len(arguments) <= 1 + most:
            usage = "FILE.json RUN" if most == 1 else "FILE.json RUN [RUN …]"
            raise InputError(f"arguments must be {usage}; got {len(arguments)} of them")
        result = analysis([open_run(Path(name)) for name in arguments[1:]])
        text = json.dumps(result, indent=indent, allow_nan=False) + "\n"
        write_atomically(Path(arguments[0]), text.encode())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
