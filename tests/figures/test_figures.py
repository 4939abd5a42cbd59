"""Every figure draws, draws the same bytes twice, and answers bad input in one line."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from figures import gate_paths
from figures.__main__ import REGISTRY, main
from figures.style import figure, save
from training.config import Validate
from training.tracker import TrackerSettings
from training.validate import validate

WITHOUT_RESULTS = sorted(name for name, (_, committed) in REGISTRY.items() if not committed)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real run, with the figure that it asks for itself."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    tracker = TrackerSettings(warmup=10, window=10, every=5)
    return validate(
        Validate(
            out=folder, network="resnet8", width=1, epochs=1, batch=32, ungated=False, tracker=tracker, gate_lr=2.0
        )
    )


def status(*arguments):
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return exit_.code


def same_twice(arguments, name, tmp_path):
    for folder in ("one", "two"):
        assert status(name, *arguments, "--out", tmp_path / folder) == 0
    for kind, magic in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        one, two = ((tmp_path / folder / f"{name}.{kind}").read_bytes() for folder in ("one", "two"))
        assert one == two and one.startswith(magic) and len(one) > 5000
    assert len(list((tmp_path / "one").iterdir())) == 2


@pytest.mark.parametrize("name", WITHOUT_RESULTS)
def test_figures_that_need_no_results_are_the_same_bytes_twice(name, tmp_path):
    same_twice((), name, tmp_path)


def test_gate_paths_of_a_run_are_the_same_bytes_twice(run, tmp_path):
    same_twice(("--run", run), "gate_paths", tmp_path)


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


def test_every_figure_has_a_caption_and_a_drawing():
    for module, _ in REGISTRY.values():
        assert callable(module.draw) and len(module.CAPTION) > 20


def test_save_closes_the_figure_and_leaves_two_files(tmp_path):
    drawing, (axes,) = figure()
    axes.plot([0, 1])
    assert isinstance(drawing, Figure)
    paths = save(drawing, tmp_path / "new" / "folder", "line")
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["line.pdf", "line.png"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["frob"], "unknown figure 'frob': choose from linear_portrait"),
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
