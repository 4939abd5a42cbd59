"""Where the runs of a comparison are made: here one after another, in processes, or on a Dask cluster.

Each of the three gives back every run as it ends, with what stopped it, if anything did: one run that diverges does not
keep the others from being made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from typing import Any

from training.compare.one_run import Run, make
from training.errors import InputError
from training.progress import Progress
from training.side_by_side import processes

__all__ = ["Ended", "in_processes", "on_cluster", "one_after_another", "worker"]

#: How long a scheduler may take to answer.
PATIENCE = "10s"
#: A run, and why it ended without a result, if it did.
Ended = tuple[Run, str | None]
#: Makes runs that do not depend on each other.
Worker = Callable[[Sequence[Run]], Iterator[Ended]]


@contextlib.contextmanager
def worker(jobs: int, cluster: str | None) -> Iterator[Worker]:
    """What makes the runs.

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
    return None


def one_after_another(runs: Sequence[Run]) -> Iterator[Ended]:
    """In this process, each with its own progress."""
    for run in runs:
        yield run, attempt(run, quiet=False)


def in_processes(runs: Sequence[Run], jobs: int) -> Iterator[Ended]:
    """In so many processes at once."""
    with processes(min(jobs, len(runs)) or 1) as pool:
        waiting: dict[Future[str | None], Run] = {pool.submit(attempt, run, True): run for run in runs}
        yield from _as_they_end(as_completed(waiting), waiting)


@contextlib.contextmanager
def on_cluster(address: str) -> Iterator[Worker]:
    """On the workers of a Dask scheduler, which see the folders under the same paths.

    Raises:
        InputError: without dask.distributed, or if nothing answers at the address.
    """
    try:
        import distributed
    except ImportError:
        raise InputError("cluster needs dask.distributed: pip install 'pruning-dynamics[cluster]'") from None
    try:
        client = distributed.Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(f"cluster must be the address of a Dask scheduler that answers; got {address!r}") from error
    with client:

        def send(runs: Sequence[Run]) -> Iterator[Ended]:
            # Not pure: a run is the files that it leaves, not a value that could be kept from an earlier call.
            waiting: dict[Any, Run] = {client.submit(attempt, run, True, pure=False): run for run in runs}
            yield from _as_they_end(distributed.as_completed(list(waiting)), waiting)

        yield send


def _as_they_end(ended: Iterator[Any], waiting: dict[Any, Run]) -> Iterator[Ended]:
    with Progress("runs", len(waiting)) as progress:
        for future in ended:
            run, why = waiting[future], future.result()
            progress.note(f"{run.name}: {why or 'done'}")
            progress.advance()
            yield run, why
