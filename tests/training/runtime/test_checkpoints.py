"""Checkpoints: atomic, checked, two kept; a run that goes on from one is the run that was never interrupted."""

import contextlib
import hashlib
import io
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import training.commands.validate
from tests.support.small_disk import small_disk
from training.certificates.history import open_history
from training.certificates.tracker import TrackerSettings
from training.commands.resume import resume_run
from training.engine.config import PruneSettings, RunConfig
from training.engine.journal import Journal
from training.errors import InputError
from training.experiments.validate import resume, validate
from training.runtime.checkpoints import Checkpoints, read


def written(folder, *steps, warn=print):
    checkpoints = Checkpoints(folder, "gated", warn)
    return checkpoints, [checkpoints.write(step, {"weights": torch.full((3,), float(step))}) for step in steps]


def test_the_last_two_stay_and_the_newest_is_read(tmp_path):
    checkpoints, paths = written(tmp_path / "checkpoints", 1, 20, 300)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == sorted(p.name for p in paths[1:])
    step, state = checkpoints.last()
    assert step == 300 and state["weights"].tolist() == [300.0] * 3
    assert torch.load(paths[-1], weights_only=True)["step"] == 300  # a plain file of torch's
    assert Checkpoints(tmp_path / "checkpoints", "ungated").last() is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_file_is_named_and_the_one_before_it_used(tmp_path, damage):
    told = []
    checkpoints, (_, last) = written(tmp_path, 1, 2, warn=told.append)
    data = bytearray(last.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    if damage == "gone":
        last.unlink()
    else:
        last.write_bytes({"cut": data[:-100], "flipped": data, "empty": b""}[damage])
        with pytest.raises(InputError, match="is damaged: its contents do not match the digest in its name"):
            read(last)
    step, state = checkpoints.last()
    assert step == 1 and state["weights"].tolist() == [1.0] * 3
    assert len(told) == (damage != "gone") and all(str(last) in line for line in told)


def test_two_intact_ones_stay_after_damage_too(tmp_path):
    """A run that goes on from before a damaged file must not keep that file in the place of an intact one."""
    checkpoints, (_, last) = written(tmp_path, 100, 200, warn=lambda text: None)
    last.write_bytes(b"")
    assert checkpoints.last()[0] == 100
    written(tmp_path, 150, 160)
    assert [read(path)["step"] for path in checkpoints.paths()] == [160, 150]


class Unwanted:
    def __reduce__(self):
        return print, ("code of a stranger",)


def test_the_checkpoint_before_is_named_only_where_there_is_one(tmp_path):
    told = []
    checkpoints, paths = written(tmp_path, 1, 2, warn=told.append)
    for path in paths:
        path.write_bytes(b"")
    assert checkpoints.last() is None
    assert [text.rpartition(": ")[2] for text in told] == [
        "the checkpoint before it is used",
        "there is none before it",
    ]


@pytest.mark.parametrize("size", [0, 500])
def test_a_full_disk_leaves_the_checkpoints_that_there_are(tmp_path, size):
    checkpoints, paths = written(tmp_path, 1, 2)
    with pytest.raises(OSError, match="File too large"), small_disk(size):
        checkpoints.write(3, {"weights": torch.zeros(3)})
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert checkpoints.last()[0] == 2


@pytest.mark.parametrize("content", [{"a": torch.ones(2)}, [1], Unwanted()])
def test_foreign_files_are_refused_and_their_code_is_not_run(tmp_path, content, capsys):
    buffer = io.BytesIO()
    if isinstance(content, Unwanted):
        torch.save({"format": content}, buffer)
    else:
        torch.save(content, buffer)
    name = f"gated-00000007-{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}.pt"
    (tmp_path / name).write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"refused|not one of this package's"):
        read(tmp_path / name)
    assert Checkpoints(tmp_path, "gated", lambda text: None).last() is None
    assert "stranger" not in capsys.readouterr().out
    (tmp_path / "other.pt").write_bytes(pickle.dumps(1))
    with pytest.raises(InputError, match=r"its name must be NETWORK-STEP-DIGEST\.pt"):
        read(tmp_path / "other.pt")


class Stopped(BaseException):
    """As sudden as a kill, but inside the test's process."""


