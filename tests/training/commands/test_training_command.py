"""`python -m training`: bad input gets one line and status 2, an interruption leaves a readable history."""

import re
import sys

import pytest

import training.commands.validate
import training.evidence.conclusion
from tests.support.small_disk import small_disk
from training.__main__ import COMMANDS, main
from training.certificates.history import open_history
from training.errors import InputError, RefutedError
from training.runtime.progress import Progress

SMALL = {
    "--network": "resnet8",
    "--width": "1",
    "--epochs": "2",
    "--batch": "64",
    "--hold": "0",
    "--tracker.warmup": "10",
    "--tracker.every": "5",
    "--tracker.window": "10",
}


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Call `main` as from a shell in an empty folder: (status, stdout, lines of stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training.commands.validate, "draw_gate_paths", lambda folder: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["training", *arguments])
        try:
            status = main()
        except SystemExit as exit_:
            status = exit_.code
        out, err = capsys.readouterr()
        return status, out, err.splitlines()

    return run


def validate(**changes):
    chosen = SMALL | {"--out": "run"} | {"--" + k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()}
    return ["validate", *(part for pair in chosen.items() for part in pair)]


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "usage"),
        (["frobnicate"], "unknown command 'frobnicate'"),
        (["validate", "--preset", "nope"], "unknown preset 'nope': choose one of digits"),
        (["validate", "--preset=nope"], "unknown preset 'nope'"),
        (["validate", "--preset"], "--preset"),
        (["validate", "--frob", "1"], "--frob"),
        (validate(epochs="many"), "--epochs"),
        (validate(lr="-0.1"), "lr must be > 0 and finite; got -0.1"),
        (validate(lr="nan"), "lr must be > 0 and finite; got nan"),
        (validate(gate_lr="0"), "gate_lr must be > 0"),
        (validate(gate_lr="inf"), "gate_lr must be > 0 and finite; got inf"),
        (validate(nu="-1"), "nu must be ≥ 0"),
        (validate(decay="nan"), "decay must be ≥ 0"),
        (validate(alpha="1.5"), "alpha must be in [0, 1]"),
        (validate(beta="nan"), "beta must be in [0, 1]"),
        (validate(momentum="1"), "momentum must be in [0, 1)"),
        (validate(theta_start="0"), "theta_start must be in (0, 1]"),
        (validate(theta_start="1.01"), "theta_start must be in (0, 1]; got 1.01"),
        (validate(theta_start="nan"), "theta_start must be in (0, 1]; got nan"),
        (validate(epochs="0"), "epochs must be ≥ 1"),
        (validate(batch="0"), "batch must be ≥ 1"),
        (validate(batch="1438"), "batch must be ≤ 1437"),
        (validate(seed="-1"), "seed must be ≥ 0"),
        (validate(seed="99999999999999999999999"), "seed must be ≥ 0 and below"),
        (validate(threads="-2"), "threads must be ≥ 0"),
        (validate(hold="44"), "hold must be ≤ tracker.warmup"),
        (validate(network="resnet9"), "network must be one of"),
        (validate(width="0"), "width must be ≥ 1"),
        (validate(optimizer="adam"), "optimizer 'adam' is not covered by the theory"),
        (validate(device="cuda:7"), "device 'cuda:7' is not usable here"),
        (validate(device="quantum"), "device 'quantum' is not usable here"),
        (validate(device="meta"), "device 'meta' is not usable here"),
        (validate(tracker__factor="nan"), "tracker.factor must be ≥ 1"),
        (validate(tracker__factor="0.9"), "tracker.factor must be ≥ 1"),
        (validate(tracker__window="4"), "tracker.window must be ≥ tracker.every"),
        (validate(tracker__warmup="1000"), "epochs must be ≥ 46, 1000 steps of which an epoch has 22"),
        (validate(tracker__warmup="41"), "epochs must be ≥ 3, 45 steps"),  # of 44 steps
        (validate(tracker__every="45", tracker__window="45"), "epochs must be ≥ 3, 45 steps"),
        (validate(seeds="1000000000"), "seeds must be ≥ 1 and ≤ 10000; got 1000000000"),
        (validate(seeds="2", jobs="100000"), "jobs must be ≥ 0 and ≤ 1024; got 100000"),
        (validate(threads="100000"), "threads must be ≥ 0 and ≤ 1024; got 100000"),
        (validate(width="100000000"), "width must be such that resnet8 fits into the"),
        (validate(width="10000000000"), "width must be such that resnet8 fits into the"),
        (validate(network="lenet-300-100", width="1000000"), "width must be such that lenet-300-100 fits into"),
        (["compare", "--seeds", "1000000000"], "seeds must be ≥ 1 and ≤ 10000; got 1000000000"),
        (["compare", "--jobs", "100000"], "jobs must be ≥ 1 and ≤ 1024; got 100000"),
        (["robustness", "--out", "x.json", "--seeds", "1000000000"], "seeds must be ≥ 1 and ≤ 10000"),
        (["resume"], "Missing from python -m training resume: PATH"),
        (["audit", "one", "two"], "two"),
        (["resume", "nowhere"], "run folder nowhere holds no config.json"),
        (["audit", "nowhere"], "nowhere is no finished run"),
        (validate(data="mnist"), "unknown data set 'mnist'"),
        (validate(data="cifar10", data_folder="missing"), "missing is no folder"),
        (validate(data="cifar10", data_folder=__file__), "is no folder"),
    ],
)
def test_bad_input_is_named_in_one_line_and_nothing_is_written(call, tmp_path, arguments, says):
    status, out, err = call(*arguments)
    assert status == 2
    assert len(err) == 1 and says in err[0], err
    assert not out
    assert not list(tmp_path.iterdir())


