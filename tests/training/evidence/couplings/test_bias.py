"""Bias, readings and returns on histories whose answers are known, and on a real run."""

import json

import numpy as np
import pytest
import xarray as xr

from training.errors import InputError
from training.evidence.couplings.bias import bias
from training.evidence.couplings.readings import pooled_probes, readings, returns
from training.evidence.couplings.result import main
from training.evidence.runs import ShadowRun

GATES = ["a.units[0]", "a.units[1]", "a.branch"]
COUNT = 20


def run(**columns):
    """Twenty records of two units and their branch; a column is anything that broadcasts to [record, gate]."""
    values = {"theta": 0.5, "cost": 0.1, "rho": 2.0, "rho_in": [1.0, 1.0, np.nan], "pull": 1.0, "difference": -1.0}
    values |= dict.fromkeys(("error", "loss_error", "gradient_error"), 0.0)
    values |= {"first_order": -1.0, "loss_difference": -1.0, "gradient_square": 0.25, "probe_count": 0.0}
    values |= {"probe": np.nan, "probe_error": np.nan} | columns
    full = {n: (("step", "gate"), np.broadcast_to(np.asarray(v, float), (COUNT, 3)).copy()) for n, v in values.items()}
    places = {"step": 10 * np.arange(1, COUNT + 1), "gate": GATES}
    parent = {"parent": ("gate", [2, 2, -1]), "is_branch": ("gate", [False, False, True])}
    history = xr.Dataset(full, coords=places | parent)
    return ShadowRun("made", history, np.arange(COUNT) * 1.0, 10 * COUNT, 0, 1.0, 0.1, 1.0, {"seed": 0})


def test_the_bias_is_that_of_each_layer_and_age():
    half = np.where(np.arange(COUNT) < COUNT // 2, 1.0, 3.0)[:, None]  # three times as large later
    noise = np.random.default_rng(0).normal(size=(COUNT, 1)) * 0.01
    made = run(first_order=-1 + np.array([0.1, 0.3, 0.5]) * half, loss_difference=-1 + noise, difference=-0.9)
    rows = {(row["place"], row["from"]): row for row in bias([made], (0.0, 0.5))}
    assert len(rows) == 4
    for place, known in (("a.units", 0.2), ("a.branch", 0.5)):
        for begin, factor, part in ((0.0, 1, noise[:10]), (0.5, 3, noise[10:])):
            row = rows[place, begin]
            assert row["first_order_bias"] == pytest.approx(known * factor - part.mean())
            assert row["first_order_error"] == pytest.approx(part.std(ddof=1) / np.sqrt(10))
            assert row["used_bias"] == pytest.approx(0.1 - part.mean())
            assert (row["records"], row["kind"]) == (10, "units" if place == "a.units" else "layers")
            assert row["gates_and_records"] == 10 * (2 if place == "a.units" else 1)


def test_the_wrong_way_counts_where_the_direction_is_certain():
    """κ = 0.1: D = −0.2 holds the branch up; first-order −0.05 lets it fall. A unit's D acts by θ_branch = ½ only."""
    error = np.where(np.arange(COUNT) < 5, 0.2, 0.01)[:, None]  # at first nothing is certain
    made = run(difference=[-0.3, -0.15, -0.2], first_order=[-0.15, -0.15, -0.05], error=error)
    units, layers = bias([made], (0.0,))
    assert (layers["certain"], layers["wrong_way"]) == (15, 1.0)
    assert (units["certain"], units["wrong_way"]) == (30, 0.5)  # −0.15 + 0.1 and −0.075 + 0.1 there
    made = run(theta=[0.0, 1.0, 0.5])
    assert [row["place"] for row in bias([made], (0.0,))] == ["a.branch"]  # the units stand at 0 and 1


def test_readings_are_ratios_to_the_one_along_the_weights():
    made = run(gradient_square=[0.25, -0.25, 4.0], gradient_error=0.5, error=0.4)
    units, layers = readings([made], (0.0,))
    assert units["count"] == 40 and units["negative"] == 0.5 and layers["negative"] == 0
    assert layers["gradient, z=0"]["0.5"] == pytest.approx(2.0 / 0.5)
    assert layers["gradient, z=2"]["0.5"] == pytest.approx(np.sqrt(5.0) / 0.5)
    assert layers["confident, z=2"]["0.5"] == pytest.approx(1.8)
    assert (units["gradient, z=0"]["0.1"], units["gradient, z=0"]["0.9"]) == (0, pytest.approx(0.5 / 0.5))
    assert units["robust, z=0"]["0.1"] == 1


def test_probes_are_put_together_over_one_spell_at_zero():
    draw = np.random.default_rng(1)
    theta = np.full((COUNT, 3), 0.5)
    theta[3:9, 0] = theta[11:, 0] = theta[5:, 2] = 0
    count = draw.integers(0, 4, (COUNT, 3)).astype(float)
    value = np.where(count > 0, draw.normal(size=(COUNT, 3)), np.nan)
    error = np.where(count > 1, draw.random((COUNT, 3)), np.nan)
    made = run(theta=theta, probe=value, probe_error=error, probe_count=count)
    found, spread = pooled_probes(made, 4)
    for i in range(COUNT):
        for g in range(3):
            spell = []
            for j in range(i, max(-1, i - 4), -1):
                if theta[j, g] != 0:
                    break
                if count[j, g] > 1:
                    spell.append(j)
            if not spell:
                assert np.isnan(found[i, g]) and np.isnan(spread[i, g])
                continue
            weights = count[spell, g]
            assert found[i, g] == pytest.approx(weights @ value[spell, g] / weights.sum())
            assert spread[i, g] == pytest.approx(np.sqrt(weights**2 @ error[spell, g] ** 2) / weights.sum())


def test_returns_tell_what_comes_back_from_what_stays():
    """κ = 0.1. The branch stands at 0.8, so that its first unit pulls by −0.16, the second by −0.08."""
    chosen = {"probe": [-0.2, -0.1, np.nan], "probe_error": 0.01, "probe_count": [5.0, 5.0, 0.0]}
    made = run(theta=[0.0, 0.0, 0.8], **chosen)
    (row,) = returns([made], records=1, ages=(0.0,))
    assert row == {
        "kind": "units",
        "from": 0.0,
        "to": 1.0,
        "count": 40,
        "probed": 40,
        "returning": 20,
        "staying": 20,
        "median": pytest.approx(-1.2),
        "median_error": pytest.approx(0.08),
    }
    (row,) = returns([run(theta=[0.5, 0.5, 0.0], **chosen)], ages=(0.0,))
    assert (row["count"], row["probed"], row["median"]) == (20, 0, None)


def test_a_history_without_the_columns_is_refused():
    made = run()
    for gone, function in (("loss_difference", bias), ("gradient_square", readings)):
        old = ShadowRun(**{**vars(made), "history": made.history.drop_vars(gone)})
        with pytest.raises(InputError, match=f"made holds no column {gone}"):
            function([old])


def test_the_command_on_a_real_run(digits_run, tmp_path, capsys):
    folder = digits_run("shadow")
    assert main([str(tmp_path / "out.json"), str(folder)]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert set(result) == {"runs", "bias", "readings", "returns"}
    assert result["runs"][0]["steps"] == 132
    assert {row["kind"] for row in result["bias"]} == {"units", "layers"}
    assert all(np.isfinite(row["first_order_bias"]) for row in result["bias"])
    assert sum(row["probed"] for row in result["returns"]) > 0
    assert main([str(tmp_path / "out.json")]) == 2 and "FILE.json RUN" in capsys.readouterr().err
