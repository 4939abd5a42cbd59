"""Run folders: nothing overwritten, nothing half written."""

import contextlib
import json
import math
import os
import sys

import pytest
import torch

from tests.support.small_disk import small_disk
from training.errors import InputError
from training.runtime.atomic_files import check_replaceable, write_atomically, write_json
from training.runtime.environment import environment
from training.runtime.run_folder import RunFolder


def test_a_new_or_empty_folder_is_taken(tmp_path):
    first = RunFolder(tmp_path / "a" / "b")
    assert first.path.is_dir()
    first.close()
    RunFolder(tmp_path / "a" / "b").close()


def test_a_folder_that_holds_anything_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").write_text("1")
    for path in (tmp_path, tmp_path / "mine"):
        with pytest.raises(InputError, match="exists already: choose another --out"):
            RunFolder(path)
    assert (tmp_path / "mine").read_text() == "1"


def test_a_place_where_no_folder_can_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/run cannot be created .* choose another --out"):
        RunFolder(tmp_path / "file" / "run")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "table.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    write_atomically(path, b"[]")
    assert path.read_bytes() == b"[]"
    assert [p.name for p in tmp_path.iterdir()] == ["table.json"]


@pytest.mark.parametrize(
    "held, free",
    [
        ({}, True),
        ({"x.json": {"spread": 1, "runs": []}, "x.md": ""}, True),
        ({"x.json": {"runs": []}}, False),
        ({"x.json": [1]}, False),
        ({"x.md": "mine"}, False),
    ],
)
def test_a_result_is_written_over_nothing_but_its_like(tmp_path, held, free):
    for name, value in held.items():
        (tmp_path / name).write_text(json.dumps(value))
    with (
        contextlib.nullcontext() if free else pytest.raises(InputError, match=r"out must be new, or an earlier result")
    ):
        check_replaceable(tmp_path / "x.json", ("spread", "runs"))


@pytest.mark.parametrize("length", [1, 20_000])
def test_json_comes_back(tmp_path, length):
    value = {"names": ["ρ"] * length, "value": 0.1}
    with RunFolder(tmp_path / "run") as folder:
        folder.json("x.json", value)
    assert json.loads((tmp_path / "run" / "x.json").read_text()) == value
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"x.json", ".lock"}


@pytest.mark.parametrize("size", [0, 10])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, size):
    path = tmp_path / "table.json"
    write_json(path, [1])
    with pytest.raises(OSError, match="File too large"), small_disk(size):
        write_json(path, list(range(100)))
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["table.json"]


def begun(path):
    with RunFolder(path) as folder:
        folder.json("config.json", {})
    return path


@pytest.mark.parametrize("name", ["checkpoints", "gates.zarr", "gates.zarr/theta", "scalars.jsonl", "table.json"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_out_of_a_run_folder_is_refused(tmp_path, name, absolute):
    run, target = begun(tmp_path / "run"), tmp_path / "elsewhere"
    target.mkdir()
    link = run / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target if absolute else os.path.relpath(target, link.parent))
    with pytest.raises(InputError, match=rf"{name} is a link out of the run folder, to .*elsewhere: remove it"):
        RunFolder(run, existing=True)
    assert not list(target.iterdir())


def test_a_link_to_a_run_folder_and_one_within_it_are_none_out_of_it(tmp_path):
    run = begun(tmp_path / "run")
    (run / "here").mkdir()
    (run / "checkpoints").symlink_to("here")
    (tmp_path / "latest").symlink_to(run)
    RunFolder(tmp_path / "latest", existing=True).close()


@pytest.mark.parametrize("name", ["checkpoints", "gates.zarr"])
def test_a_file_in_place_of_a_folder_is_one_line(tmp_path, name):
    run = begun(tmp_path / "run")
    (run / name).write_text("")
    with pytest.raises(InputError, match=rf"run/{name} must be a folder; it is a file: remove it"):
        RunFolder(run, existing=True)


@pytest.mark.parametrize("name", ["config.json", "scalars.jsonl", "table.json", ".lock"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path, name):
    run = begun(tmp_path / "run")
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(InputError, match="must be a file; it is something else"):
        RunFolder(run, existing=True)


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_is_forgotten_leaves_what_was_before(tmp_path, there):
    if there:
        (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    folder.json("config.json", {})
    (folder.path / "checkpoints").mkdir()
    folder.forget()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == (["run"] if there else [])


def test_scalars_are_appended_line_by_line(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        folder.scalars(step=1, loss=0.5)
        folder.scalars(step=2, loss=math.pi)
    lines = (folder.path / "scalars.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": math.pi}]


def test_one_process_at_a_time_is_in_a_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.json("config.json", {})
    with pytest.raises(InputError, match="in use by another process"):
        RunFolder(folder.path, existing=True)
    folder.close()
    RunFolder(folder.path, existing=True).close()


def test_what_a_kill_at_the_start_leaves_is_no_run(tmp_path):
    (tmp_path / "config.json.partial").write_text("{")
    (tmp_path / ".lock").write_text("")
    RunFolder(tmp_path).close()
    with pytest.raises(InputError, match=r"holds no config.json: there is no run to resume"):
        RunFolder(tmp_path, existing=True)


def test_scalars_after_a_step_are_forgotten_and_so_is_half_a_line(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        for network, step in (("gated", 1), ("gated", 2), ("ungated", 9)):
            folder.scalars(network=network, step=step)
        folder.scalars(network="gated", step=1, epoch=1)
        with (folder.path / "scalars.jsonl").open("a") as file:
            file.write('{"network": "gat')
        for epoch in (1, 0):  # the first step ends the first epoch: done with the epoch's end, then before it
            folder.cut_scalars("gated", 1, epoch)
            lines = [json.loads(line) for line in (folder.path / "scalars.jsonl").read_text().splitlines()]
            left = [{"network": "gated", "step": 1}, {"network": "ungated", "step": 9}]
            assert lines == left + [{"network": "gated", "step": 1, "epoch": 1}] * epoch


def test_environment_is_plain_and_complete():
    found = json.loads(json.dumps(environment()))
    assert found["packages"]["torch"] == torch.__version__.partition("+")[0] or found["packages"]["torch"]
    assert {"command", "git", "python", "machine", "started"} <= set(found)


@pytest.mark.parametrize(
    "program, expected", [("/somewhere/training/__main__.py", "training"), ("/somewhere/own.py", "own.py")]
)
def test_a_spawned_process_names_the_command_it_was_begun_by(program, expected, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", [program, "validate", "--prune.rule", "θ < 0.8"])
    assert environment()["command"].partition(" ")[2] == f"-m {expected} validate --prune.rule 'θ < 0.8'"
