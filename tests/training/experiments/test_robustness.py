"""The robustness experiment: exponents, what is skipped, what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import InputError
from training.experiments.robustness import Robustness, measure
from training.experiments.robustness_spread import by_method, exponent


@given(st.floats(-2, 2), st.floats(0.1, 100), st.lists(st.integers(1, 10_000), min_size=2, max_size=9, unique=True))
def test_a_power_of_the_start_is_found(power, factor, starts):
    rows = [{"units_start": start, "macs": factor * start**power} for start in starts]
    assert exponent(rows, "macs") == pytest.approx(power, abs=1e-6)
    assert exponent(rows[:1] * 3, "macs") is None


def test_means_and_deviations_by_hand():
    rows = [
        {"system": "a", "scale": scale, "seed": seed, "units_start": int(10 * scale), "undecided": 1}
        | dict.fromkeys(("units", "macs", "parameters", "accuracy"), value)
        for scale, seed, value in ((1.0, 0, 3.0), (1.0, 1, 5.0), (2.0, 0, 6.0), (2.0, 1, 10.0))
    ]
    (found,) = by_method(rows)
    assert [at["units"] for at in found["widths"]] == [(4.0, pytest.approx(2**0.5)), (8.0, pytest.approx(8**0.5))]
    assert [at["undecided"] for at in found["widths"]] == [2, 2]
    power, low, high = found["exponents"]["units"]
    assert low <= power <= high and power == pytest.approx(1)  # each seed's size doubles with the width


@pytest.mark.slow
def test_runs_that_are_done_are_skipped_and_a_lost_one_comes_out_the_same(tmp_path, capsys):
    settings = {"network": "lenet-300-100", "width": 6, "scales": (2.0,), "seeds": 1, "ratio": 0.5, "jobs": 1}
    chosen = Robustness(out=tmp_path / "r.json", runs=tmp_path / "runs", epochs=14, **settings)
    first = measure(chosen)
    files = sorted((tmp_path / "runs").glob("*-x*.json"))
    assert len(files) == 3 == len(first["runs"])
    fixed = [row["units"] for row in first["runs"] if row["system"] == "while-training"]
    assert fixed == [8]  # half of 12 + 4
    lost = files[0]
    row, stamps = json.loads(lost.read_text()), {file: file.stat().st_mtime_ns for file in files[1:]}
    lost.unlink()
    again = measure(chosen)
    assert {file: file.stat().st_mtime_ns for file in files[1:]} == stamps
    assert json.loads(lost.read_text()) | {"seconds": 0} == row | {"seconds": 0}
    assert again["spread"] == first["spread"] and json.loads(chosen.out.read_text())["settings"] == again["settings"]
    text = chosen.out.with_suffix(".md").read_text()
    assert text in capsys.readouterr().out + "\n" and "| while-training | ×2 (16) | 1 | 8.0 |" in text
    assert np.isfinite([row["accuracy"] for row in again["runs"]]).all()
    with pytest.raises(InputError, match=r"holds runs of other settings: choose another folder"):
        measure(Robustness(out=tmp_path / "r.json", runs=tmp_path / "runs", epochs=15, **settings))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"out": "r.txt"}, r"out must end in \.json; got"),
        ({"scales": ()}, "scales must be distinct numbers, at least one"),
        ({"scales": (1.0, 1.0)}, "scales must be distinct numbers"),
        ({"scales": (0.0,)}, "scales must be > 0 and finite, and scale × width ≥ 1; got 0.0 × 300"),
        ({"seeds": 0}, "seeds must be ≥ 1"),
        ({"cost": -1.0}, "cost must be > 0 and finite; got -1.0"),
        ({"ratio": 1.0}, r"ratio must be in \(0, 1\); got 1.0"),
        ({"preset": "digit"}, "unknown preset 'digit'"),
    ],
)
def test_bad_settings_are_refused(bad, message, tmp_path):
    bad = bad | {"out": tmp_path / bad.get("out", "r.json")}
    with pytest.raises(InputError, match=message):
        Robustness(**bad)
