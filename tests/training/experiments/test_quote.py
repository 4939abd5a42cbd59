import json
from pathlib import Path

import pytest

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


TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUOTING = [path for path in TEXTS if "<!-- quote " in path.read_text()]


def test_readme_and_results_quote():
    assert {path.name for path in QUOTING} >= {"README.md", "results.md", "comparison.md", "robustness.md"}


@pytest.mark.parametrize("path", QUOTING, ids=lambda path: path.name)
def test_a_text_says_what_its_result_files_say(path):
    text = path.read_text()
    assert "paper/results/" in text
    name = path.relative_to(ROOT)
    assert quoted(text, path.parent) == text, f"run: python -m training.experiments.quote {name}"


def test_a_part_is_one_paragraph_with_its_table():
    source = "paper/results/evidence-digits.json"
    whole = quoted(f"<!-- quote {source} -->\n<!-- end quote -->", ROOT)
    part = quoted(f"<!-- quote {source}#Units -->\n<!-- end quote -->", ROOT)
    lines = part.splitlines()[2:-2]
    assert "\n".join(lines) in whole and lines[0].startswith("Units (")
    assert all(line.startswith("|") for line in lines[2:]) and len(lines) == 2 + 2 + 8


def test_the_sentence_has_the_numbers_of_the_table():
    text = quoted("<!-- quote paper/results/evidence-digits.json#sentence -->\n<!-- end quote -->", ROOT)
    rules = json.loads((ROOT / "paper/results/evidence-digits.json").read_text())["all"]["rules"]
    (row,) = (row for row in rules if (row["kind"], row["rule"]) == ("units", "half-plane"))
    assert f"{row['caught']} of the {row['dead']} units" in text and f"{row['wrong']} of its {row['flagged']}" in text


def test_a_part_that_is_not_there_is_named(tmp_path, capsys):
    (tmp_path / "table.json").write_text(json.dumps(RESULT))
    text = tmp_path / "text.md"
    text.write_text("<!-- quote .#Nothing -->\n<!-- end quote -->\n")
    assert main([str(text)]) == 2 and "begins with 'Nothing'" in capsys.readouterr().err


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