def config(out, mode):
    """Strong pressure, so that gates leave within 88 steps of a tiny network; a checkpoint after every step."""
    return RunConfig(
        out=out,
        network="resnet8",
        width=4,
        mode=mode,
        prune=PruneSettings(rule="half-plane", every=10),
        nu=3.0,
        alpha=0.2,
        gate_lr=2.0,
        epochs=2,
        batch=32,
        hold=20,
        checkpoint_every=1e-9,
        tracker=TrackerSettings(warmup=20, window=20, every=5),
    )


SELDOM = {"checkpoint_every": 600.0}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    monkeypatch.setattr(training.commands.validate, "draw_gate_paths", lambda folder: None)


def end(folder, network):
    """Everything that a run leaves but its clock."""
    (_, state) = Checkpoints(folder / "checkpoints", network).last()
    state["position"].pop("seconds"), state["position"].pop("processor_seconds")
    lines = [line.split('"seconds"') for line in (folder / "scalars.jsonl").read_text().splitlines()]
    return state, [line[0] for line in lines]


def same(a, b):
    """Bit for bit, tensors in nested dictionaries and lists."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy(), equal_nan=a.is_floating_point())
    return a == b


@pytest.fixture(scope="module")
def shadow(tmp_path_factory):
    """A finished run that nothing stopped, with checkpoints at its end only; to be read, or copied and changed."""
    return validate(replace(config(tmp_path_factory.mktemp("runs") / "whole", "shadow"), **SELDOM))


#: In steps done; 44 ends an epoch, 50 is a removal, after 88 the ungated network trains. More: `benchmarks.kills`.
STOPS = {"shadow": (33,), "prune": (1, 44, 50, 88 + 30)}


@pytest.mark.slow
@pytest.mark.parametrize("mode", STOPS)
def test_a_run_stopped_again_and_again_ends_as_one_that_was_not(tmp_path, mode, shadow, monkeypatch):
    whole = shadow if mode == "shadow" else validate(replace(config(tmp_path / "whole", mode), **SELDOM))
    stops = iter(STOPS[mode])
    done, at = [0], [next(stops), 44]
    save, log = Journal.save, Journal.log

    def stopping(self, training, last):
        save(self, training, last)
        done[0] = training.at.step + 88 * (self.network == "ungated")
        if done[0] == at[0] and not last:
            at[0] = next(stops, None)
            raise Stopped

    def stopping_after_a_line(self, **values):
        log(self, **values)
        if values["step"] == at[1]:  # an epoch's line is written, and no checkpoint knows that it ended
            at[1] = None
            raise Stopped

    monkeypatch.setattr(Journal, "save", stopping)
    monkeypatch.setattr(Journal, "log", stopping_after_a_line)
    broken = tmp_path / "broken"
    with contextlib.suppress(Stopped):
        validate(config(broken, mode))
    while at != [None, None]:
        with contextlib.suppress(Stopped):
            resume(broken)
    resume(broken)
    for network in ("gated", "ungated"):
        (state, lines), (other, others) = end(whole, network), end(broken, network)
        assert same(state, other) and lines == others
    assert len(state["network"]) > 0
    assert open_history(whole / "gates.zarr").identical(open_history(broken / "gates.zarr"))
    if mode == "prune":
        gates = end(whole, "gated")[0]["gates"]
        assert len(gates["origin"]) < open_history(whole / "gates.zarr").sizes["gate"]


def test_a_finished_run_is_left_as_it_is(tmp_path, shadow, capsys):
    folder = shutil.copytree(shadow, tmp_path / "run")
    trained = set(folder.rglob("*"))
    resume_run([str(folder)])  # what an interruption after the training left undone
    assert {path.name for path in set(folder.rglob("*")) - trained} == {"evidence.json", "evidence.md"}
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    resume_run([str(folder)])
    now = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == now
    assert "half-plane" in capsys.readouterr().out


def test_a_run_of_other_settings_is_refused(tmp_path, shadow):
    folder = shutil.copytree(shadow, tmp_path / "run")
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"width": 4', '"width": 5'))
    (folder / "table.json").unlink()
    with pytest.raises(InputError, match="are of another kind of run"):
        resume(folder)
    path = folder / "environment.json"
    known = path.read_text()
    path.write_text(known.replace("content sha256 ", "content sha256 f"))
    with pytest.raises(InputError, match="data must be those that the run began with"):
        resume(folder)
    path.write_text(known)
    path = folder / "config.json"
    path.write_text("{}")
    with pytest.raises(InputError, match="settings are of another version"):
        resume(folder)
