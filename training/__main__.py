"""`python -m training validate|compare|resume|report|export|data|audit|evidence|robustness …`."""

from __future__ import annotations

import sys
from pathlib import Path


def _validate(arguments: list[str]) -> None:
    from dynamics.commands.arguments import parse
    from training.engine.config import RunConfig, preset
    from training.experiments.seeds import validate_seeds
    from training.experiments.validate import validate

    chosen = preset(_preset_name(arguments, RunConfig.preset))
    config = parse(RunConfig, "python -m training validate", arguments, chosen)
    _conclude(validate(config) if config.seeds == 1 else validate_seeds(config))


def _conclude(folder: Path | None) -> None:
    """Name the run folder, and judge the certificates of a single shadow run; None in processes that train along."""
    if folder is None:
        return
    print(f"run folder: {folder}")
    from training.engine.config import from_json
    from training.evidence.conclusion import judge_run
    from training.runtime.run_folder import settings_in

    config = from_json(settings_in(folder))
    if config.mode == "shadow" and config.seeds == 1:  # many seeds have been judged together
        judge_run(folder)


def _compare(arguments: list[str]) -> None:
    from training.commands.compare import compare_systems

    compare_systems(arguments, _preset_name(arguments, "digits"))


def _resume(arguments: list[str]) -> None:
    from training.errors import InputError
    from training.experiments.seeds import resume_any

    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise InputError("usage: python -m training resume RUN")
    _conclude(resume_any(Path(arguments[0])))


def _report(arguments: list[str]) -> None:
    from training.commands.report import write_page

    write_page(arguments)


def _export(arguments: list[str]) -> None:
    from training.commands.export import export_run

    export_run(arguments)


def _data(arguments: list[str]) -> None:
    from training.commands.data import data

    data(arguments)


def _audit(arguments: list[str]) -> None:
    from training.commands.audit import audit_again

    audit_again(arguments)


def _evidence(arguments: list[str]) -> None:
    from training.commands.evidence import pool_runs

    pool_runs(arguments)


def _robustness(arguments: list[str]) -> None:
    from dynamics.commands.arguments import parse
    from training.experiments.robustness import Robustness, measure

    measure(parse(Robustness, "python -m training robustness", arguments))


def _preset_name(arguments: list[str], default: str) -> str:
    """The value of --preset, which decides the other defaults and so is read first."""
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith("--preset="):
            return argument.partition("=")[2]
    return default


#: Imported only when called, so that help is quick and an interruption during the imports is met as any other.
COMMANDS = {
    "validate": _validate,
    "compare": _compare,
    "resume": _resume,
    "report": _report,
    "export": _export,
    "data": _data,
    "audit": _audit,
    "evidence": _evidence,
    "robustness": _robustness,
}


def main() -> int:
    """Run the command; exit status 0, 1 where a run refutes the theory, 2 for bad input, 130 if interrupted."""
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
        from training.errors import InputError, RefutedError

        command(sys.argv[2:])
    except KeyboardInterrupt:
        print(
            "interrupted; python -m training resume RUN goes on with a run, the same command with a comparison",
            file=sys.stderr,
        )
        return 130
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RefutedError as error:
        print(f"REFUTED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
