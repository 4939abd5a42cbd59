import json
from pathlib import Path

from training.experiments.quote import main, quoted

ROOT = Path(__file__).parents[3]
ROW = {"rule": "half-plane", "gates": 4, "dead": 2, "flagged": 2, "caught": 2, "wrong": 0, "undecided": 0, "lead": 7.0}
RESULT = {
    "seed": 3,
    "epochs": 2,
    "steps": 40,
    "warmup": 10,
    "data": "some data",
    "command": "python -m training validate",
    "units": [ROW],
    "layers": [ROW],
    "settings": {
        "nu": 1.0,
        "alpha": 0.5,
        "beta": 0.0,
        "lr": 0.1,
        "gate_lr": 0.5,
        "theta_start": 0.9,
        "hold": 5,
        "tracker": {"factor": 2.0, "window": 10, "every": 5},
    },
    "gated": {"accuracy": 0.5, "macs": 1.0, "macs_full": 4.0, "parameters": 1.0, "parameters_full": 2.0},
}


def test_the_readme_says_what_its_result_files_say():
    text = (ROOT / "README.md").read_text()
    assert "<!-- quote paper/results/" in text
    assert quoted(text, ROOT) == text, "run: python -m training.experiments.quote README.md"


def test_a_changed_result_changes_the_quotation_and_nothing_else(tmp_path):
    (tmp_path / "run").mkdir()
    text = tmp_path / "text.md"
    text.write_text("before\n<!-- quote run -->\nstale\n<!-- end quote -->\nafter\n")
    (tmp_path / "run" / "table.json").write_text(json.dumps(RESULT))
    assert main([str(text)]) == 0
    first = text.read_text()
    assert first.startswith("before\n<!-- quote run -->") and first.endswith("<!-- end quote -->\nafter\n")
    assert "stale" not in first and "| half-plane | 2 |" in first and "50.00%" in first and "some data" in first
    (tmp_path / "run" / "table.json").write_text(json.dumps(RESULT | {"seed": 4}))
    assert main([str(text)]) == 0
    assert text.read_text() == first.replace("Seed 3", "Seed 4")


def test_a_missing_result_is_named_and_the_text_left_alone(tmp_path, capsys):
    text = tmp_path / "text.md"
    text.write_text("<!-- quote nowhere -->\n<!-- end quote -->\n")
    before = text.read_text()
    assert main([str(text)]) == 2
    assert "nowhere/table.json" in capsys.readouterr().err and text.read_text() == before
