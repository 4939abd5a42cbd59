"""The comparison: what is missing is made and nothing twice, kills change nothing, bad input trains nothing."""

import json
import pickle
import re
import shutil
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
import torch

import training.experiments.compare.one_run
import training.experiments.compare.workers
from dynamics.commands.arguments import parse
from training.certificates.tracker import TrackerSettings
from training.commands.compare import compare
from training.data.data_sets import load_digits
from training.engine.build import network_of
from training.engine.callbacks import Callback
from training.engine.config import PRESETS, PruneSettings
from training.errors import InputError
from training.experiments.compare import COMPARISONS, Compare, planned
from training.experiments.compare.latex import escaped
from training.experiments.compare.settings import comparison
from training.experiments.compare.workers import _as_they_end
from training.experiments.validate import resume
from training.gating.network_structure import structure_of
from training.methods import registry
from training.methods.amount import macs_without, removed_at
from training.methods.base import training_run
from training.methods.registry import TARGETS
from training.runtime.checkpoints import Checkpoints
from training.runtime.progress import Progress

METHODS = ("while-training:ratio=0.5", "prune-and-retrain:ratio=0.5")


def small(out, **changes):
    settings = {"network": "resnet8", "width": 2, "epochs": 2, "retrain": 1, "batch": 128, "threads": 1}
    return replace(COMPARISONS["digits"], **({"out": out, "methods": METHODS} | settings | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two systems and the network without pruning, two seeds."""
    return compare(small(tmp_path_factory.mktemp("compare") / "out", seeds=2), draw=False)


def result(folder, method, seed=0):
    return json.loads((folder / method / f"seed{seed}" / "result.json").read_text())


def weights(folder, method, network, seed=0):
    return Checkpoints(folder / method / f"seed{seed}" / "checkpoints", network).last()[1]["network"]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- what is made


def test_the_table_has_a_row_for_each_system_and_says_what_its_runs_say(finished):
    table = json.loads((finished / "table.json").read_text())
    assert [row["label"] for row in table["rows"]] == ["none", *METHODS]
    assert [row["pretrained"] for row in table["rows"]] == [False, False, True]
    assert [(row["epochs"], row["retrain"]) for row in table["rows"]] == [(2, 0), (2, 0), (3, 1)]
    for row in table["rows"]:
        each = [result(finished, row["label"].replace(":", ","), seed) for seed in (0, 1)]
        full = [result(finished, "none", seed) for seed in (0, 1)]
        assert row["seeds"] == [0, 1]
        assert row["accuracy"]["values"] == [one["accuracy"] for one in each]
        assert row["macs"]["values"] == [one["macs"] / of["macs"] for one, of in zip(each, full, strict=True)]
        assert row["training_flops"]["values"] == [
            one["flops"] / of["flops"] for one, of in zip(each, full, strict=True)
        ]
        assert row["time"]["values"] == [one["seconds"] / of["seconds"] for one, of in zip(each, full, strict=True)]
        processor = [one["processor_seconds"] / of["processor_seconds"] for one, of in zip(each, full, strict=True)]
        assert row["processor_time"]["values"] == processor
    none, during, after = table["rows"]
    assert none["macs"]["values"] == none["time"]["values"] == [1, 1] and during["macs"]["mean"] < 0.9
    beyond = after["own_training_flops"]["mean"]
    assert after["training_flops"]["mean"] == pytest.approx(1 + beyond) and 0.2 < beyond < 0.5  # an epoch more
    assert {path.name for path in finished.iterdir()} >= {"table.md", "table.tex", "none", "while-training,ratio=0.5"}


def test_the_table_says_what_made_its_runs_whoever_put_it_together(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    path = copy / "none" / "seed1" / "environment.json"
    other = json.loads(path.read_text())
    other |= {"git": {"commit": "f" * 40, "modified": True}, "machine": other["machine"] | {"processor": "another"}}
    path.write_text(json.dumps(other))
    compare(small(copy, seeds=2), draw=False)
    table = json.loads((copy / "table.json").read_text())
    here, there = table["runs"]
    assert there["runs"] == ["none, seed 1"] and there["git"]["commit"] == "f" * 40
    assert len(here["runs"]) == 5 and here["device"] == "cpu" and here["machine"]["threads"] == 1
    text = (copy / "table.md").read_text()
    assert "(commit ffffffffff, modified; another, " in text and "times do not compare" in text
    whole = json.loads((finished / "table.json").read_text())
    assert there["runs"] == ["none, seed 1"] and "1 run made with" in text and "5 runs made with" in text
    assert len(whole["runs"]) == 1 and len(whole["runs"][0]["runs"]) == 6
    assert "times do not compare" not in (finished / "table.md").read_text()
    none, during, after = table["rows"]
    assert table["settings"]["lr"] == 0.1 and none["changed"] == during["changed"] == {}
    assert after["changed"] == {"epochs": 3}
    own = result(copy, METHODS[1].replace(":", ","), 0)
    runs = [result(copy, row["label"].replace(":", ","), seed) for row in table["rows"] for seed in (0, 1)]
    before = sum(run["taken_over"]["seconds"] for run in runs if run["taken_over"])
    assert table["seconds"] == pytest.approx(sum(run["seconds"] for run in runs) - before) and own["taken_over"]


def test_a_trained_network_taken_over_is_the_run_that_trains_its_own(finished):
    chosen = small(finished)
    own = training_run(registry.method("prune-and-retrain", ratio=0.5, retrain=1), chosen.base(1), load_digits())
    trained = own.run(Progress("test", 1, quiet=True), Callback())
    found = result(finished, "prune-and-retrain,ratio=0.5", 1)
    assert [found[name] for name in ("accuracy", "loss", "flops", "steps")] == [
        trained.accuracy,
        trained.loss,
        trained.flops,
        trained.steps,
    ]
    assert same(weights(finished, "prune-and-retrain,ratio=0.5", "gated", 1), own.network.state_dict())
    none = result(finished, "none", 1)
    assert found["taken_over"] == {name: none[name] for name in ("flops", "seconds")}
    assert found["seconds"] > none["seconds"]


def test_where_the_settings_differ_nothing_is_taken_over(tmp_path):
    plan = planned(small(tmp_path / "out"))
    assert [[run.first is not None for run in runs] for runs in plan.runs] == [[False], [False], [True]]
    assert [[run.label for run in wave] for wave in plan.waves()] == [["none", METHODS[0]], [METHODS[1]]]
    assert plan.runs[2][0].first == plan.runs[0][0].folder


def test_what_is_done_is_left_and_what_is_missing_is_made(finished, tmp_path, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("seed*/*.json")}
    (finished / "table.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(training.experiments.compare.one_run, "Training", None)  # nothing is left to train
        compare(small(finished, seeds=2), draw=False)
    assert (finished / "table.json").exists()
    more = (*METHODS, "smaller:tolerance=0.9")
    compare(small(finished, methods=more), draw=False)
    table = json.loads((finished / "table.json").read_text())
    assert [row["label"] for row in table["rows"]] == ["none", *more] and table["seeds"] == [0]
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_a_comparison_that_was_stopped_ends_as_one_that_was_not(finished, tmp_path, monkeypatch):
    """Eleven steps an epoch: the plain network trains for 22, then retraining takes 11. It is stopped at its first."""
    chosen = small(tmp_path / "out", checkpoint_every=1e-9, methods=METHODS[1:])
    advance, done = Progress.advance, []

    def stops(self, steps=1):
        done.append(steps)
        if len(done) == 23:
            raise KeyboardInterrupt
        advance(self, steps)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", stops)
        with pytest.raises(KeyboardInterrupt):
            compare(chosen, draw=False)
    compare(chosen, draw=False)
    for method, network in (("none", "ungated"), ("prune-and-retrain,ratio=0.5", "gated")):
        assert same(weights(tmp_path / "out", method, network), weights(finished, method, network))
        one, other = result(tmp_path / "out", method), result(finished, method)
        assert all(one[name] == other[name] for name in ("accuracy", "loss", "flops", "flops_full", "steps", "macs"))
    lines = (tmp_path / "out" / "none" / "seed0" / "scalars.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    lines = (tmp_path / "out" / "prune-and-retrain,ratio=0.5" / "seed0" / "scalars.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if "removed" in line] == [22]


def test_certified_gates_are_one_of_the_systems(tmp_path, monkeypatch):
    tracker = TrackerSettings(warmup=4, window=4, every=2)  # as short as the run
    quick = replace(PRESETS["digits"], tracker=tracker, hold=0, gate_lr=2.0, prune=PruneSettings(every=2))
    monkeypatch.setitem(PRESETS, "digits", quick)
    compare(small(tmp_path / "out", methods=("certified-gates:nu=20",)), draw=False)
    found = result(tmp_path / "out", "certified-gates,nu=20")
    assert found["settings"]["nu"] == 20 and not found["pretrained"]
    assert 0 < found["macs"] < result(tmp_path / "out", "none")["macs"] and found["flops"] < found["flops_full"]
    assert (tmp_path / "out" / "certified-gates,nu=20" / "seed0" / "gates.zarr").is_dir()


def test_a_run_names_the_command_that_asked_for_it_wherever_it_is_made(tmp_path, monkeypatch):
    """A cluster's worker is another program."""
    monkeypatch.setattr(sys, "argv", ["training", "compare", "--cluster", "tcp://head:1"])
    ((run,),) = planned(small(tmp_path / "out", methods=("none",), epochs=1)).runs
    monkeypatch.setattr(sys, "argv", ["dask", "worker", "tcp://head:1"])
    training.experiments.compare.one_run.make(pickle.loads(pickle.dumps(run)), quiet=True)
    made = json.loads((run.folder / "environment.json").read_text())["command"]
    assert made == result(tmp_path / "out", "none")["command"]
    assert made.endswith(" compare --cluster tcp://head:1")


@pytest.mark.slow
def test_runs_in_processes_are_the_same(finished, tmp_path):
    compare(small(tmp_path / "out", jobs=2, methods=("none",)), draw=False)
    assert same(weights(tmp_path / "out", "none", "ungated"), weights(finished, "none", "ungated"))


@pytest.mark.slow
def test_runs_on_a_cluster_are_the_same(finished, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        chosen = small(tmp_path / "out", cluster=cluster.scheduler_address)
        compare(replace(chosen, methods=METHODS[1:]), draw=False)
    assert same(
        weights(tmp_path / "out", "prune-and-retrain,ratio=0.5", "gated"),
        weights(finished, "prune-and-retrain,ratio=0.5", "gated"),
    )


def test_a_run_that_cannot_be_made_does_not_stop_the_others(tmp_path):
    none = small(tmp_path / "out", methods=("none",))
    compare(none, draw=False)
    for path in (tmp_path / "out" / "none" / "seed0" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"without a result: prune-and-retrain.*must hold a finished run"):
        compare(small(tmp_path / "out"), draw=False)
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert [row["label"] for row in rows] == ["none", METHODS[0]]


def test_what_begins_with_a_run_without_a_result_is_not_tried(tmp_path):
    with pytest.raises(InputError) as raised:
        compare(small(tmp_path / "out", lr=1e6, methods=METHODS[1:]), draw=False)
    diverged, not_made = str(raised.value).split("; ")
    assert "none, seed 0: the loss is " in diverged and "lower lr = 1000000.0" in diverged
    assert re.search(r"prune-and-retrain.*, seed 0: not made, as .*none.seed0 has no result", not_made)
    assert not (tmp_path / "out" / "prune-and-retrain,ratio=0.5").exists()


@pytest.mark.slow
def test_a_killed_process_is_told_and_the_others_count(tmp_path):
    runs = [each[0] for each in planned(small(tmp_path / "out")).runs]
    done, killed = Future(), Future()
    done.set_result(None)
    killed.set_exception(BrokenProcessPool())
    ended = dict(_as_they_end(iter([done, killed]), {done: runs[0], killed: runs[1]}, BrokenProcessPool))
    assert ended[runs[0]] is None and "was killed" in ended[runs[1]]


def test_a_full_disk_stops_its_run_only(tmp_path, monkeypatch):
    def full(run, quiet):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.experiments.compare.workers, "make", full)
    ended = list(
        training.experiments.compare.workers.one_after_another([each[0] for each in planned(small(tmp_path)).runs])
    )
    assert [why for _, why in ended] == ["OSError: [Errno 28] No space left on device"] * 3


def test_systems_that_are_not_asked_for_now_are_named(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    compare(small(tmp_path / "copy", seeds=2, methods=METHODS[:1]), draw=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "not asked for and not in this table: prune-and-retrain,ratio=0.5" in told


def test_a_rule_with_a_comma_and_other_letters_can_be_named(tmp_path):
    name = "certified-gates:rule=half-plane, escape ≤ 0.1,nu=2"
    (_, entry) = planned(small(tmp_path, methods=(name,), epochs=40)).entries
    assert (entry.settings.rule, entry.settings.nu) == ("half-plane, escape ≤ 0.1", 2)
    assert escaped(name) == r"certified-gates:rule=half-plane, escape $\le$ 0.1,nu=2"
    assert escaped("certified-gates:rule=θ < 0.5") == r"certified-gates:rule=$\theta$ \textless{} 0.5"


# ---- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 0.0}, r"share must be in \(0, 1\); got 0.0"),
        ({"share": 1.0}, r"share must be in \(0, 1\); got 1.0"),
        ({"seeds": 0}, "seeds must be ≥ 1 and ≤ 10000; got 0"),
        ({"retrain": 0}, "retrain must be ≥ 1; got 0"),
        ({"epochs": 0}, "epochs must be ≥ 1; got 0"),
        ({"seed": -1}, "seed must be ≥ 0"),
        ({"preset": "huge"}, "preset must be one of digits, cifar10-quick, cifar10-full; got 'huge'"),
        ({"jobs": 2, "cluster": "tcp://there:8786"}, "jobs must be 1 with a cluster"),
        ({"device": "meta"}, "device 'meta' is not usable here"),
        ({"network": "resnet9"}, "network must be one of"),
        ({"batch": 2000}, "batch must be ≤ 1437"),
        ({"methods": ("magic",)}, "methods must be among none, .*; got 'magic'"),
        ({"methods": ("none", "smaller", "smaller")}, "methods must be named once each; 'smaller' is there 2 times"),
        ({"methods": ("while-training:ratio=1.5",)}, r"while-training:ratio=1.5: ratio must be in \(0, 1\); got 1.5"),
        ({"methods": ("while-training:ratio=0.9",)}, "ratio must leave each group a unit"),
        ({"methods": ("while-training:ratio=half",)}, "ratio of method while-training must be float; got 'half'"),
        ({"methods": ("while-training:speed=2",)}, "method while-training must be followed by :SETTING=VALUE"),
        ({"methods": ("while-training:ratio",)}, "each once, of ratio, criterion, first, last, images; got 'ratio'"),
        ({"methods": ("none:ratio=0.5",)}, "of none; got 'ratio=0.5'"),
        ({"methods": ("while-training:",)}, "each once, of ratio, .*; got ''"),
        (
            {"methods": ("smaller:share=0.5", "smaller:share=0.50")},
            "'smaller:share=0.50' is another name of one before",
        ),
        (
            {"methods": ("layer-pruning",), "network": "lenet-300-100", "epochs": 80},
            "has none: .*; --methods can leave",
        ),
        ({"network": "vgg16"}, "size of the images must be a multiple of 32"),
        (
            {"methods": ("while-training:ratio=0.5,criterion=l3",)},
            "criterion must be one of l1, activation, random; got 'l3'",
        ),
        (
            {"methods": ("while-training",), "share": 0.01},
            "method while-training: share = 0.01 .* within 2%",
        ),
        ({"methods": ("torch-pruning",), "share": 0.01}, "method torch-pruning: share = 0.01 .* must be met within 2%"),
        ({"methods": ("smaller",), "share": 0.01}, "method smaller: share = 0.01 .* must be met within 5%"),
        ({"methods": ("certified-gates",)}, "method certified-gates: epochs must be ≥ 28, 301 steps"),
        ({"epochs": 1}, "method while-training:ratio=0.5: epochs must be ≥ 2"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(changes, message, tmp_path):
    with pytest.raises(InputError, match=message) as raised:
        compare(small(tmp_path / "out", **changes))
    assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"out must be a folder that can be written to; got .*file"):
        compare(small(tmp_path / "file" / "out"))


@pytest.mark.parametrize("kind", ["run", "seeds", "folder of seeds", "somebody's", "robustness"])
def test_a_folder_with_something_else_in_it_is_refused_and_left_as_it_is(tmp_path, kind):
    out = tmp_path / "out"
    files = {
        "run": ["config.json", "table.json", "checkpoints/gated.pt"],
        "seeds": ["config.json", "seed0/config.json", "seed0/table.json"],
        "folder of seeds": ["many/config.json", "many/seed0/config.json", "table.json"],
        "somebody's": ["table.json", "thesis/seeds/oak.txt"],
        "robustness": ["config.json", "none-x1-seed0.json"],
    }[kind]
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text('"mine"')
    with pytest.raises(InputError, match=r"out must be a new folder, or that of a comparison; got .*out, which holds"):
        compare(small(out, methods=("none",)), draw=False)
    left = [path for path in out.rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(out)) for path in left) == sorted(files)
    assert {path.read_text() for path in left} == {'"mine"'}


@pytest.mark.parametrize("left", [".lock", "config.json.partial"])
def test_a_comparison_killed_at_its_start_goes_on(tmp_path, left, monkeypatch):
    (tmp_path / "out" / "none" / "seed0").mkdir(parents=True)
    (tmp_path / "out" / "none" / "seed0" / left).write_text("")
    monkeypatch.setattr("training.commands.compare._make", lambda plan: ["none was made"])
    monkeypatch.setattr("training.commands.compare._write", lambda plan, draw: None)
    with pytest.raises(InputError, match="none was made"):
        compare(small(tmp_path / "out", methods=("none",)), draw=False)


def test_torchrun_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="start it without torchrun, with --jobs or --cluster"):
        compare(small(tmp_path / "out"))


def test_a_folder_with_runs_of_other_settings_is_refused(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with pytest.raises(InputError, match=r"seed0 holds a run with lr = 0\.1, not 0\.2: choose another --out"):
        compare(small(finished, lr=0.2))
    with pytest.raises(
        InputError, match=r"prune-and-retrain,ratio=0\.5.seed0 holds a run with settings = .*'retrain': 1"
    ):
        compare(small(finished, retrain=2))
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_run_of_a_comparison_is_not_resumed_as_another_kind_of_run(finished):
    with pytest.raises(InputError, match="is part of a comparison: continue it by python -m training compare"):
        resume(finished / "none" / "seed0")


def test_a_cluster_that_does_not_answer_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training.experiments.compare.workers, "PATIENCE", "0.2s")
    with pytest.raises(InputError, match="cluster must be the address of a Dask scheduler that answers; got 'tcp://"):
        compare(small(tmp_path / "out", cluster="tcp://127.0.0.1:1", methods=("none",)))
    assert not (tmp_path / "out").exists()


# ---- presets


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "cifar10-quick"])
def test_a_preset_fits_every_system(name, tmp_path):
    """On the digits in place of CIFAR-10, whose files are not here."""
    chosen = replace(comparison(name), data="digits", device="cpu", epochs=80, out=tmp_path, seeds=2)
    plan = planned(chosen)
    digits = load_digits()
    full = structure_of(network_of(chosen.base(0), digits), digits.shape)
    assert {entry.settings.name for entry in plan.entries} == set(registry.METHODS)
    assert all(len(runs) == 2 for runs in plan.runs)
    for each in plan.entries:
        target = TARGETS.get(each.settings.name)
        assert target != "share" or each.settings.share == chosen.share
        if target == "ratio":
            left = macs_without(removed_at(each.settings.ratio, full), full) / full.full_macs
            assert left == pytest.approx(chosen.share, rel=0.02)


def test_the_command_line_has_the_settings():
    given = ["--preset", "cifar10-quick", "--methods", "none", "while-training:criterion=random", "--seeds", "3"]
    chosen = parse(Compare, "test", given, comparison("cifar10-quick"))
    assert chosen.methods == ("none", "while-training:criterion=random")
    assert (chosen.seeds, chosen.network, chosen.folder.name) == (3, "resnet20", "compare-cifar10-quick")
