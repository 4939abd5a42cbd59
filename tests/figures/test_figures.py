"""Every figure draws, the same bytes whenever it does, and answers bad input in one line."""

import importlib
import json
import pkgutil
import re
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

import figures
from figures import gate_paths
from figures.__main__ import main
from figures.registry import REGISTRY, ROOT
from figures.results import NotThereError, read
from figures.style import SERIES, WIDTH, figure, save
from training.certificates.tracker import TrackerSettings
from training.commands.validate import conclude_run
from training.engine.config import RunConfig
from training.experiments.validate import validate

#: Figures that simulate for some seconds, and portraits drawn by the code of another: `make figures` draws them.
SLOW = {
    "escape_probability",
    "sgd_paths",
    "convergence_order",
    "certified_volume",
    "linear_portrait",
    "bilinear_portrait",
}
KINDS = ("caption.tex", "pdf", "png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real run, with the figure that it asks for itself."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    tracker = TrackerSettings(warmup=10, window=10, every=5)
    small = {"network": "resnet8", "width": 1, "epochs": 1, "batch": 32, "ungated": False, "gate_lr": 2.0}
    conclude_run(validate(RunConfig(out=folder, tracker=tracker, **small)))
    return folder


def status(*arguments):
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return exit_.code


def present(name):
    """Whether the committed results are enough to draw it; those of more runs may come later."""
    entry = REGISTRY[name]
    if not entry.folder:
        return True
    try:
        entry.module.caption(ROOT / entry.folder)
    except NotThereError:
        return False
    return True


def drawn(arguments, name, folder):
    """The files of a figure by their kinds."""
    assert status(name, *arguments, "--out", folder) == 0
    return {path.name.removeprefix(f"{name}."): path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in SLOW and present(name)])
def test_a_figure_is_of_print_width_and_small(name, tmp_path):
    made = drawn((), name, tmp_path / "one")
    assert sorted(made) == sorted(KINDS)
    box = re.search(rb"/MediaBox \[ *0 0 ([0-9.]+) ([0-9.]+) *\]", made["pdf"])
    assert float(box[1]) == pytest.approx(72 * WIDTH, abs=0.01)
    assert float(box[2]) < 72 * 8, "higher than a page leaves room for"
    assert made["png"].startswith(b"\x89PNG") and len(made["png"]) < 150_000
    assert made["caption.tex"].isascii()


@pytest.mark.parametrize("name", ["hyperprior", "shadow_prune"])
def test_a_figure_is_the_same_bytes_twice(name, tmp_path):
    """Of a formula and of results; all are saved by one function."""
    assert drawn((), name, tmp_path / "one") == drawn((), name, tmp_path / "two")


def test_no_figure_draws_numbers_without_a_seed():
    for path in (ROOT / "figures").glob("*.py"):
        text = path.read_text()
        assert "default_rng()" not in text and not re.search(r"np\.random\.(?!default_rng|Generator)", text), path


def test_gate_paths_of_a_run_are_the_same_bytes_twice(run, tmp_path):
    one, two = (drawn(("--run", run), "gate_paths", tmp_path / folder) for folder in ("one", "two"))
    assert sorted(one) == ["pdf", "png"] and one == two


def test_a_run_draws_its_own_figure(run):
    assert (run / "gate_paths.png").is_file() and (run / "gate_paths.pdf").is_file()


