"""Basin maps: computed in blocks, continued, refused, opened by xarray, sent to Dask."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray as xr

from dynamics import BilinearGate, LinearGate
from dynamics.basins import Axis, Map, Options, compute
from dynamics.commands import basin as basin_command
from dynamics.gates.general import smooth_gate
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.fate import Fate

LINEAR = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
AXES = (Axis("rho", 0.0, 1.5, 31, ("rho",)), Axis("theta", 0.0, 1.0, 21, ("theta",)))


def read(path):
    return xr.open_zarr(path, consolidated=False, chunks=None)


def test_a_map_is_the_flow_of_its_grid(tmp_path):
    agreement = compute(Map(LINEAR, AXES), tmp_path / "map", block=100)
    found = read(tmp_path / "map")
    flow = integrate(LINEAR, found.rho.values[:, None], found.theta.values[None, :])
    np.testing.assert_array_equal(found.fate, flow.outcome)
    np.testing.assert_array_equal(found.time, flow.time.astype(np.float32))
    np.testing.assert_array_equal(found.steps, flow.steps)
    assert found.fate.dtype == np.uint8 and found.fate.dims == ("rho", "theta")
    assert found.attrs["map"]["parameters"] == LINEAR.parameters and found.attrs["complete"]
    assert agreement.cells == agreement.agree + agreement.unclear == 31 * 21
    assert (agreement.wrong, agreement.missed, agreement.farthest) == (0, 0, 0.0)
    assert agreement.unclear == 1 and found.fate.sel(rho=0.5, theta=0.25) == Fate.UNDECIDED  # the saddle itself


def test_disagreement_is_counted(tmp_path, monkeypatch):
    """Against a separatrix 1% too high the map must disagree, in cells close to it."""
    true = LinearGate.margin
    monkeypatch.setattr(LinearGate, "margin", lambda self, *state: true(self, *state) - 0.02)
    agreement = compute(Map(LINEAR, AXES), tmp_path / "map")
    assert agreement.wrong > 0 and 0 < agreement.farthest <= 0.02


def test_a_broken_map_is_continued(tmp_path):
    task, seen = Map(LINEAR, AXES), []

    def interrupt(done, total):
        seen.append(done)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(task, tmp_path / "map", block=100, progress=interrupt)
    assert not read(tmp_path / "map").attrs["complete"]
    assert (read(tmp_path / "map").fate == 255).any()
    resumed = []
    compute(task, tmp_path / "map", block=17, progress=lambda done, total: resumed.append(done))
    assert resumed[0] == seen[-1] and resumed[-1] == 31 * 21
    compute(task, tmp_path / "whole")
    for name in ("fate", "time", "steps"):
        np.testing.assert_array_equal(read(tmp_path / "map")[name], read(tmp_path / "whole")[name])


@pytest.mark.parametrize(
    "other",
    [
        Map(LinearGate(decay=1.0, coupling=2.0, cost=1.1, rate=1.0), AXES),
        Map(LINEAR, (AXES[0], Axis("theta", 0.0, 1.0, 22, ("theta",)))),
        Map(LINEAR, AXES, Options(rtol=1e-7)),
    ],
)
def test_another_map_is_refused(tmp_path, other):
    compute(Map(LINEAR, AXES), tmp_path / "map")
    before = read(tmp_path / "map").fate.values
    with pytest.raises(ValueError, match=r"holds a map with other (parameters|axes|options); choose another output"):
        compute(other, tmp_path / "map")
    np.testing.assert_array_equal(read(tmp_path / "map").fate, before)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for output in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="exists and is not a basin map"):
            compute(Map(LINEAR, AXES), output)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_equal_norms_and_free_norms(tmp_path):
    gate = BilinearGate(decay=0.5, coupling=1.0, cost=0.3, rate=1.0)
    theta = Axis("theta", 0.0, 1.0, 11, ("theta",))
    equal = Map(gate, (Axis("rho", 0.0, 1.5, 13, ("rho_in", "rho_out")), theta))
    free = Map(gate, (Axis("rho_in", 0.0, 1.5, 13, ("rho_in",)), Axis("rho_out", 0.0, 1.5, 13, ("rho_out",)), theta))
    one, two = compute(equal, tmp_path / "equal"), compute(free, tmp_path / "free")
    assert one.agree == one.cells and two.wrong == 0 and two.missed > 0
    diagonal = read(tmp_path / "free").fate.values[np.arange(13), np.arange(13)]
    np.testing.assert_array_equal(diagonal, read(tmp_path / "equal").fate)


def test_a_general_gate_and_the_closed_form(tmp_path):
    smooth = smooth_gate(slope=1.0, curvature=0.5, decay=1.0, cost=0.5, rate=1.0)
    assert compute(Map(smooth, AXES), tmp_path / "smooth").agree == 31 * 21
    compute(Map(LINEAR, AXES, Options(method="exact")), tmp_path / "exact")
    compute(Map(LINEAR, AXES), tmp_path / "adaptive")
    np.testing.assert_array_equal(read(tmp_path / "exact").fate, read(tmp_path / "adaptive").fate)


def test_dask_gives_the_same_map(tmp_path):
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Dask warns of (ports, diagnostics) is not ours
        with distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster:
            compute(Map(LINEAR, AXES), tmp_path / "dask", block=100, cluster=cluster.scheduler_address)
    compute(Map(LINEAR, AXES), tmp_path / "here")
    for name in ("fate", "time", "steps"):
        np.testing.assert_array_equal(read(tmp_path / "dask")[name], read(tmp_path / "here")[name])


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((AXES[0],), "the axes must move rho, theta, each once; got rho"),
        ((AXES[0], Axis("theta", 0.0, 1.5, 3, ("theta",))), r"theta must be in \[0, 1\]; got 1.5"),
        ((Axis("rho", -1.0, 1.0, 3, ("rho",)), AXES[1]), "rho must be finite and ≥ 0; got -1.0"),
    ],
)
def test_bad_grids_are_named(axes, message):
    with pytest.raises(ValueError, match=message):
        Map(LINEAR, axes)


@pytest.mark.parametrize(("low", "high", "count"), [(1.0, 0.0, 3), (0.0, float("nan"), 3), (0.0, 1.0, 0)])
def test_bad_axes_are_named(low, high, count):
    with pytest.raises(ValueError, match="rho"):
        Axis("rho", low, high, count, ("rho",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--system", "general"], "--difference and --system general belong together"),
        (["--system", "smooth"], "--values slope S curvature C"),
        (["--system", "bilinear", "--method", "exact"], "--method exact is for the linear gate"),
        (["--rho-out", "0", "1", "5"], "--rho-out is for two norms"),
        (["--rate", "0"], "rate must be > 0; got 0.0"),
        (["--theta", "0", "2", "5"], "theta must be in"),
        (["--block", "0"], "block must be ≥ 1"),
        (["--cluster", "tcp://127.0.0.1:1"], "no Dask scheduler answers"),
        (["--system", "general", "--difference", "rho +"], "--difference is no expression"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("dynamics.basins.PATIENCE", "1s")
    assert basin_command.main([str(tmp_path / "map"), *arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "map").exists()


def test_the_command(tmp_path, capsys):
    command = [sys.executable, "-m", "dynamics", "basin", str(tmp_path / "map"), "--system", "bilinear"]
    command += ["--rho", "0", "1.5", "20", "--theta", "0", "1", "11"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "agree in 220 cells of 220" in done.stdout
    assert "--rho 0 1.5 20" in read(tmp_path / "map").attrs["command"]
    assert basin_command.main([*command[4:], "--cost", "0.4"]) == 2
    assert "holds a map with other parameters" in capsys.readouterr().err


def test_every_fate_has_its_name(tmp_path):
    compute(Map(LINEAR, AXES), tmp_path / "map")
    about = read(tmp_path / "map").fate.attrs
    assert about["flag_meanings"].split() == [Fate(code).name.lower() for code in about["flag_values"]]
