"""The teaching version against the program that it teaches: same settings and seed, same run."""

import json
import runpy
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training import minimal
from training.certificates.fates import fates, first_step
from training.certificates.history import open_history
from training.certificates.tracker import TrackerSettings
from training.engine.config import preset
from training.experiments.validate import validate


def test_the_same_run_as_the_full_trainer(tmp_path, capsys):
    tracker = TrackerSettings(warmup=40, window=20, every=5, factor=1.5)
    small = {"network": "resnet8", "width": 3, "epochs": 9, "batch": 96, "hold": 40, "gate_lr": 1.0, "seed": 4}
    config = replace(preset("digits"), **small, tracker=tracker, ungated=False, threads=1)
    found = minimal.shadow_run(config)
    validate(replace(config, out=tmp_path / "run"))

    table = json.loads((tmp_path / "run" / "table.json").read_text())
    only_there = {"withdrawn", "broken"}
    for kind in ("units", "layers"):
        theirs = [{name: row[name] for name in row.keys() - only_there} for row in table[kind]]
        assert [{name: asdict(row)[name] for name in theirs[0]} for row in found[kind]] == theirs
    # Differences are left in the order of summation only.
    history = open_history(tmp_path / "run" / "gates.zarr")
    np.testing.assert_allclose(found["theta"], history.theta.values, atol=1e-5)
    assert found["accuracy"] == table["gated"]["accuracy"]
    assert found["macs"] == pytest.approx(table["gated"]["macs"] / table["gated"]["macs_full"])
    # And the run is one that tells rules and fates apart.
    rows = {row.rule: row for row in found["units"]}
    assert rows["half-plane"] != replace(rows["box"], rule="half-plane") != replace(rows["bilinear"], rule="half-plane")
    assert 0 < rows["θ < 0.5"].wrong < rows["θ < 0.5"].caught < rows["θ < 0.5"].flagged < rows["θ < 0.5"].gates


@given(st.data())
def test_gates_are_judged_as_by_the_audit(data):
    records, gates = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 4))
    levels = st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 0.6, 0.98, 1.0])
    theta = data.draw(hnp.arrays(np.float32, (records, gates), elements=levels.map(np.float32)))
    flagged = data.draw(hnp.arrays(bool, (records, gates)))
    steps = 5 * np.arange(1, records + 1)

    row = minimal.judge("any", steps.tolist(), torch.from_numpy(flagged), torch.from_numpy(theta))
    fate, flag = fates(steps, theta), first_step(steps, flagged)
    assert (row.gates, row.dead, row.flagged) == (gates, fate.dead.sum(), (flag >= 0).sum())
    assert (row.caught, row.wrong) == (fate.caught(flag).sum(), fate.wrong(flag).sum())
    assert (row.undecided, row.leaning) == (fate.undecided(flag).sum(), (fate.undecided(flag) & fate.high).sum())
    leads = (fate.death - flag)[fate.caught(flag)]
    assert row.lead == (np.median(leads) if len(leads) else None)


@pytest.mark.parametrize("seed", ["-1", "one"])
def test_a_bad_seed_is_one_line(seed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["minimal", "--seed", seed])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(minimal.__file__, run_name="__main__")
    assert stopped.value.code == 2 and f"{seed!r}" in capsys.readouterr().err.splitlines()[-1]


def test_it_stays_short():
    assert len(Path(minimal.__file__).read_text().splitlines()) <= 350
