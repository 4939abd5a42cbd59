"""Processes of a pool end with what began them, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.runtime.process_pool import processes

BEGIN = """
import os, time
from training.runtime.process_pool import processes

if __name__ == "__main__":
    with processes(2) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)
"""

COMMAND = """
import os, signal, sys, time
from dynamics.commands.ending import concluded
from training.runtime.process_pool import processes

def work():
    with processes(2) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
    sys.exit(concluded(work))
"""


def alive(pid):
    """A process that has ended and waits for somebody to ask how it went (Z) does nothing any more."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks processes up in /proc")
def test_a_killed_process_leaves_none_behind(tmp_path):
    (tmp_path / "begin.py").write_text(BEGIN)
    command, path = [sys.executable, tmp_path / "begin.py"], {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, env=os.environ | path, stdout=subprocess.PIPE, text=True) as begun:
        worker = int(begun.stdout.readline())
        assert alive(worker)
        begun.send_signal(signal.SIGKILL)
        begun.wait()
    until = time.monotonic() + 20
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks processes up in /proc")
def test_an_interrupted_process_ends_at_once_with_all_of_them(tmp_path):
    """The signal goes to the parent alone, as from `kill`: a terminal would send it to all of them.

    SIGTERM is an interruption, too (`tests/dynamics/commands/test_ending.py`).
    """
    (tmp_path / "begin.py").write_text(COMMAND)
    command, path = [sys.executable, tmp_path / "begin.py"], {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        command, env=os.environ | path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as begun:
        worker = int(begun.stdout.readline())
        time.sleep(0.5)
        start = time.monotonic()
        begun.send_signal(signal.SIGINT)
        assert begun.wait(30) == 130
        assert time.monotonic() - start < 10
        assert begun.stderr.read() == "interrupted\n"
    assert not alive(worker)


def test_calls_that_have_not_begun_are_cancelled_by_an_error():
    waiting = []
    with pytest.raises(RuntimeError, match="stop"), processes(1) as pool:
        waiting = [pool.submit(time.sleep, 0.2) for _ in range(50)]
        raise RuntimeError("stop")
    assert all(call.done() for call in waiting)
    assert waiting[-1].cancelled()