def test_gate_paths_shows_every_gate_where_it_ended(run):
    paths = json.loads((run / "gate_paths.json").read_text())
    drawing = gate_paths.draw(run)
    lines = [line for axes in drawing.axes for line in axes.get_lines() if len(line.get_xdata()) > 1]
    ends = sorted(float(line.get_ydata()[-1]) for line in lines)
    np.testing.assert_allclose(ends, sorted(paths["theta"][-1]))
    circles = [line for axes in drawing.axes for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert len(circles) == sum(flag >= 0 for flag in paths["certified"])
    save(drawing, run / "again", "gate_paths")


def test_the_registry_holds_every_figure_of_the_package():
    modules = [importlib.import_module(f"figures.{found.name}") for found in pkgutil.iter_modules(figures.__path__)]
    drawing = {module.__name__.partition(".")[2] for module in modules if hasattr(module, "draw")}
    assert drawing == {entry.module.__name__.partition(".")[2] for entry in REGISTRY.values()}
    for name, entry in REGISTRY.items():
        assert name.startswith(entry.module.__name__.removeprefix("figures.")) and callable(entry.module.caption)
        assert bool(entry.folder) == bool(entry.command), "results have a command that makes them"


def test_nothing_stale_is_committed():
    for path in (ROOT / "paper" / "figures").iterdir():
        name, _, kind = path.name.partition(".")
        assert name in REGISTRY and kind in KINDS, path


@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in SLOW and present(name)])
def test_a_caption_names_n_seeds_and_data(name):
    entry = REGISTRY[name]
    text = entry.module.caption(ROOT / (entry.folder or ""))
    assert re.search(r"\bseeds?\b", text) and re.search(r"\bdata\b|\bData\b", text)
    assert "n = " in text or "cells" in text or "derived expressions" in text


def test_a_caption_follows_its_results(tmp_path):
    for name in ("gate_paths.json", "table.json"):
        shutil.copy(ROOT / "paper/results/cifar10-quick-seed0" / name, tmp_path)
    before = gate_paths.caption(tmp_path)
    table = read(tmp_path / "table.json")
    (tmp_path / "table.json").write_text(json.dumps(table | {"seed": 17}))
    assert gate_paths.caption(tmp_path) == before.replace("seed 0", "seed 17") != before


@pytest.mark.parametrize("name", [name for name, entry in REGISTRY.items() if entry.folder])
def test_missing_results_are_named_with_the_command_that_makes_them(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("figures.__main__.ROOT", tmp_path)
    assert status(name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert REGISTRY[name].command in line
    assert (REGISTRY[name].needs or (REGISTRY[name].folder,))[0] in line
    assert not list(tmp_path.iterdir())


def test_without_names_a_figure_whose_results_are_missing_is_skipped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("figures.__main__.ROOT", tmp_path)
    monkeypatch.setattr("figures.__main__.REGISTRY", {name: REGISTRY[name] for name in ("gate_paths", "hyperprior")})
    assert status("--out", tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("skipped gate_paths: ") and "gate_paths.json" in lines[0]
    assert {path.stem.partition(".")[0] for path in (tmp_path / "out").iterdir()} == {"hyperprior"}


def test_reading_what_is_not_there_says_so(tmp_path):
    with pytest.raises(NotThereError, match=r"nothing\.json"):
        read(tmp_path / "nothing.json")


def test_series_differ_by_more_than_colour():
    assert len({series.line for series in SERIES}) == len({series.marker for series in SERIES}) == len(SERIES)


def test_save_closes_the_figure_and_leaves_two_files(tmp_path):
    drawing, (axes,) = figure()
    axes.plot([0, 1])
    assert isinstance(drawing, Figure)
    paths = save(drawing, tmp_path / "new" / "folder", "line")
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["line.pdf", "line.png"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["frob"], "unknown figure 'frob': choose from hyperprior"),
        (["gate_paths", "--run", "nowhere"], "nowhere is no finished run"),
        (["--frob"], "--frob"),
    ],
)
def test_bad_input_is_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert status(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and says in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_figure_that_is_not_of_a_run_is_refused_for_a_run(run, capsys):
    assert status("hyperprior", "--run", run) == 2
    assert "hyperprior is not drawn from a run" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "{}"])
def test_broken_results_are_one_line(content, tmp_path, capsys):
    for name in ("gate_paths.json", "table.json"):
        (tmp_path / name).write_text(content)
    assert status("gate_paths", "--run", tmp_path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and str(tmp_path) in lines[0]


def test_a_place_where_nothing_can_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert status("hyperprior", "--out", tmp_path / "file") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "choose another --out" in lines[0]
