"""`python -m benchmarks.mutants`: faults of one line, put in on purpose, and the check that catches each.

Every fault of `faults.toml` goes into a copy of the working tree; its checks, test files and claims, run there; then
the copy is mended. A fault that no check catches has survived: either it changes nothing that matters, which the list
must explain, or a test is missing. What is known is kept in `build/mutants.jsonl`, a line a fault, so that a run that
was broken off goes on, and only those faults are tried again whose file, text or checks have changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import tyro

from benchmarks import record
from training.runtime.text_tables import markdown_table

ROOT = Path(__file__).parents[1]
FAULTS = Path(__file__).with_name("faults.toml")
PYTEST = ("-m", "pytest", "-n0", "-p", "no:cacheprovider", "-q", "--no-header", "--tb=no")
NOTHING_RAN, FAILED = 5, 1  # pytest's exit statuses


@dataclass(frozen=True)
class Settings:
    """Put faults in on purpose and see which check catches each; the table goes to benchmarks/results/."""

    only: tuple[str, ...] = ()
    """Faults whose file or description contains one of these; all by default."""
    jobs: Literal[1, 2] = 1
    """Copies of the working tree that are tried side by side."""
    limit: int = 240
    """Seconds after which a check counts as one that never ends."""
    output: Path = Path(__file__).parent / "results" / "mutants.json"
    """Result file; the table is written beside it."""
    state: Path = ROOT / "build" / "mutants.jsonl"
    """What is known already."""


@dataclass(frozen=True)
class Fault:
    """A change of one line.

    Attributes:
        file: that is changed.
        old: text within one line that occurs once in the file.
        new: text in its place.
        wrong: what is wrong then.
        tests: files or functions that pytest runs.
        claims: names that `python -m dynamics verify` checks.
        survives: why no check can catch it: an equivalent change. Empty for all others.
    """

    file: str
    old: str
    new: str
    wrong: str
    tests: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    survives: str = ""

    def digest(self, root: Path) -> str:
        """What the result depends on: the fault, its file, and the text of its checks."""
        files = {self.file, *(test.partition("::")[0] for test in self.tests)}
        files |= {f"dynamics/claims/{path.name}" for path in (root / "dynamics/claims").glob("*.py") if self.claims}
        texts = [(root / name).read_text(encoding="utf-8") for name in sorted(files)]
        return hashlib.sha256(json.dumps([asdict(self), texts]).encode()).hexdigest()


def read(path: Path = FAULTS) -> list[Fault]:
    with path.open("rb") as file:
        listed = tomllib.load(file)["fault"]
    return [Fault(**{k: tuple(v) if isinstance(v, list) else v for k, v in each.items()}) for each in listed]


def mistakes(fault: Fault, root: Path = ROOT) -> list[str]:
    """Why a fault cannot be tried; empty if it can. A list that no longer fits the code is an error, not a survivor."""
    text = (root / fault.file).read_text(encoding="utf-8")
    found = text.count(fault.old)
    if found != 1:
        return [f"{fault.file}: {fault.old!r} occurs {found} times, not once"]
    wrong = []
    if fault.old == fault.new or "\n" in fault.old + fault.new:
        wrong.append(f"{fault.file}: {fault.old!r} must become another text in the same line")
    if not fault.tests and not fault.claims:
        wrong.append(f"{fault.file}: no check for {fault.wrong!r}")
    for test in fault.tests:
        name, _, function = test.partition("::")
        if not (root / name).is_file() or function not in (root / name).read_text(encoding="utf-8"):
            wrong.append(f"{fault.file}: there is no test {test}")
    try:
        compile(text.replace(fault.old, fault.new), fault.file, "exec")
    except SyntaxError as error:
        wrong.append(f"{fault.file}: {fault.new!r} is no Python: {error}")
    return wrong


def copy(root: Path, to: Path) -> None:
    """Copy what git tracks, and what it would: no results of runs, no caches."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, to / name)


@contextmanager
def put_in(fault: Fault, root: Path) -> Iterator[None]:
    path = root / fault.file
    text = path.read_text(encoding="utf-8")
    try:
        _write(path, text.replace(fault.old, fault.new))
        yield
    finally:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    # Byte code is told from the source by size and second: a fault of the same length could be overlooked.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()
    path.write_text(text, encoding="utf-8")


