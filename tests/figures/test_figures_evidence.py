"""Evidence figures show the numbers of their result files, and ask for what is missing in words."""

import json
import shutil

import numpy as np
import pytest

from figures import accuracy_flops, coupling_growth, coupling_time, rules_compared, shadow_prune, structure_kept
from figures.__main__ import main
from figures.registry import ROOT
from figures.results import NotThereError, read
from figures.runs import read_runs
from training.certificates.tracker import TrackerSettings
from training.engine.config import RunConfig
from training.evidence.couplings.growth import HEADROOMS
from training.evidence.result import evidence
from training.evidence.runs import open_run
from training.experiments.validate import validate

RESULTS = ROOT / "paper" / "results"
SHADOW, PRUNE = (RESULTS / structure_kept.RUNS[mode] for mode in ("shadow", "prune"))


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """A folder with the evidence of a real, short run in which every gate dies."""
    folder = tmp_path_factory.mktemp("pooled")
    tracker = TrackerSettings(warmup=10, window=10, every=2)
    short = {"network": "resnet8", "width": 2, "epochs": 1, "batch": 32, "hold": 0, "ungated": False}
    config = RunConfig(out=folder / "run", nu=20.0, gate_lr=0.2, tracker=tracker, **short)
    run = open_run(validate(config))
    (folder / "evidence.json").write_text(json.dumps(evidence([run])))
    return folder


def copied(folder, name, **settings):
    """The committed shadow run's table below `folder`, said to be of other settings."""
    table = read(SHADOW / "table.json")
    table["settings"] |= settings
    (folder / name).mkdir()
    (folder / name / "table.json").write_text(json.dumps(table))


def lines(axes):
    return {line.get_label(): np.array(line.get_xydata()) for line in axes.get_lines()}


def test_growth_shows_the_shares_beyond_each_headroom(pooled):
    rows = read(pooled / "evidence.json")["all"]["growth"]
    rows = [row for row in rows if row["count"] and row["system"] == "linear"]
    panels = {axes.get_title(): lines(axes) for axes in coupling_growth.draw(pooled).axes}
    assert {row["kind"] for row in rows} == set(panels) and len(rows) > 3
    for row in rows:
        drawn = panels[row["kind"]][f"{row['from']:.0%} to {row['to']:.0%}"]
        np.testing.assert_allclose(drawn[:, 0], HEADROOMS)
        np.testing.assert_allclose(drawn[:, 1], [100 * share for share in row["beyond"].values()])
    assert "seed 0, of resnet8" in coupling_growth.caption(pooled)


def test_rules_are_drawn_along_their_headroom(pooled):
    result = read(pooled / "evidence.json")["all"]["calibration"]
    rows = [row for row in result if (row["kind"], row["rule"]) == ("units", "half-plane") and row["lead"] is not None]
    drawn = lines(rules_compared.draw(pooled).axes[0])["half-plane"]
    np.testing.assert_allclose(drawn, [[100 * row["wrong_share"], row["lead"]] for row in rows])
    assert f"{rows[0]['gates']} units ({rows[0]['dead']} ended dead)" in rules_compared.caption(pooled)


def test_the_first_evidence_that_is_there_is_drawn(pooled, tmp_path):
    result = read(pooled / "evidence.json")
    for name, refutations in (("evidence-digits.json", 7), ("evidence.json", 8)):
        (tmp_path / name).write_text(json.dumps(result | {"refutations": refutations}))
        assert f"refutations of the theory: {refutations};" in rules_compared.caption(tmp_path)


def test_too_few_dead_gates_are_no_comparison(pooled, tmp_path):
    result = read(pooled / "evidence.json")
    for row in result["all"]["calibration"]:
        row["dead"] = 3
    (tmp_path / "evidence.json").write_text(json.dumps(result))
    with pytest.raises(NotThereError, match="10 ended dead"):
        rules_compared.draw(tmp_path)


def test_structure_kept_counts_the_units_that_the_runs_themselves_count():
    drawing = structure_kept.draw(RESULTS)
    heights = [patch.get_height() for patch in drawing.axes[0].patches]
    for mode, folder in (("shadow", SHADOW), ("prune", PRUNE)):
        on = read(folder / "table.json")["gated"]["units_on"]
        assert structure_kept._kept(folder)["units"].sum() == on
        assert f"{on} in the {mode} run" in structure_kept.caption(RESULTS)
    blocks = len(heights) // 6  # outline, filling and its edge, for two runs
    assert sum(heights[blocks : 2 * blocks]) == read(SHADOW / "table.json")["gated"]["units_on"]


