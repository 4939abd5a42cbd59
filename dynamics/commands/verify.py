"""`python -m dynamics verify`: check every claim, print a table, say in the exit status whether all is well."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dynamics.commands.arguments import parse
from dynamics.verification import Record, all_claims, run, write_json

__all__ = ["Verify", "main"]


@dataclass(frozen=True)
class Verify:
    """Check what this project asserts: proved, held on n cases, refuted with a witness, or undecided."""

    json: Path | None = None
    """Also write the records to this file."""
    only: tuple[str, ...] = ()
    """Names of the claims to check; all by default."""
    jobs: int = 0
    """Worker processes; 0 for one a core."""
    list: bool = False
    """Only list the claims."""


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status.

    0: each claim came out as its method must (`Record.good`); 1: anything refuted, undecided, failed, only held where
    a proof was due, or nothing checked; 2: bad input.
    """
    options = parse(Verify, "python -m dynamics verify", arguments)
    console = Console()
    if options.list:
        for claim in all_claims().values():
            console.print(f"{claim.name}: {claim.statement}", highlight=False, markup=False)
        return 0
    try:
        _check(options)
        records = _run(options, console)
        if options.json is not None:
            write_json(records, options.json)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for record in records:
        console.print(_lines(record), highlight=False, markup=False)
    for record in records:
        if record.error:
            print(f"{record.name} failed:\n{record.error}", file=sys.stderr)
    counts = Counter("failed" if r.outcome is None else r.outcome.status.value for r in records)
    console.print(", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing was checked")
    return 0 if records and all(record.good for record in records) else 1


def _check(options: Verify) -> None:
    if options.jobs < 0:
        raise ValueError(f"jobs must be ≥ 0; got {options.jobs}")
    if options.json is not None and not options.json.parent.is_dir():
        raise ValueError(f"the folder of --json does not exist: {options.json.parent}")
    if options.json is not None and options.json.is_dir():
        raise ValueError(f"json must be a file, or not there yet; {options.json} is a folder")


def _run(options: Verify, console: Console) -> list[Record]:
    """Check the claims, showing each as it ends; the records come in the order of the topics."""
    order = list(all_claims())
    total = len(options.only) or len(order)
    records: list[Record] = []
    for record in run(options.only, options.jobs or None):
        records.append(record)
        word = record.outcome.status.value if record.outcome else "FAILED"
        line = f"[{len(records)}/{total}] {record.name}: {word} ({record.seconds:.1f} s)"
        console.print(line, highlight=False, markup=False)
    return sorted(records, key=lambda record: order.index(record.name))


def _lines(record: Record) -> str:
    """Return one claim in a few lines that can be read at any width and searched for."""
    outcome = record.outcome
    if outcome is None:
        return f"{record.name}: FAILED\n    {record.statement}"
    facts = [f"{outcome.status.value} ({record.method}); {outcome.scope}"]
    if outcome.cases is not None:
        facts.append(f"{outcome.cases:,} cases")
    if outcome.margin is not None:
        facts.append(f"margin {outcome.margin:.3g}")
    if outcome.witness:
        facts.append(f"witness {dict(outcome.witness)}")
    return f"{record.name}: {'; '.join(facts)}\n    {record.statement}"