def caught_by(tests: Sequence[str], claims: Sequence[str], root: Path, limit: int, *, every: bool = False) -> list[str]:
    """Return the first test that fails (or every one), and all claims that do not come out as they must.

    Raises:
        RuntimeError: where nothing was checked.
    """
    found = []
    if tests:
        found += _failing_tests(tests, root, limit, every)
    if claims:
        found += _failing_claims(claims, root, limit)
    return found


def _failing_tests(tests: Sequence[str], root: Path, limit: int, every: bool) -> list[str]:
    done = _python([*PYTEST, *([] if every else ["-x"]), *tests], root, limit)
    if done is None:
        return [f"{tests[0]}, which never ends"]
    if done.returncode == 0:
        return []
    if done.returncode == NOTHING_RAN:
        raise RuntimeError(f"no test ran of {', '.join(tests)}")
    lines = [line.split(" - ")[0].split() for line in done.stdout.splitlines()]
    names = [words[1].split("[")[0] for words in lines if len(words) > 1 and words[0] in ("FAILED", "ERROR")]
    if not names:
        raise RuntimeError(f"pytest ended with {done.returncode} on {', '.join(tests)}:\n{done.stdout}{done.stderr}")
    return list(dict.fromkeys(names))


def _failing_claims(claims: Sequence[str], root: Path, limit: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "claims.json"
        command = ["-m", "dynamics", "verify", "--jobs", "1", "--json", str(path), "--only", *claims]
        done = _python(command, root, limit)
        if done is None:
            return [f"claim {claims[0]}, which never ends"]
        if done.returncode == 0:
            return []
        if not path.exists():  # the fault stops the program before any claim is looked at
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            if "unknown claim" in "".join(reason):
                raise RuntimeError(reason[0])
            return [f"claim {claims[0]}"]
        records = json.loads(path.read_text(encoding="utf-8"))["claims"]
    # In the order asked for; `Record.good` is what the exit status goes by.
    good = {r["name"] for r in records if r["outcome"] and r["outcome"]["status"] in ("proved", "held")}
    return [f"claim {name}" for name in claims if name not in good] or [f"claim {claims[0]}"]


def _python(arguments: Sequence[str], root: Path, limit: int) -> subprocess.CompletedProcess[str] | None:
    """Run Python in a copy, with the copy's packages; None if it took too long."""
    # Compiled code goes by a digest of its text: a fault has its own, and none comes into the user's cache.
    kernels = {"PRUNING_DYNAMICS_CACHE": str(ROOT / "build" / "kernels")}
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"} | kernels
    try:
        return subprocess.run(
            [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return None


def attempt(fault: Fault, root: Path, limit: int) -> dict[str, Any]:
    """Try one fault in a copy, and return its row."""
    start = time.perf_counter()
    with put_in(fault, root):
        found = caught_by(fault.tests, fault.claims, root, limit)
    row = {"file": fault.file, "wrong": fault.wrong, "old": fault.old, "new": fault.new, "caught by": found}
    if fault.survives:
        row["survives"] = fault.survives
    return row | {"seconds": round(time.perf_counter() - start, 1)}


def without_a_fault(faults: Sequence[Fault], root: Path, settings: Settings) -> None:
    """Run in a copy all checks that these faults need, but for those that passed before in the same tree.

    Raises:
        RuntimeError: if one fails: then it says nothing of a fault.
    """
    tree = _tree_digest(root)
    passed = {name for entry in _entries(settings.state) if entry.get("tree") == tree for name in entry["passed"]}
    tests, claims = ({name for fault in faults for name in getattr(fault, kind)} for kind in ("tests", "claims"))
    # A file that runs as a whole has its functions in it.
    tests = {name for name in tests if name.partition("::")[0] == name or name.partition("::")[0] not in tests}
    tests, claims = sorted(tests - passed), sorted(claims - passed)
    if not tests and not claims:
        return
    print(f"without a fault: {len(tests)} tests or files of tests, {len(claims)} claims", flush=True)
    broken = caught_by(tests, claims, root, 10 * settings.limit, every=True)
    if broken:
        raise RuntimeError(f"these fail without any fault: {', '.join(broken)}")
    _note(settings.state, {"tree": tree, "passed": [*tests, *claims]})


def _tree_digest(root: Path) -> str:
    """What a check without a fault depends on: all code and all tests."""
    found = hashlib.sha256()
    for path in sorted(path for folder in ("dynamics", "training", "tests") for path in (root / folder).rglob("*.py")):
        found.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found.hexdigest()


def attempts(faults: Sequence[Fault], settings: Settings) -> Iterator[tuple[Fault, dict[str, Any]]]:
    """Try faults in copies of the working tree, yielding each row as it is known.

    Raises:
        RuntimeError: if a check fails without any fault.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(settings.jobs) as pool:
        free: SimpleQueue[Path] = SimpleQueue()
        for i in range(settings.jobs):
            copy(ROOT, Path(folder) / str(i))
            free.put(Path(folder) / str(i))
        without_a_fault(faults, Path(folder) / "0", settings)

        def one(fault: Fault) -> tuple[Fault, dict[str, Any]]:
            root = free.get()
            try:
                return fault, attempt(fault, root, settings.limit)
            finally:
                free.put(root)

        yield from pool.map(one, faults)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the Markdown table of all faults, and what is to be said of those that survived."""
    caught = [row for row in rows if row["caught by"]]
    body = []
    for row in rows:
        by = "<br>".join(f"`{name}`" for name in row["caught by"]) or f"survives: {row.get('survives', 'unexplained')}"
        body.append([f"`{row['file']}`", row["wrong"], f"{_code(row['old'])} → {_code(row['new'])}", by])
    head = [
        "# Faults on purpose, and the check that catches each",
        "",
        "Made by `python -m benchmarks.mutants` from `benchmarks/faults.toml`. Of a fault's tests the first that fails "
        "is named, of its claims every one.",
        "",
        f"{len(rows)} faults, {len(caught)} caught, {len(rows) - len(caught)} survived.",
        "",
    ]
    return "\n".join([*head, *markdown_table(["file", "what is wrong", "change", "caught by"], body)]) + "\n"


def _code(text: str) -> str:
    return f"`{text.strip()}`".replace("|", "\\|")


def known(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of earlier runs, by digest."""
    return {entry["digest"]: entry["row"] for entry in _entries(path) if "digest" in entry}


def _entries(path: Path) -> list[dict[str, Any]]:
    """What earlier runs have noted. A line that was cut off says nothing."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def _note(path: Path, entry: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def commit() -> dict[str, Any]:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return {"commit": git("rev-parse", "HEAD"), "modified": bool(git("status", "--porcelain"))}


def main(arguments: list[str] | None = None) -> int:
    settings = tyro.cli(Settings, args=arguments, prog="python -m benchmarks.mutants", description=__doc__)
    listed = read()
    wrong = [line for fault in listed for line in mistakes(fault)]
    chosen = [f for f in listed if not settings.only or any(part in f.file + f.wrong for part in settings.only)]
    if not chosen:
        wrong.append(f"no fault is about {', '.join(settings.only)}")
    if wrong:
        print("\n".join(f"error: {line}" for line in wrong), file=sys.stderr)
        return 2
    about = record.machine("benchmarks.mutants") | commit()
    digests = {fault: fault.digest(ROOT) for fault in listed}
    rows = known(settings.state)
    left = [fault for fault in chosen if digests[fault] not in rows]
    try:
        for fault, row in attempts(left, settings) if left else ():
            rows[digests[fault]] = row
            _note(settings.state, {"digest": digests[fault], "row": row})
            by = ", ".join(row["caught by"]) or "SURVIVED"
            print(f"{fault.file}: {fault.wrong}: {by} ({row['seconds']} s)", flush=True)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = [rows[digests[fault]] for fault in listed if digests[fault] in rows]
    caught = sum(bool(row["caught by"]) for row in found)
    print(f"{len(found)} of {len(listed)} faults tried, {caught} caught, {len(found) - caught} survived")
    if len(found) == len(listed):
        counts = {"faults": len(found), "caught": caught, "survived": len(found) - caught}
        record.write(settings.output, {**about, **counts, "rows": found})
        settings.output.with_suffix(".md").write_text(table(found), encoding="utf-8")
    return int(any(not row["caught by"] and "survives" not in row for row in found))


if __name__ == "__main__":
    sys.exit(main())
