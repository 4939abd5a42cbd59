"""The shadow run from end to end, on the real digits with a tiny network."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.digits_runs import ALONE, SHADOW
from training.certificates.history import open_history
from training.data.data_sets import load_digits
from training.engine.loop import evaluate
from training.evidence.audit import audit
from training.experiments.validate import validate
from training.gating.gates import Gates
from training.networks import ResNet


@pytest.fixture(scope="module")
def run(digits_run):
    return digits_run("shadow")


def read(folder, name):
    return json.loads((folder / name).read_text())


def state(folder, network="gated"):
    """The last state of a network of the run, loaded as anyone would."""
    *_, path = sorted((folder / "checkpoints").glob(f"{network}-*.pt"))  # a run of over a minute leaves several
    return torch.load(path, weights_only=True)["state"]


def test_every_file_is_there_and_readable(run):
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "environment.json",
        "scalars.jsonl",
        "gates.zarr",
        "checkpoints",
        ".lock",
        "gate_paths.json",
        "table.json",
        "report.md",
    }
    assert read(run, "config.json")["tracker"] == vars(SHADOW.tracker)
    assert read(run, "environment.json")["packages"]["torch"]
    assert "| half-plane |" in (run / "report.md").read_text()


def test_the_table_is_that_of_the_histories(run):
    table, history = read(run, "table.json"), open_history(run / "gates.zarr")
    assert history.step.values.tolist() == list(range(5, 133, 5))
    for kind, rows in audit(history, 20).items():
        assert table[kind] == [vars(row) for row in rows]
    assert table["steps"] == 132 and table["epochs"] == 3
    assert table["units"][0]["gates"] == 14 and table["layers"][0]["gates"] == 3
    assert "sha256" in table["data"]


def test_gates_die_in_it(run):
    """Otherwise the other tests of the run would say little."""
    theta = open_history(run / "gates.zarr").theta.values
    assert (theta[-1] < 0.01).any() and ((theta >= 0) & (theta <= 1)).all()


def test_theta_is_held_at_its_start(run):
    theta = open_history(run / "gates.zarr").theta
    assert (theta.sel(step=slice(0, 20)) == np.float32(0.9)).all() and (theta.sel(step=25) != np.float32(0.9)).any()


def test_weights_move_and_the_loss_falls(run):
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert [(line["network"], line["epoch"]) for line in lines] == [
        (name, epoch) for name in ("gated", "ungated") for epoch in (1, 2, 3)
    ]
    ungated = [line["loss"] for line in lines if line["network"] == "ungated"]
    assert ungated[2] < ungated[1] < ungated[0] < 2.5
    torch.manual_seed(0)
    start = ResNet(8, 2, channels=1).state_dict()
    end = state(run)["network"]
    for name, value in start.items():
        assert not torch.equal(value, end[name]), name


def test_the_ungated_network_is_reported_beside_it(run):
    table = read(run, "table.json")
    assert table["ungated"]["steps"] == table["gated"]["steps"] == 132
    assert 0.1 < table["ungated"]["accuracy"] <= 1


def test_the_checkpoint_has_the_reported_accuracy_and_gates(run):
    found = state(run)
    net = ResNet(8, 2, channels=1)
    gates = Gates(net)
    net.load_state_dict(found["network"])
    gates.theta.data = found["gates"]["theta"]
    assert found["position"]["epoch"] == 3
    table = read(run, "table.json")["gated"]
    gates.decide()
    assert evaluate(net, load_digits(), 32) == table["accuracy"]
    assert evaluate(net, load_digits(), 360) == table["accuracy"]  # the batch does not matter
    on = gates.decided().tolist()
    assert (table["units_on"], table["layers_on"]) == (sum(on[:14]), sum(on[14:]))


def test_the_same_seed_gives_the_same_bits_and_another_does_not(run, digits_run, tmp_path):
    same = validate(replace(ALONE, out=tmp_path / "same"))
    other = digits_run("seed1")
    first, again, third = (open_history(folder / "gates.zarr") for folder in (run, same, other))
    assert first.identical(again)
    assert not first.theta.equals(third.theta)
    accuracy = [read(folder, "table.json")["gated"]["accuracy"] for folder in (run, same)]
    assert accuracy[0] == accuracy[1]
    assert "ungated" not in read(same, "table.json")
    weights = [state(folder)["network"] for folder in (run, same)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
