"""Histories on disk: what goes in comes out, whenever the writer is killed."""

import dataclasses
import os
import shutil
import signal

import numpy as np
import pytest
import zarr

from tests.support.forks import FORKS
from training.certificates.history import History, open_history, sound_history
from training.certificates.record import Record
from training.errors import InputError

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


@pytest.mark.parametrize("at", [0, len(COLUMNS) // 2, len(COLUMNS) - 1])
def test_a_flush_that_failed_is_made_again_as_a_whole(tmp_path, monkeypatch, at):
    """As on a full disk: an array has its new length, not its new values, and the next flush is to be none of this."""
    history = History(tmp_path / "gates.zarr", NAMES, IS_LAYER)
    history.append(record(5))
    history.flush()
    history.append(record(10))
    append, failing = zarr.Array.append, history._arrays[COLUMNS[at]]

    def full(self, values, axis=0):
        if self is failing:
            self.resize((2, 3))
            raise OSError(28, "No space left on device")
        return append(self, values, axis)

    monkeypatch.setattr(zarr.Array, "append", full)
    with pytest.raises(OSError, match="No space"):
        history.flush()
    monkeypatch.undo()
    history.append(record(15))
    history.flush()
    agrees(open_history(tmp_path / "gates.zarr"), [5, 10, 15])


def _killed(path):
    history = History(path, NAMES, IS_LAYER)
    history.append(record(5))
    history.append(record(10))
    history.flush()
    history.append(record(15))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
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


def test_a_run_folder_stands_for_its_store(tmp_path):
    with History(tmp_path / "gates.zarr", NAMES, IS_LAYER) as history:
        history.append(record(5))
    assert open_history(str(tmp_path)).identical(open_history(tmp_path / "gates.zarr"))


def test_a_store_of_another_format_is_not_opened(tmp_path):
    """Version 2 may name a codec that runs code; nothing of such a store may be decoded."""
    root = zarr.create_group(tmp_path / "gates.zarr", zarr_format=2, attributes={"gates": NAMES})
    root.create_array("step", data=np.array([5]))
    with pytest.raises(InputError, match="is damaged"):
        open_history(tmp_path / "gates.zarr")
    with pytest.raises(InputError, match="is damaged"):
        History.resumed(tmp_path / "gates.zarr", 5)


def sound(step, **changes):
    """A record as a run makes it, of which unit[1] has left."""
    gone = np.array([False, True, False])
    values = {name: np.where(gone, np.nan, 1.0) for name in COLUMNS}
    values |= {"theta": np.where(gone, 0.0, 0.5), "in_box": ~gone, "coupling": np.array([np.inf, np.nan, 1.0])}
    for name in ("rho_in", "coupling_bilinear", "margin_bilinear"):
        values[name] = np.array([1.0, np.nan, np.nan])
    for name, (gate, value) in changes.items():
        values[name][gate] = value
    return Record(step=step, **values)


def stored(path, *records):
    with History(path / "gates.zarr", NAMES, IS_LAYER) as history:
        for each in records:
            history.append(each)
    return path


def test_what_a_run_records_is_sound(tmp_path):
    path = stored(tmp_path, sound(5), sound(10))
    assert sound_history(path).identical(open_history(path))


@pytest.mark.parametrize(
    "name, gate, value",
    [("theta", gate, value) for gate in range(3) for value in (np.nan, -0.1, 1.1, np.inf)]
    + [(name, gate, np.nan) for name in ("rho", "cost", "coupling", "margin") for gate in (0, 2)]
    + [(name, 0, np.nan) for name in ("rho_in", "coupling_bilinear", "margin_bilinear")]
    + [(name, 0, value) for name in ("rho", "rho_in", "cost") for value in (-1.0, np.inf)],
)
def test_what_no_run_records_is_named(tmp_path, name, gate, value):
    path = stored(tmp_path, sound(5), sound(10, **{name: (gate, value)}))
    with pytest.raises(InputError) as refused:
        sound_history(path)
    assert f"{name} of {NAMES[gate]} is" in str(refused.value) and "at step 10" in str(refused.value)


@pytest.mark.parametrize("steps", [(5, 5), (10, 5)])
def test_steps_that_do_not_increase_are_refused(tmp_path, steps):
    with pytest.raises(InputError, match="its steps must increase"):
        sound_history(stored(tmp_path, *map(sound, steps)))


@pytest.mark.parametrize("name", ["theta", "in_box", "rho", "coupling_bilinear", "margin"])
def test_a_column_that_is_missing_is_named(tmp_path, name):
    path = stored(tmp_path, sound(5))
    shutil.rmtree(path / "gates.zarr" / name)
    with pytest.raises(InputError, match=f"it lacks the column {name}$"):
        sound_history(path)


@pytest.mark.parametrize("parent", [0, 3, -2])
def test_a_parent_that_is_no_branch_is_named(tmp_path, parent):
    with History(tmp_path / "gates.zarr", NAMES, IS_LAYER, np.array([2, parent, -1])) as history:
        history.append(sound(5))
    with pytest.raises(InputError, match=rf"parent of unit\[1\] must be −1 .*; got {parent}$"):
        sound_history(tmp_path)
