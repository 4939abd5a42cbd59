"""The figure of a comparison: every system where its numbers are, bad input in one line."""

import json

import numpy as np
import pytest

from figures.methods_compared import draw, main


def spread(*values):
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if values[1:] else None,
        "values": values,
    }


@pytest.fixture
def folder(tmp_path):
    """A table as `python -m training compare` writes it, of thirty systems and one seed for the last."""
    rows = [
        {
            "label": f"system {i}" if i else "none",
            "method": "while-training" if i else "none",
            "pretrained": i % 2 == 1,
            "accuracy": spread(0.9 + i / 1000, 0.92) if i < 29 else spread(0.8),
            "macs": spread(1 - i / 40, 1 - i / 50) if i < 29 else spread(0.2),
            "training_flops": spread(1 + i / 40, 1.0) if i < 29 else spread(0.5),
        }
        for i in range(30)
    ]
    table = {"network": "resnet14", "preset": "digits", "seeds": [0, 1], "rows": rows}
    (tmp_path / "table.json").write_text(json.dumps(table))
    return tmp_path


def test_every_system_is_where_its_means_are(folder):
    rows = json.loads((folder / "table.json").read_text())["rows"]
    for axes, measure in zip(draw(folder).axes, ("macs", "training_flops"), strict=True):
        means = [container.lines[0].get_xydata()[0] for container in axes.containers]
        expected = [(100 * row[measure]["mean"], 100 * row["accuracy"]["mean"]) for row in rows]
        np.testing.assert_allclose(means, expected)
        assert [len(container.lines[2]) for container in axes.containers] == [2] * 29 + [
            0
        ]  # bars where there is spread
        single = [line.get_xydata() for line in axes.lines if line.get_markersize() == 2]
        np.testing.assert_allclose(single[0][:, 0], [100 * value for value in rows[0][measure]["values"]])


def test_systems_can_be_told_apart(folder):
    drawn = [container.lines[0] for container in draw(folder).axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in drawn[:26]}) == 26


@pytest.mark.parametrize("text", [None, "{", '{"rows": []}'])
def test_a_folder_without_a_comparison_is_refused_in_one_line(text, tmp_path, capsys):
    if text is not None:
        (tmp_path / "table.json").write_text(text)
    assert main([str(tmp_path)]) == 2 and main([]) == 2
    error, usage = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and "no comparison" in error and usage.startswith("usage: ")
