"""Prune runs against their shadow runs: counted by hand, and on real runs of the digits."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from scipy import stats

from training.commands.evidence import pool_runs
from training.errors import InputError
from training.evidence.pairs import Ended, _on, open_ended, pairs


def ended(on, mode="shadow", seed=0, nu=1.0, rule="bilinear", **result):
    settings = {"mode": mode, "seed": seed, "nu": nu, "prune": {"rule": rule, "every": 10}, "out": f"{mode}{seed}"}
    result = {"accuracy": 0.5, "macs": 0.5, "flops": 1.0, "seconds": 10.0} | result
    return Ended(f"{mode}{seed}", settings, np.array(on, dtype=bool), **result)


SHADOWS = [ended([1, 1, 0, 0], seed=seed, accuracy=0.70 + 0.01 * seed) for seed in range(3)]


def test_a_pair_by_hand():
    (row,) = pairs(SHADOWS, [ended([1, 0, 0, 1], "prune", 1, accuracy=0.74, flops=0.6, seconds=5.0)])
    means = {name: row[name]["mean"] for name in ("difference", "flops", "seconds_ratio", "unlike", "premature")}
    expected = {"difference": 0.03, "flops": 0.6, "seconds_ratio": 0.5, "unlike": 0.5, "premature": 0.5}
    assert means == pytest.approx(expected) and row["seeds"] == [1]
    assert row["difference"]["interval"] is row["difference"]["deviation"] is None, "one seed has no spread"


def test_seeds_make_a_row_and_rules_and_settings_make_others():
    prunes = [ended([1, 1, 0, 0], "prune", seed, accuracy=0.72) for seed in range(3)]
    others = [ended([1, 0, 0, 0], "prune", 0, rule="θ < 0.5"), ended([1, 1, 0, 0], "prune", 0, nu=2.0)]
    rows = pairs([*SHADOWS, ended([1, 1, 0, 0], nu=2.0)], [*prunes, *others])
    assert [row["seeds"] for row in rows] == [[0, 1, 2], [0], [0]]
    assert [row["prune"]["rule"] for row in rows] == ["bilinear", "θ < 0.5", "bilinear"]
    found = rows[0]["difference"]
    interval = stats.ttest_rel([0.72] * 3, [0.70, 0.71, 0.72]).confidence_interval()
    assert found["interval"] == pytest.approx([interval.low, interval.high])
    assert (found["mean"], found["deviation"]) == pytest.approx((0.01, 0.01))


def test_what_hangs_in_a_branch_that_is_off_is_off_and_a_branch_without_units_too():
    parent = np.array([2, 2, -1, 4, -1, -1])
    open_ = np.array([1, 0, 0, 0, 1, 1], dtype=bool)
    assert _on(open_, parent).tolist() == [False, False, False, False, False, True]
    assert _on(np.array([1, 0, 1, 1, 1, 0], dtype=bool), parent).tolist() == [True, False, True, True, True, False]


def test_a_prune_run_without_its_shadow_run_or_there_twice_is_refused():
    prune = ended([1, 1, 0, 0], "prune", 0)
    with pytest.raises(InputError, match="prune0 needs one shadow run of its settings and seed; got 0"):
        pairs(SHADOWS[1:], [prune])
    with pytest.raises(InputError, match="got 2"):
        pairs([SHADOWS[0], dataclasses.replace(SHADOWS[0], name="copy")], [prune])
    with pytest.raises(InputError, match="prune0 is there twice"):
        pairs(SHADOWS, [prune, prune])


def test_real_runs_are_compared_by_the_command(digits_run, tmp_path, capsys):
    for name in ("shadow", "prune"):
        shutil.copytree(digits_run(name), tmp_path / name)
    out = tmp_path / "evidence.json"
    pool_runs([str(tmp_path / "prune"), str(tmp_path / "shadow"), "--out", str(out)])
    (row,) = json.loads(out.read_text())["pairs"]
    assert row["prune"]["rule"] == "half-plane, escape ≤ 0.5" and 0 < row["flops"]["mean"] < 1
    assert "## Prune runs against shadow runs" in capsys.readouterr().out
    left = open_ended(tmp_path / "prune")
    table = json.loads((tmp_path / "prune" / "table.json").read_text())["gated"]
    assert left.on.sum() == table["units_on"] + table["layers_on"] < len(left.on)
    with pytest.raises(InputError, match="needs one shadow run"):
        pool_runs([str(tmp_path / "prune"), "--out", str(out)])
    older = json.loads((tmp_path / "shadow" / "table.json").read_text())
    del older["gated"]["flops_full"]
    (tmp_path / "shadow" / "table.json").write_text(json.dumps(older))
    with pytest.raises(InputError, match="has no 'flops_full': it was made by another version"):
        pool_runs([str(tmp_path / "prune"), str(tmp_path / "shadow"), "--out", str(out)])
    pool_runs([str(tmp_path / "shadow"), "--out", str(out)])
    assert json.loads(out.read_text())["pairs"] == []
