"""The command on real runs of the digits: what it writes, what it refuses, and that a refutation ends it."""

import json
import shutil
import sys

import numpy as np
import pytest
import xarray as xr
import zarr

from training.__main__ import main
from training.certificates.rules import POOLED_THRESHOLDS, RULES
from training.commands.audit import audit_again
from training.commands.evidence import pool_runs
from training.commands.report import write_page
from training.errors import InputError, RefutedError
from training.evidence.calibration import certificates_at
from training.evidence.promises.as_json import as_json
from training.evidence.promises.judge import judge
from training.evidence.result import evidence
from training.evidence.runs import open_run
from training.evidence.tables import as_markdown


@pytest.fixture(scope="module")
def folders(digits_run):
    """Two seeds and a third run with other settings, as `python -m training validate` leaves them."""
    return [digits_run(name) for name in ("shadow", "seed1", "weak")]


def test_everything_of_several_runs_is_in_one_file_and_its_tables(folders, tmp_path, capsys):
    out = tmp_path / "evidence.json"
    pool_runs([*map(str, folders), "--out", str(out)])
    result = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    text = out.with_suffix(".md").read_text()
    shown = capsys.readouterr().out.strip()
    assert text.startswith(shown) and "What certificates assumed" in shown and "Refutations: **0**" in text
    assert [run["name"].split("/")[-1] for run in result["runs"]] == ["shadow", "seed1", "weak"]
    assert [group["seeds"] for group in result["groups"]] == [[0, 1], [0]]
    assert "nu = 3.0 (seeds 0, 1)" in text and "nu = 0.1 (seeds 0)" in text
    rows = result["all"]["rules"]
    assert len(rows) == 5 + 2 * len(POOLED_THRESHOLDS)
    for row in rows:
        parts = [
            next(other for other in group["rules"] if (other["kind"], other["rule"]) == (row["kind"], row["rule"]))
            for group in result["groups"]
        ]
        for name in ("gates", "dead", "flagged", "caught", "wrong", "undecided"):
            assert row[name] == sum(part[name] for part in parts)
        assert row["flagged"] == row["caught"] + row["wrong"] + row["undecided"] <= row["gates"]
    assert any(row["flagged"] for row in rows) and any(row["count"] for row in result["all"]["growth"])


def test_the_stored_certificates_are_found_again_from_the_stored_couplings(folders):
    run = open_run(folders[0])
    found = certificates_at(run, run.factor)
    for name, values in found._asdict().items():
        stored = run.history[name].values
        if name == "in_box":
            assert (values == stored).all()
        else:  # stored in single precision
            xr.testing.assert_allclose(xr.DataArray(values), xr.DataArray(stored.astype(float)), rtol=1e-3, atol=1e-4)
            assert ((values < 0) == (stored < 0))[abs(stored) > 1e-4].all()


def test_no_certificate_of_a_real_run_is_refuted(folders):
    for folder in folders:
        run = open_run(folder)
        for rule in RULES[:3]:
            found = as_json(judge(run, rule))
            for kind in ("units", "layers"):
                counts = found[kind]
                assert counts["verdicts"]["refutation"] == 0
                assert sum(counts["verdicts"].values()) == counts["wrong"]


def test_a_refutation_ends_the_command_after_everything_is_written(folders, tmp_path):
    """Every margin is made negative: the constants that stand beside it do not certify those gates."""
    fake = tmp_path / "fake"
    shutil.copytree(folders[2], fake)
    margin = zarr.open_group(fake / "gates.zarr", mode="r+")["margin"]
    margin[:] = -1.0
    out = tmp_path / "evidence.json"
    with pytest.raises(RefutedError, match=r"by \d+ gates, first .*/fake: "):
        pool_runs([str(fake), "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["refutations"] > 0
    assert f"Refutations: **{result['refutations']}**" in out.with_suffix(".md").read_text()
    assert {entry["verdict"] for entry in result["gates"]} >= {"refutation"}


@pytest.mark.parametrize("column", ["theta", "rho", "cost", "coupling", "margin", "rho_in", "margin_bilinear", "step"])
def test_a_history_that_no_run_records_is_refused_by_all_that_judge_and_nothing_is_written(folders, tmp_path, column):
    fake = shutil.copytree(folders[0], tmp_path / "fake")
    array = zarr.open_group(fake / "gates.zarr", mode="r+")[column]
    if column == "step":
        array[2] = array[1]
    else:
        array[2, 0] = np.nan
    before = {path: path.read_bytes() for path in fake.rglob("*") if path.is_file()}
    says = rf"gate history at .*gates\.zarr is damaged: .*{column}"
    for command, arguments in (
        (audit_again, [str(fake)]),
        (pool_runs, [str(fake), "--out", str(tmp_path / "evidence.json")]),
        (write_page, [str(fake)]),
    ):
        with pytest.raises(InputError, match=says) as refused:
            command(arguments)
        assert "\n" not in str(refused.value) and "another version" not in str(refused.value)
    assert {path: path.read_bytes() for path in fake.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["fake"]


def test_gate_paths_with_a_hole_in_them_are_damaged(folders, tmp_path):
    fake = shutil.copytree(folders[0], tmp_path / "fake")
    shutil.rmtree(fake / "gates.zarr")
    paths = json.loads((fake / "gate_paths.json").read_text())
    paths["theta"][-1][0] = None
    (fake / "gate_paths.json").write_text(json.dumps(paths))
    with pytest.raises(InputError, match=r"gate_paths\.json is damaged: θ"):
        write_page([str(fake)])


def test_a_single_run_that_is_refuted_ends_with_status_1(folders, tmp_path, monkeypatch, capsys):
    for folder, status in ((folders[1], 0), (folders[2], 1)):
        copy = tmp_path / folder.name
        shutil.copytree(folder, copy)
        if status:
            zarr.open_group(copy / "gates.zarr", mode="r+")["margin"][:] = -1.0
        monkeypatch.setattr(sys, "argv", ["training", "resume", str(copy)])
        assert main() == status
        assert (json.loads((copy / "evidence.json").read_text())["refutations"] > 0) == bool(status)
    assert "REFUTED: by" in capsys.readouterr().err


def test_a_run_counts_once(folders):
    run = open_run(folders[0])
    with pytest.raises(InputError, match=r"shadow and .*shadow are the same settings and seed 0: name one"):
        evidence([run, run])


def test_one_run_has_no_interval_over_runs(folders):
    result = evidence([open_run(folders[0])])
    assert result["groups"] == [] and "## The run" in as_markdown(result)
    assert all(row["lead_interval_over_runs"] is None for row in result["all"]["rules"])


def test_what_is_no_finished_shadow_run_is_refused(folders, tmp_path):
    with pytest.raises(InputError, match=r"nowhere is no finished run: it holds no table\.json"):
        open_run(tmp_path / "nowhere")
    for name, change, says in (
        ("pruned", {"mode": "prune"}, "is a prune run: what it removed cannot be judged"),
        ("short", {"tracker": {"warmup": 10_000}}, "no record after its warm-up of 10000 steps"),
    ):
        shutil.copytree(folders[0], tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(InputError, match=says):
            open_run(tmp_path / name)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--out", "x.json"], "runs"),
        (["run"], "out"),
        (["run", "--out", "x.txt"], "out must end in .json; got x.txt"),
        (["run", "--out", "no/such/folder/x.json"], "out must lie in a folder that exists"),
    ],
)
def test_bad_arguments_get_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((SystemExit, InputError)) as ended:
        pool_runs(arguments)
    said = str(ended.value) if isinstance(ended.value, InputError) else capsys.readouterr().err
    assert says in said and len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
