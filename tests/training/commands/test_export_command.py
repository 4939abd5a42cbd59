"""`python -m training export RUN`: from a run folder, whichever mode, to files that give the run's own accuracy."""

import json
from dataclasses import replace

import pytest
import torch

from tests.support.small_disk import small_disk
from training.certificates.tracker import TrackerSettings
from training.commands import export as export_command
from training.commands.export import export_run
from training.data.data_sets import load_digits
from training.engine import stored_network as restored
from training.engine.build import network_of
from training.engine.config import PRESETS, PruneSettings, to_json
from training.engine.gate_learner import GateLearner
from training.engine.journal import Journal
from training.engine.loop import Training
from training.engine.stored_network import restored as read_run
from training.errors import InputError
from training.runtime.progress import Progress
from training.runtime.run_folder import RunFolder

#: Removes about a third of the gates, and is done in a second.
SMALL = replace(
    PRESETS["digits"],
    network="resnet8",
    width=4,
    mode="prune",
    prune=PruneSettings(rule="θ < 0.5", every=20),
    nu=4.0,
    alpha=0.1,
    epochs=6,
    lr=0.2,
    gate_lr=0.3,
    hold=60,
    tracker=TrackerSettings(warmup=60, window=20, every=20),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished prune run on digits, and what trained it."""
    path, digits = tmp_path_factory.mktemp("runs") / "run", load_digits()
    with RunFolder(path) as folder:
        folder.json("config.json", to_json(SMALL))
        folder.json("environment.json", {"command": "python -m training validate --mode prune"})
        training = Training(SMALL, network_of(SMALL, digits), digits, GateLearner)
        with Progress("gated", training.steps) as progress, Journal(folder, "gated", training, progress) as journal:
            training.run(progress, journal)
    return path, training


def test_the_network_read_back_is_the_one_that_was_trained(run):
    path, training = run
    assert training.method.gates.total > len(training.method.gates.theta) > 0  # some gates were removed
    read = read_run(path)
    assert torch.equal(read.gates.theta, training.method.gates.theta)
    assert torch.equal(read.gates.origin, training.method.gates.origin)
    for (name, ours), (other, theirs) in zip(
        read.network.state_dict().items(), training.network.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(ours, theirs)
    assert read.full.full_macs == training.method.full.full_macs
    assert read.about["step"] == read.about["steps"] == training.steps


@pytest.mark.slow
def test_the_command_exports_the_network_with_the_accuracy_of_the_run(run, capsys):
    path, training = run
    export_run([str(path)])
    about = json.loads((path / "export" / "export.json").read_text())
    counts = training.method.counts()
    assert about["accuracy"]["value"] == pytest.approx(training.at.accuracy)
    assert about["complexity"]["macs"] == counts["macs"] < about["complexity"]["macs_full"] == counts["macs_full"]
    assert about["run"]["settings"]["network"] == about["network"] == "resnet8"
    said = capsys.readouterr().out
    assert said.startswith("# resnet8, pruned while it trained\n") and said.endswith(f"exported: {path / 'export'}\n")
    assert "Trained for 132 steps, by `python -m training validate --mode prune`." in said
    with pytest.raises(InputError, match=r"folder .*export exists already"):
        export_run([str(path)])


def test_what_is_no_run_is_refused_in_one_line(run, tmp_path):
    path, _ = run
    with pytest.raises(InputError, match=r"run folder .* holds no config.json: no run to read"):
        export_run([str(tmp_path)])
    (tmp_path / "config.json").write_text((path / "config.json").read_text())
    with pytest.raises(InputError, match=r"run folder .* holds no intact checkpoint of a gated network"):
        export_run([str(tmp_path)])
    settings = json.loads((path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"network": "resnet14"}))
    (tmp_path / "checkpoints").symlink_to(path / "checkpoints")
    with pytest.raises(InputError, match=r"the checkpoint in .* is not of the network in its config.json: ") as raised:
        export_run([str(tmp_path)])
    assert "\n" not in str(raised.value)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is damaged"):
        export_run([str(tmp_path)])
    assert not (tmp_path / "export").exists()


def test_packages_and_folder_are_looked_at_before_anything_is_read(run, tmp_path, monkeypatch):
    path, _ = run
    monkeypatch.setattr(export_command, "restored", lambda *_: pytest.fail("read too early"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export_run([str(path), "--out", str(tmp_path)])
    monkeypatch.setattr("training.export.packages.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[export\]' in the clone"):
        export_run([str(path), "--out", str(tmp_path / "new")])


@pytest.mark.slow
@pytest.mark.parametrize("size", [200, 3_000, 20_000])
def test_a_full_disk_leaves_nothing_of_an_export(run, tmp_path, size):
    path, _ = run
    with pytest.raises(OSError, match="File too large"), small_disk(size):
        export_run([str(path), "--out", str(tmp_path / "new" / "export")])
    assert not list(tmp_path.iterdir())


def test_the_data_may_have_moved(run, monkeypatch, tmp_path):
    path, _ = run
    seen = []
    monkeypatch.setattr(restored, "load", lambda name, folder: seen.append((name, folder)) or load_digits())
    read_run(path)
    read_run(path, tmp_path)
    assert seen == [("digits", SMALL.data_folder), ("digits", tmp_path)]
