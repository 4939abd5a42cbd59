"""`python -m dynamics verify|basin …`."""

from __future__ import annotations

import importlib
import sys

from dynamics.commands.ending import concluded

COMMANDS = {"verify": "dynamics.commands.verify", "basin": "dynamics.commands.basin"}


def main() -> int:
    """Dispatch to a command; exit status 2 for an unknown one, 130 for an interruption, 143 for SIGTERM."""
    return concluded(_run)


def _run() -> int:
    usage = f"usage: python -m dynamics {{{','.join(COMMANDS)}}} …   (--help after a command lists its settings)"
    if len(sys.argv) < 2:
        print(usage, file=sys.stderr)
        return 2
    if sys.argv[1] in ("-h", "--help"):
        print(usage)
        return 0
    if sys.argv[1] not in COMMANDS:
        print(f"unknown command {sys.argv[1]!r}; {usage}", file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[sys.argv[1]]).main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
