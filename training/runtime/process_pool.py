"""A pool of spawned processes makes several calls at once, and ends when the process that began it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

__all__ = ["processes"]


@contextlib.contextmanager
def processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes; if the block raises, calls that have not begun are cancelled.

    Calls that have begun are waited for, except where the block is interrupted: then their processes end at once, as
    if killed. What they write must be whole at any time: every file is written under another name first.

    A process that is killed has no time to end those of its pool, which would finish their calls and then wait for
    ever: they watch it themselves, and end when it does.

    Args:
        jobs: how many calls at once, ≥ 1.
    """
    context = multiprocessing.get_context("spawn")  # forked, torch's threads would hang
    with ProcessPoolExecutor(jobs, context, initializer=_end_with_parent) as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            end_now(pool)
            raise
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def end_now(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool, and cancel what they had to do."""
    workers = list((pool._processes or {}).values())  # it has no name of its own for them before Python 3.14
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()


def _end_with_parent() -> None:
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a process of a pool
    parent.join()
    os._exit(1)  # at once, as if killed too
