"""Places where the runs of a comparison are made: here one after another, in processes, or on a Dask cluster.

Each of the three gives back every run as it ends, with what stopped it, if anything did: one run that diverges does not
keep the others from being made.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from training.errors import InputError
from training.experiments.compare.one_run import Run, make
from training.runtime.process_pool import processes
from training.runtime.progress import Progress

__all__ = ["Ended", "in_processes", "on_cluster", "one_after_another", "worker"]

#: How long a scheduler may take to answer.
PATIENCE = "10s"
#: A run, and why it ended without a result, if it did.
Ended = tuple[Run, str | None]
#: Makes runs that do not depend on each other.
Worker = Callable[[Sequence[Run]], Iterator[Ended]]


@contextlib.contextmanager
def worker(jobs: int, cluster: str | None) -> Iterator[Worker]:
    """Return what makes the runs.

    Args:
        jobs: how many at once, in processes; 1: here.
        cluster: address of a Dask scheduler; None: on this machine.

    Raises:
        InputError: if the cluster cannot be reached.
    """
    if cluster is not None:
        with on_cluster(cluster) as send:
            yield send
    elif jobs > 1:
        yield lambda runs: in_processes(runs, jobs)
    else:
        yield one_after_another


def attempt(run: Run, quiet: bool) -> str | None:
    """Make a run; why it could not be made, in a line."""
    try:
        make(run, quiet)
    except InputError as error:
        return str(error)
    except (OSError, torch.OutOfMemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def one_after_another(runs: Sequence[Run]) -> Iterator[Ended]:
    """Make the runs in this process, each with its own progress."""
    for run in runs:
        why = attempt(run, quiet=False)
        if why is not None:
            print(f"{run.name}: {why}", file=sys.stderr, flush=True)
        yield run, why


def in_processes(runs: Sequence[Run], jobs: int) -> Iterator[Ended]:
    """Make the runs in so many processes at once."""
    with processes(min(jobs, len(runs)) or 1) as pool:
        waiting: dict[Future[str | None], Run] = {pool.submit(attempt, run, True): run for run in runs}
        yield from _as_they_end(as_completed(waiting), waiting, BrokenProcessPool)


@contextlib.contextmanager
def on_cluster(address: str) -> Iterator[Worker]:
    """Make the runs on the workers of a Dask scheduler, which see the folders under the same paths.

    Raises:
        InputError: without dask.distributed, or if nothing answers at the address.
    """
    try:
        import distributed
    except ImportError:
        raise InputError("cluster needs dask.distributed: pip install -e '.[cluster]' in the clone") from None
    try:
        client = distributed.Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(f"cluster must be the address of a Dask scheduler that answers; got {address!r}") from error
    with client:

        def send(runs: Sequence[Run]) -> Iterator[Ended]:
            # Not pure: a run is the files that it leaves, not a value that could be kept from an earlier call.
            waiting: dict[Any, Run] = {client.submit(attempt, run, True, pure=False): run for run in runs}
            if not client.scheduler_info()["workers"]:
                print("the cluster has no workers yet: waiting for some", file=sys.stderr, flush=True)
            yield from _as_they_end(distributed.as_completed(list(waiting)), waiting, distributed.KilledWorker)

        yield send


def _as_they_end(ended: Iterator[Any], waiting: dict[Any, Run], lost: type[Exception]) -> Iterator[Ended]:
    with Progress("runs", len(waiting)) as progress:
        for future in ended:
            run = waiting[future]
            try:
                why = future.result()
            except lost:  # of several at once, nobody can tell whose process it was
                why = (
                    "the process that made it, or one beside it, was killed (out of memory?): the same command goes on"
                )
            progress.note(f"{run.name}: {why or 'done'}")
            progress.advance()
            yield run, why
