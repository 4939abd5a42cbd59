"""Many seeds: each run is what it would be alone, what is done is skipped, other settings are refused."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

import training.experiments.seeds
from training.certificates.tracker import TrackerSettings
from training.engine.config import RunConfig
from training.errors import InputError
from training.experiments.seeds import resume_any, validate_seeds
from training.experiments.validate import resume, validate
from training.runtime.checkpoints import Checkpoints


def config(out):
    tracker = TrackerSettings(warmup=20, window=10, every=5)
    small = {"network": "resnet8", "width": 2, "epochs": 1, "batch": 32, "nu": 3.0, "gate_lr": 2.0}
    return RunConfig(out=out, tracker=tracker, ungated=False, seed=3, seeds=2, jobs=1, **small)


def weights(run):
    return Checkpoints(run / "checkpoints", "gated").last()[1]["network"]


@contextlib.contextmanager
def here(jobs):
    """The calls of a pool, made one after the other in this process; pools have tests of their own."""
    assert jobs == 1
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.slow
def test_seeds_are_the_runs_they_would_be_alone_and_are_made_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training.experiments.seeds, "processes", here)
    folder = validate_seeds(config(tmp_path / "both"))
    assert sorted(path.name for path in folder.glob("seed?")) == ["seed3", "seed4"]
    threads = torch.get_num_threads()
    alone = validate(replace(config(tmp_path / "alone"), seed=4, seeds=1, threads=1))
    torch.set_num_threads(threads)
    expected, found = weights(alone), weights(folder / "seed4")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    result = json.loads((folder / "evidence.json").read_text())
    assert [run["seed"] for run in result["runs"]] == [3, 4]
    assert "seed4: " in capsys.readouterr().err

    (folder / "evidence.json").unlink()
    before = (folder / "seed3" / "table.json").stat().st_mtime_ns
    monkeypatch.setattr(training.experiments.seeds, "processes", None)  # nothing is left to run
    resume_any(folder)
    assert not (folder / "checkpoints").exists(), "a folder of runs is no run"
    with pytest.raises(InputError, match="must hold one run; it holds those of 2 seeds"):
        resume(folder)
    assert (folder / "seed3" / "table.json").stat().st_mtime_ns == before
    assert (folder / "evidence.json").exists()
    with pytest.raises(InputError, match="holds runs of other settings"):
        validate_seeds(replace(config(folder), nu=1.0))