def test_shadow_and_prune_are_joined_by_settings_and_seed(tmp_path):
    for folder in (SHADOW, PRUNE):
        (tmp_path / folder.name).mkdir()
        shutil.copy(folder / "table.json", tmp_path / folder.name)
    drawing = shadow_prune.draw(tmp_path)
    for mode, folder in (("shadow", SHADOW), ("prune", PRUNE)):
        drawn = lines(drawing.axes[0])[f"{mode} run"]
        np.testing.assert_allclose(drawn, [[100 * read(folder / "table.json")["gated"]["accuracy"], 0]])


@pytest.mark.parametrize(
    "setting", [{"seed": 1}, {"nu": 0.5}, {"gate_lr": 2.0}, {"precision": "bf16"}, {"mode": "prune"}]
)
def test_a_run_of_another_setting_is_no_pair(setting, tmp_path):
    copied(tmp_path, "one")
    copied(tmp_path, "two", **setting)
    table = read(tmp_path / "two" / "table.json")
    for name in {"seed", "mode"} & set(setting):
        table[name] = setting[name]
    if "mode" not in setting:
        table["mode"] = "prune"
    (tmp_path / "two" / "table.json").write_text(json.dumps(table))
    if "mode" in setting:
        assert "n = 1 pair" in shadow_prune.caption(tmp_path)
    else:
        with pytest.raises(NotThereError, match="same settings and seed"):
            shadow_prune.draw(tmp_path)


def test_fronts_run_over_nu_and_other_settings_are_kept_apart(tmp_path):
    for name, settings in {"a": {"nu": 0.5}, "b": {"nu": 1.0}, "c": {"nu": 2.0, "lr": 0.3}}.items():
        copied(tmp_path, name, **settings)
    drawing = accuracy_flops.draw(tmp_path)
    (axes,) = drawing.axes
    gated = read(SHADOW / "table.json")["gated"]
    point = [100 * gated["macs"] / gated["macs_full"], 100 * gated["accuracy"]]
    drawn = [line for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_marker() == "o"]
    np.testing.assert_allclose(drawn[0].get_xydata(), [point, point])
    assert {text.get_text() for text in axes.texts} == {"0.5", "1"}
    assert "n = 2 runs at 2 settings" in accuracy_flops.caption(tmp_path)


def test_each_rule_that_prunes_has_a_row_and_the_gates_rate_no_panel_of_its_own(tmp_path):
    copied(tmp_path, "shadow")
    for name, rule in {"one": "bilinear", "two": "θ < 0.5"}.items():
        copied(tmp_path, name, mode="prune", prune={"rule": rule, "every": 200, "multiple": 1})
        table = read(tmp_path / name / "table.json")
        (tmp_path / name / "table.json").write_text(json.dumps(table | {"mode": "prune"}))
    copied(tmp_path, "other", alpha=1.0, gate_lr=0.05)
    rows = [text.get_text() for text in shadow_prune.draw(tmp_path).axes[0].get_yticklabels()]
    assert [row.partition(": ")[2] for row in rows] == ["bilinear", "θ < 0.5"]
    drawing = accuracy_flops.draw(tmp_path)
    assert len(drawing.axes) == 1
    named = {text.get_text() for text in drawing.legends[0].get_texts()}
    assert named == {
        "α = 0.2, β = 0, shadow",
        "α = 0.2, β = 0, pruned by bilinear",
        "α = 0.2, β = 0, pruned by θ < 0.5",
        "α = 1, β = 0, shadow",
    }


def test_one_setting_is_no_front(tmp_path):
    copied(tmp_path, "a")
    copied(tmp_path, "b", seed=1)
    assert len(read_runs(tmp_path)) == 2
    with pytest.raises(NotThereError, match="second setting"):
        accuracy_flops.draw(tmp_path)


def test_a_front_without_runs_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("figures.__main__.ROOT", tmp_path)
    assert main(["accuracy_flops"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "paper/results/*/table.json is not there; made by: sh paper/experiments.sh" in line


def test_couplings_are_drawn_where_enough_gates_are_measured():
    result = read(SHADOW / coupling_time.FILE)
    group = next(g for g in result["groups"] if (g["kind"], g["fate"]) == ("units", "alive"))
    drawn = [line for line in coupling_time.draw(SHADOW).axes[0].get_lines() if line.get_linewidth() == 1.5]
    median = next(np.array(line.get_ydata(), float) for line in drawn if line.get_linestyle() == "--")
    enough = np.array(group["count"]) >= coupling_time.LEAST * group["gates"]
    assert 0 < enough.sum() < len(enough)
    np.testing.assert_allclose(median[enough], np.array(group["measured"]["0.5"], float)[enough])
    assert np.isnan(median[~enough]).all()
