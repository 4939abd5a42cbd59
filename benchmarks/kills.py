"""`kill -9` at random moments of a run, and on with it: does it end as the run that nobody killed?

Each trial forks a process that makes the run, kills it, checks that what lies in the folder can be read, and goes on
with it, killing it again until `kills` are spent; then it lets it end. A marker in shared memory says what the victim
was doing: a third of the kills waits for the middle of a checkpoint's write, a third for a removal, the rest is
blind. The run writes checkpoints twenty times a second and removes gates at every record, so that all of it is met.

    python -m benchmarks.kills --kills 50
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks import record
from training.certificates.history import open_history
from training.certificates.tracker import TrackerSettings
from training.engine.config import PruneSettings, RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.loop import Training
from training.experiments.validate import resume, validate
from training.runtime.checkpoints import Checkpoints, read

TRAINS, WRITES, REMOVES, STARTS = range(4)
NAMES = ("in a step", "inside a checkpoint's write", "inside a removal", "while starting or ending")
marker = mmap.mmap(-1, 1)  # shared with the forked process


@dataclass(frozen=True)
class Kills:
    """Kill a digits run again and again."""

    kills: int = 50
    """How many in all."""
    a_run: int = 2
    """How many a run suffers before it may end."""
    seed: int = 0
    """Of the moments."""
    output: Path = Path(__file__).parent / "results"
    """Folder for the result file."""


def config(out: Path) -> RunConfig:
    return RunConfig(
        out=out,
        network="resnet8",
        width=8,
        mode="prune",
        prune=PruneSettings(rule="half-plane", every=5),
        epochs=3,
        batch=32,
        nu=4.0,
        alpha=0.2,
        gate_lr=1.0,
        hold=20,
        checkpoint_every=0.05,
        threads=1,
        tracker=TrackerSettings(warmup=20, window=20, every=5),
    )


@contextlib.contextmanager
def marked(value: int):  # type: ignore[no-untyped-def]
    before, marker[0] = marker[0], value
    yield
    marker[0] = before


def watched(owner: Any, name: str, value: int) -> None:
    """Let a method say in the marker that it is at work."""
    original = getattr(owner, name)

    def method(*arguments: Any, **keywords: Any) -> Any:
        with marked(value):
            return original(*arguments, **keywords)

    setattr(owner, name, method)


def child(work: Callable[[], object]) -> int:
    """Fork a process that does the work, and return its number."""
    marker[0] = STARTS
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        work()
        status = 0
    finally:
        os._exit(status)


def kill(pid: int, want: int | None, draw: random.Random, longest: float) -> int | None:
    """Kill at a moment of the wanted kind; what it was doing, None if it had ended before."""
    deadline = time.monotonic() + draw.uniform(0, longest)
    while time.monotonic() < deadline or (want is not None and marker[0] != want):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return None
        if want is None:
            time.sleep(0.001)
    if want is not None:
        time.sleep(draw.uniform(0, 0.002 if want == WRITES else 0.0002))  # into the middle of it
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return marker[0]


def readable(folder: Path) -> None:
    """Everything in the folder of a killed run opens."""
    for name in ("config.json", "environment.json", "table.json"):
        if (folder / name).exists():
            json.loads((folder / name).read_text())
    for path in (folder / "checkpoints").glob("*.pt"):
        read(path)
    if Checkpoints(folder / "checkpoints", "gated").last() is not None:
        open_history(folder / "gates.zarr").load()


def end(folder: Path) -> dict[str, Any]:
    """Final weights, momentum, gates, tracker and histories of a finished run."""
    states = {}
    for network in ("gated", "ungated"):
        found = Checkpoints(folder / "checkpoints", network).last()
        assert found is not None, f"{folder} has no {network} checkpoint"
        for clock in ("seconds", "processor_seconds"):
            del found[1]["position"][clock]
        states[network] = found[1]
    history = open_history(folder / "gates.zarr").load()
    return states | {"history": {str(name): torch.tensor(values.values) for name, values in history.items()}}


def same(a: Any, b: Any) -> bool:
    """Bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy(), equal_nan=a.is_floating_point())
    return a == b


def run(options: Kills, say: Callable[[str], None]) -> dict[str, Any]:
    watched(Checkpoints, "write", WRITES)
    watched(GateLearner, "remove", REMOVES)
    watched(Training, "_step", TRAINS)
    draw, found, unequal = random.Random(options.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        start = time.monotonic()
        _, status = os.waitpid(child(partial(go_on, whole)), 0)
        longest = time.monotonic() - start
        assert status == 0, "the run itself fails"
        expected = end(whole)
        removed = len(expected["history"]["theta"][0]) - len(expected["gated"]["gates"]["origin"])
        say(f"a run takes {longest:.1f} s and removes {removed} gates")
        trial = done = 0
        while done < options.kills:
            folder = Path(place) / f"trial{trial}"
            for _ in range(min(options.a_run, options.kills - done)):
                want = (None, WRITES, REMOVES)[done % 3]
                at = kill(child(partial(go_on, folder)), want, draw, longest * (0.5 if want == REMOVES else 0.9))
                if at is None:
                    break  # it had ended
                readable(folder) if folder.exists() else None
                done += 1
                found[NAMES[at]] += 1
            _, status = os.waitpid(child(partial(go_on, folder)), 0)
            equal = status == 0 and same(expected, end(folder))
            unequal += not equal
            trial += 1
            say(f"run {trial}: {done}/{options.kills} kills, {'identical' if equal else 'NOT IDENTICAL'}")
    return {"kills": done, "runs": trial, "not identical": unequal, "unreadable": 0, "moments": dict(found)}


def go_on(folder: Path) -> None:
    resume(folder) if (folder / "config.json").exists() else validate(config(folder))


def main() -> int:
    options = tyro.cli(Kills, prog="python -m benchmarks.kills")
    about = record.machine("benchmarks.kills")
    result = run(options, lambda line: print(line, flush=True))
    record.write(options.output / "kills.json", {**about, **result})
    print(result)
    return 1 if result["not identical"] else 0


if __name__ == "__main__":
    sys.exit(main())
