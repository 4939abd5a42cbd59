"""The digest says what the pooled result says, and the README can quote it."""

import json

import pytest

from tests.support.simulated_run import follow, layer_run
from training.evidence.calibration import CERTIFICATES
from training.evidence.couplings.growth import HEADROOMS
from training.evidence.digest import bias_digest, digest
from training.evidence.result import evidence
from training.experiments.quote import quoted


@pytest.fixture(scope="module")
def result():
    """One gate that dies under its bound, one that breaks it and ends alive, in runs of different seeds."""
    runs = []
    for seed, last in ((0, 0.5), (1, 9.0)):
        couplings, costs = [0.5] * 3 + [last] * 27, [0.5] * 30
        run = layer_run(follow((0.4, 0.3), couplings, costs), couplings, 1.0, costs)
        run.settings.update(seed=seed, network="resnet8", lr=0.1, momentum=0.9, tracker={"every": 10})
        run.made.update(data="made up")
        runs.append(run)
    return evidence(runs) | {"pairs": []}


def test_the_digest_says_what_the_result_says(result):
    text = digest(result)
    assert text.startswith("2 shadow runs: resnet8; 1 setting, seeds 0, 1; 100.0% of the gates had settled")
    assert "made up" in text and "Refutations: **0**" in text and "Units" not in text
    rules = {row["rule"]: row for row in result["all"]["rules"] if row["kind"] == "layers"}
    for name in ("half-plane", "θ < 0.5"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert [cells[1], cells[2]] == [str(rules[name]["flagged"]), str(rules[name]["dead"])]
        assert cells[4].startswith(f"{rules[name]['wrong']} = ")
    assert rules["half-plane"]["wrong"] == 1 and "1 of 2" in text
    assert sum(line.startswith("| half-plane, escape ≤ 0.1 |") for line in text.splitlines()) == 1
    assert len(CERTIFICATES) == 3 and all(f"| {m:g} | " in text for m in HEADROOMS)


def test_pooled_evidence_can_be_quoted(result, tmp_path):
    (tmp_path / "evidence.json").write_text(json.dumps(result))
    text = "before\n<!-- quote evidence.json -->\nold\n<!-- end quote -->\nafter\n"
    found = quoted(text, tmp_path)
    assert digest(result) in found and "old" not in found and found == quoted(found, tmp_path)


def test_the_bias_of_estimates_is_averaged_over_layers_by_what_was_measured():
    row = {
        "from": 0.0,
        "to": 0.5,
        "kind": "units",
        "gates_and_records": 10,
        "cost": 2.0,
        "certain": 4,
        "wrong_way": 0.5,
    }
    other = row | {"gates_and_records": 30, "cost": 1.0, "certain": 6, "wrong_way": None}
    free = row | {"cost": 0.0}  # without a price there is nothing to compare a bias with
    rows = [
        row | {"first_order_bias": 4.0, "used_bias": 0.0},
        other | {"first_order_bias": 1.0, "used_bias": -1.0},
        free,
    ]
    text = bias_digest({"bias": rows, "runs": [{"network": "resnet8", "preset": "digits"}]})
    assert "| units | 0% to 50% | 40 | 1.25 | -0.75 | 10 | 20.0% |" in text.splitlines()
    assert "layers" not in text
