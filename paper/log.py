"""Complaints in a LaTeX log: undefined or doubly defined references, and lines that are too wide."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["ALLOWED", "complaints"]

ALLOWED = 5.0  # points by which a box may be overfull

_OVERFULL = re.compile(r"^Overfull \\[hv]box \((?P<points>[\d.]+)pt too (?:wide|high)\).*", re.MULTILINE)
_UNDEFINED = re.compile(
    r"^(?:LaTeX|pdfTeX) [Ww]arning.*(?:undefined|multiply.defined|does not exist|destination with the same).*"
    r"|^LaTeX Warning: (?:There were|Label\(s\) may have changed).*"
    r"|^LaTeX Font Warning: Some font shapes were not available.*|^! .*",
    re.MULTILINE,
)


def complaints(log: str) -> list[str]:
    """Return every line of a log that is an error here.

    Args:
        log: of pdflatex, written with lines that are not broken (max_print_line=1000).

    Example:
        >>> complaints("Overfull \\\\hbox (4.9pt too wide) in paragraph at lines 1--2")
        []
        >>> complaints("Overfull \\\\hbox (5.1pt too wide) in paragraph at lines 1--2")
        ['Overfull \\\\hbox (5.1pt too wide) in paragraph at lines 1--2']
    """
    wide = [match[0] for match in _OVERFULL.finditer(log) if float(match["points"]) > ALLOWED]
    return [*wide, *(match[0] for match in _UNDEFINED.finditer(log))]


def main(arguments: list[str]) -> int:
    """Exit status 1, with the lines, if there are any; 2 if there is no log."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("error: arguments must be one LaTeX log; got " + (" ".join(arguments) or "none"), file=sys.stderr)
        return 2
    found = complaints(Path(arguments[0]).read_text(encoding="utf-8", errors="replace"))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
