"""Histories on disk: what goes in comes out, whenever the writer is killed."""

import dataclasses
import os
import signal

import numpy as np
import pytest

from tests.support.forks import FORKS
from training.certificates.history import History, open_history
from training.certificates.record import Record

COLUMNS = [field.name for field in dataclasses.fields(Record) if field.name != "step"]
NAMES = ["unit[0]", "unit[1]", "branch"]
IS_LAYER = np.array([False, False, True])


def record(step):
    draw = np.random.default_rng(step)
    values = {name: draw.normal(size=3) for name in COLUMNS} | {"in_box": draw.random(3) < 0.5}
    values["rho_in"][2] = np.nan
    return Record(step=step, **values)


def agrees(history, steps):
    assert history.step.values.tolist() == list(steps)
    assert history.gate.values.tolist() == NAMES and history.is_branch.values.tolist() == IS_LAYER.tolist()
    for i, step in enumerate(steps):
        for name in COLUMNS:
            expected = np.asarray(getattr(record(step), name)).astype(history[name].dtype)
            np.testing.assert_array_equal(history[name].values[i], expected, err_msg=name)


def test_round_trip_over_several_chunks(tmp_path):
    steps = range(5, 5 * 151, 5)
    with History(tmp_path / "gates.zarr", NAMES, IS_LAYER) as history:
        for i, step in enumerate(steps):
            history.append(record(step))
            if i % 37 == 0:
                history.flush()
    agrees(open_history(tmp_path / "gates.zarr"), steps)


def test_flushes_by_itself_in_time(tmp_path):
    history = History(tmp_path / "gates.zarr", NAMES, IS_LAYER, flush_after=0.0)
    history.append(record(5))
    agrees(open_history(tmp_path / "gates.zarr"), [5])


def test_an_empty_store_and_an_empty_flush_are_readable(tmp_path):
    history = History(tmp_path / "gates.zarr", NAMES, IS_LAYER)
    history.flush()
    agrees(open_history(tmp_path / "gates.zarr"), [])


def test_an_exception_flushes_what_is_in_memory(tmp_path):
    with pytest.raises(KeyboardInterrupt), History(tmp_path / "gates.zarr", NAMES, IS_LAYER) as history:
        history.append(record(5))
        raise KeyboardInterrupt
    agrees(open_history(tmp_path / "gates.zarr"), [5])


def test_a_flush_cut_short_at_any_array_loses_that_flush_only(tmp_path):
    last = len(COLUMNS)  # the step, written after the columns
    for cut in (0, 1, last // 2, last - 1, last):
        path = tmp_path / f"{cut}.zarr"
        history = History(path, NAMES, IS_LAYER)
        history.append(record(5))
        history.flush()
        history.append(record(10))
        names = [*COLUMNS, "step"]

        class KilledError(Exception):
            pass

        class Cut:
            dtype = np.float32

            def append(self, _):
                raise KilledError

        history._arrays[names[cut]] = Cut()
        with pytest.raises(KilledError):
            history.flush()
        agrees(open_history(path), [5])


def _killed(path):
    history = History(path, NAMES, IS_LAYER)
    history.append(record(5))
    history.append(record(10))
    history.flush()
    history.append(record(15))
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_between_flushes(tmp_path):
    process = FORKS.Process(target=_killed, args=(tmp_path / "gates.zarr",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    agrees(open_history(tmp_path / "gates.zarr"), [5, 10])


def test_an_existing_store_is_not_overwritten(tmp_path):
    path = tmp_path / "gates.zarr"
    with History(path, NAMES, IS_LAYER) as history:
        history.append(record(5))
    with pytest.raises(ValueError, match=r"exists|contains"):
        History(path, NAMES, IS_LAYER)
    agrees(open_history(path), [5])


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_history(tmp_path / "nowhere")