def test_truncated_data_is_named(call, tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / f"{name}.bin").write_bytes(bytes(5000))
    status, _, err = call(*validate(data="cifar10", data_folder=str(tmp_path)))
    assert status == 2 and len(err) == 1
    assert "data_batch_1.bin is truncated" in err[0] and "unpack CIFAR-10 afresh" in err[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "below a file"])
def test_a_run_folder_that_cannot_be_made_is_named(call, tmp_path, kind):
    place = tmp_path / "taken"
    if kind == "folder":
        place.mkdir()
        (place / "thesis.tex").write_text("mine")
    else:
        place.write_text("mine")
    status, _, err = call(*validate(out=str(place / "run" if kind == "below a file" else place)))
    assert status == 2 and len(err) == 1
    assert str(place) in err[0] and "choose another --out" in err[0]
    assert sum(1 for _ in tmp_path.rglob("*")) == (2 if kind == "folder" else 1)


@pytest.mark.parametrize("kind", ["new", "empty folder"])
def test_a_diverging_run_says_so_in_one_line_and_its_folder_is_free_again(call, tmp_path, kind):
    if kind == "empty folder":
        (tmp_path / "run").mkdir()
    status, _, err = call(*validate(lr="1e30"))
    assert status == 2
    assert err[-1].startswith("error: the loss diverged at step") and "lower lr" in err[-1]
    assert [str(path) for path in tmp_path.rglob("*")] == ([str(tmp_path / "run")] if kind == "empty folder" else [])


@pytest.mark.parametrize("size", [300, 2_000, 15_000])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(call, tmp_path, size):
    """At the settings, at a record or a table, and at a checkpoint."""
    with small_disk(size):
        status, _, err = call(*validate(), "--no-ungated", "--checkpoint-every", "0.001")
    assert status == 2, err
    assert err[-1].startswith("error: ") and "File too large; python -m training resume run goes on with it" in err[-1]
    assert not [line for line in err if "Traceback" in line]
    assert not list(tmp_path.rglob("*.partial"))
    begun = (tmp_path / "run" / "config.json").exists()
    assert begun == (size > 300)
    status, _, err = call("resume", "run") if begun else call(*validate(), "--no-ungated")
    assert status == 0, err
    assert (tmp_path / "run" / "evidence.json").exists()
    assert open_history(tmp_path / "run").step.values.tolist() == list(range(5, 45, 5))


def test_every_file_is_there_before_anything_is_printed(call, tmp_path, monkeypatch):
    there = []
    monkeypatch.setattr(
        "training.commands.validate.print_result",
        lambda result: there.extend(path.name for path in tmp_path.glob("run/*")),
    )
    monkeypatch.setattr(
        training.commands.validate, "draw_gate_paths", lambda folder: (folder / "gate_paths.png").write_text("")
    )
    status, _, _ = call(*validate(epochs="1"), "--no-ungated")
    assert status == 0
    assert {"table.json", "report.md", "gate_paths.json", "gate_paths.png", "evidence.json", "evidence.md"} <= set(
        there
    )


def test_a_picture_that_fails_comes_after_the_verdict_and_hides_no_refutation(call, tmp_path, monkeypatch):
    def failing(folder):
        assert (folder / "evidence.json").exists()
        raise InputError("its figure could not be drawn")

    monkeypatch.setattr(training.commands.validate, "draw_gate_paths", failing)
    status, out, err = call(*validate(epochs="1"), "--no-ungated")
    assert status == 2 and err[-1] == "error: its figure could not be drawn"
    assert "half-plane" in out and out.splitlines()[-1] == "run folder: run"

    def refuted(result, out):
        raise RefutedError("by 1 gates")

    monkeypatch.setattr(training.evidence.conclusion, "stop_if_refuted", refuted)
    status, out, err = call("resume", "run")
    assert status == 1 and "by 1 gates" in err[-1]


def test_a_run_in_which_nothing_can_die_says_so_before_it_starts(call):
    status, _, err = call(*validate(epochs="1", nu="0.001", gate_lr="0.001"), "--no-ungated")
    assert status == 0
    starts = ("no gate can fall to zero by its cost alone in this run", "gated: epoch 1/1")
    said, epoch = (next(i for i, line in enumerate(err) if line.startswith(start)) for start in starts)
    assert said < epoch
    assert re.search(r"  0:\d\d:\d\d so far, 0:00:00 left$", err[epoch])


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_no_error(call, flag):
    for arguments in ([flag], *([command, flag] for command in COMMANDS)):
        status, out, err = call(*arguments)
        assert status == 0 and "usage" in out and not err


def test_an_interruption_leaves_a_readable_history(call, tmp_path, monkeypatch):
    """Ctrl-C in step 33, after six records, none of which is on disk yet."""
    advance = Progress.advance

    def interrupted(self, steps=1):
        advance(self, steps)
        if self.done == 33:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", interrupted)
    status, _, err = call(*validate())
    assert status == 130
    assert err[-1] == "interrupted; python -m training resume run goes on with it"
    history = open_history(tmp_path / "run" / "gates.zarr")
    assert history.step.values.tolist() == [5, 10, 15, 20, 25, 30]
    assert bool(history.theta.notnull().all())
    assert not list((tmp_path / "run").glob("*.partial"))


def test_a_good_run_ends_with_the_table_and_the_folder(call, tmp_path):
    status, out, _ = call(*validate(epochs="1"), "--no-ungated")
    assert status == 0
    assert out.splitlines()[-1] == "run folder: run"
    assert "half-plane" in out and (tmp_path / "run" / "table.json").is_file()
