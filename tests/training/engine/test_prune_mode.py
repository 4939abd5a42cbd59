"""Prune mode: gates leave while training, the counts follow, and what is left is what was reported."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dynamics.models.complexity import training_flops
from training.certificates.history import open_history
from training.certificates.tracker import TrackerSettings
from training.commands.audit import audit_again
from training.engine.config import PRESETS, PruneSettings, RunConfig, from_json, to_json
from training.errors import InputError
from training.experiments.validate import validate
from training.gating.gates import Gates
from training.gating.multiples import in_multiples
from training.networks import ResNet


def config(out, **changes):
    chosen = {"network": "resnet8", "width": 4, "epochs": 3, "batch": 32, "nu": 4.0, "alpha": 0.2, "gate_lr": 1.0}
    tracker = TrackerSettings(warmup=20, window=10, every=5)
    return RunConfig(out=out, mode="prune", hold=20, tracker=tracker, ungated=False, **(chosen | changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return validate(config(tmp_path_factory.mktemp("runs") / "run", prune=PruneSettings(every=10)))


def lines(run):
    return [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]


def test_gates_leave_at_their_steps_and_never_come_back(run):
    removals = [line for line in lines(run) if "removed" in line]
    assert removals and all(line["step"] % 10 == 0 and line["step"] >= 20 for line in removals)
    gone = [gate for line in removals for gate in line["removed"]]
    assert len(gone) == len(set(gone))
    history = open_history(run / "gates.zarr")
    for line in removals:
        later = history.theta.values[history.step.values > line["step"]][:, line["removed"]]
        assert (later == 0).all() and np.isnan(
            history.rho.values[history.step.values > line["step"]][:, line["removed"]]
        ).all()
    table = json.loads((run / "table.json").read_text())
    left = table["gated"]["units_left"] + table["gated"]["layers_left"]
    assert left == history.sizes["gate"] - len(gone) and "units" not in table


def test_training_flops_are_those_of_the_network_at_each_step(run):
    table = json.loads((run / "table.json").read_text())
    full = int(table["gated"]["macs_full"])
    spent, macs, done = 0, full, 0
    for line in lines(run):
        if "removed" in line:
            spent += training_flops(macs, 32) * (line["step"] - done)
            macs, done = line["macs_left"], line["step"]
    spent += training_flops(macs, 32) * (table["steps"] - done)
    assert table["gated"]["flops"] == spent < table["gated"]["flops_full"] == training_flops(full, 32) * 132
    assert "% of the full network's training FLOPs" in (run / "report.md").read_text()


@given(st.integers(1, 9), st.integers(0, 99))
def test_groups_keep_multiples_or_go_whole(multiple, seed):
    torch.manual_seed(seed)
    gates = Gates(ResNet(8, 5, 1))
    gates.theta.data.uniform_()
    going = (torch.rand(len(gates.theta)) < torch.rand(())).numpy()
    left = in_multiples(going, gates, multiple)
    assert not (left & ~going).any()  # nothing goes that was not to go
    assert (left[gates.units :] == going[gates.units :]).all()
    theta = gates.theta.detach().numpy()
    start = 0
    for size in gates.sizes[: len(gates.groups)]:
        units = slice(start, start + size)
        start += size
        kept, asked = size - left[units].sum(), size - going[units].sum()
        assert kept == (0 if asked == 0 else min(size, -(-asked // multiple) * multiple))
        spared = going[units] & ~left[units]
        if spared.any() and left[units].any():
            assert theta[units][spared].min() >= theta[units][left[units]].max()


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"rule": "magic"}, "rule must be one of box, half-plane, bilinear"),
        ({"every": 0}, "prune.every must be ≥ 1; got 0"),
        ({"multiple": 0}, "prune.multiple must be ≥ 1; got 0"),
    ],
)
def test_impossible_settings_are_named(bad, message):
    with pytest.raises(InputError, match=message):
        PruneSettings(**bad)


def test_removals_come_with_records():
    with pytest.raises(InputError, match=r"prune\.every must be a multiple of tracker\.every = 5; got 7"):
        config(None, prune=PruneSettings(every=7))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back_from_json(name):
    assert from_json(json.loads(json.dumps(to_json(PRESETS[name])))) == PRESETS[name]


def test_what_was_removed_is_not_audited(tmp_path):
    """A gate that has left reads θ = 0 for ever: judged by that, every rule is right."""
    (tmp_path / "gates.zarr").mkdir()
    (tmp_path / "table.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"mode": "prune"}')
    with pytest.raises(InputError, match="is a prune run: what it removed cannot be judged"):
        audit_again([str(tmp_path)])
