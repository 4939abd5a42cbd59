"""Run folders: nothing overwritten, nothing half written."""

import json
import math

import pytest
import torch

from training.errors import InputError
from training.rundir import RunFolder, environment, write_atomically, write_json


def test_a_new_or_empty_folder_is_taken(tmp_path):
    assert RunFolder(tmp_path / "a" / "b").path.is_dir()
    RunFolder(tmp_path / "a" / "b")


def test_a_folder_that_holds_anything_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").write_text("1")
    for path in (tmp_path, tmp_path / "mine"):
        with pytest.raises(InputError, match="exists already: choose another --out"):
            RunFolder(path)
    assert (tmp_path / "mine").read_text() == "1"


def test_a_place_where_no_folder_can_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/run cannot be made .* choose another --out"):
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


@pytest.mark.parametrize("length", [1, 20_000])
def test_json_comes_back(tmp_path, length):
    value = {"names": ["ρ"] * length, "value": 0.1}
    RunFolder(tmp_path / "run").json("x.json", value)
    assert json.loads((tmp_path / "run" / "x.json").read_text()) == value
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["x.json"]


def test_scalars_are_appended_line_by_line(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.scalars(step=1, loss=0.5)
    folder.scalars(step=2, loss=math.pi)
    lines = (folder.path / "scalars.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": math.pi}]


def test_checkpoints_are_replaced_and_hold_weights_only(tmp_path):
    folder = RunFolder(tmp_path / "run")
    for epoch in (1, 2):
        folder.checkpoint({"epoch": epoch, "weights": torch.full((3,), float(epoch))})
    found = torch.load(folder.path / "checkpoint.pt", weights_only=True)
    assert found["epoch"] == 2 and found["weights"].tolist() == [2.0] * 3
    assert [p.name for p in folder.path.iterdir()] == ["checkpoint.pt"]


def test_environment_is_plain_and_complete():
    found = json.loads(json.dumps(environment()))
    assert found["packages"]["torch"] == torch.__version__.partition("+")[0] or found["packages"]["torch"]
    assert {"command", "git", "python", "machine", "started"} <= set(found)
