"""Check every claim: `python -m dynamics verify [--json FILE] [--only NAME …]`."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from dynamics import claims
from dynamics.proofs.claim import Claim, Outcome, Status

__all__ = ["Record", "all_claims", "run", "write_json"]

#: Methods that decide a statement for all that its scope names; with these "held on n cases" is not enough.
PROOFS = ("symbolic", "branch and bound")


@dataclass(frozen=True)
class Record:
    """One checked claim. `outcome` is None where the check itself failed; `error` then says how."""

    name: str
    statement: str
    method: str
    outcome: Outcome | None
    seconds: float
    error: str = ""

    @property
    def good(self) -> bool:
        """Return whether it came out as its method must: a proof proves; what looks at cases holds or proves."""
        if self.outcome is None:
            return False
        return self.outcome.status is Status.PROVED or (
            self.outcome.status is Status.HELD and self.method not in PROOFS
        )


def all_claims() -> dict[str, Claim]:
    """Return name → claim, in the order of the topics.

    Raises:
        ValueError: if two claims share a name.
    """
    found: dict[str, Claim] = {}
    for topic in claims.TOPICS:
        for item in topic.CLAIMS:
            if item.name in found:
                raise ValueError(f"two claims are called {item.name}")
            found[item.name] = item
    return found


def check(name: str) -> Record:
    """Run one claim's check. A check that raises is reported as failed, with its last traceback line."""
    item = all_claims()[name]
    start = time.perf_counter()
    try:
        outcome, error = item.check(), ""
    except Exception:  # reported in the table and in the exit status, never swallowed
        outcome, error = None, traceback.format_exc()
    return Record(item.name, item.statement, item.method, outcome, time.perf_counter() - start, error)


def run(names: Sequence[str] = (), jobs: int | None = None) -> Iterator[Record]:
    """Check the named claims (all by default), yielding each as it ends.

    Args:
        names: claim names; empty for all.
        jobs: worker processes; by default one a core.

    Raises:
        ValueError: for a name that no claim has.
    """
    known = all_claims()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown claim {unknown[0]!r}; known: {', '.join(known)}")
    chosen = list(names) or list(known)
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1 or len(chosen) == 1:
        yield from map(check, chosen)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(check, name) for name in chosen]):
                yield done.result()
        except KeyboardInterrupt:  # some checks take a minute, and nobody waits for them any more
            workers = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.terminate()
            raise


def write_json(records: Sequence[Record], path: Path) -> None:
    """Write the records, in the order of the topics, to a file (first under a temporary name)."""
    order = list(all_claims())
    rows = [asdict(record) for record in sorted(records, key=lambda record: order.index(record.name))]
    temporary = path.with_name(path.name + ".partial")
    text = json.dumps({"claims": rows}, indent=1, default=str, ensure_ascii=False) + "\n"
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
