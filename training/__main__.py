"""The command line `python -m training COMMAND …`: dispatches to `training.commands`."""

from __future__ import annotations

import importlib
import sys

from dynamics.commands.ending import concluded

#: Command → module of `training.commands` and function in it. Imported only when called, so that help is quick and an
#: interruption during the imports is met as any other.
COMMANDS = {
    "validate": ("validate", "validate_run"),
    "compare": ("compare", "compare_methods"),
    "resume": ("resume", "resume_run"),
    "report": ("report", "write_page"),
    "export": ("export", "export_run"),
    "data": ("data", "data"),
    "audit": ("audit", "audit_again"),
    "evidence": ("evidence", "pool_runs"),
    "robustness": ("robustness", "measure_robustness"),
}


def main() -> int:
    """Run the command and return its exit status.

    0, 1 where a run refutes the theory, 2 for bad input or where the system refuses, 130 or 143 if interrupted or
    terminated.
    """
    return concluded(_run)


def _run() -> int:
    usage = f"usage: python -m training {{{','.join(COMMANDS)}}} …   (--help after a command lists its settings)"
    if len(sys.argv) < 2:
        print(usage, file=sys.stderr)
        return 2
    if sys.argv[1] in ("-h", "--help"):
        print(usage)
        return 0
    if sys.argv[1] not in COMMANDS:
        print(f"unknown command {sys.argv[1]!r}; {usage}", file=sys.stderr)
        return 2
    try:
        from training.errors import InputError, RefutedError

        module, function = COMMANDS[sys.argv[1]]
        getattr(importlib.import_module(f"training.commands.{module}"), function)(sys.argv[2:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RefutedError as error:
        print(f"REFUTED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
