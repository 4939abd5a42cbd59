"""`python -m paper [--check]`: make generated/ from the result files, or only say whether it is up to date."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from dynamics.commands.arguments import parse
from paper.generate import stale, write
from paper.sources import ROOT, SOURCES, Results

__all__ = ["Generate", "main"]


@dataclass(frozen=True)
class Generate:
    """Generate the article's numbers and tables from the committed result files."""

    check: bool = False
    """Change nothing; exit status 1 if a file is stale."""


def main(arguments: list[str]) -> int:
    """Exit status 0, 1 for a stale file with --check, 2 for a result file that cannot be read."""
    options = parse(Generate, "python -m paper", arguments)
    results = Results()
    try:
        changed = stale(results, ROOT / "paper" / "generated") if options.check else write(results)
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in changed:
        print(f"generated/{name} {'is stale: run python -m paper' if options.check else 'written'}")
    for name, source in SOURCES.items():
        if not results.measured(name):
            print(f"not yet measured: {source.path}; {source.command}")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
