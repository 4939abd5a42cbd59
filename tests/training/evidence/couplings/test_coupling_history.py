"""The history of couplings: quartiles of what the evidence measures, of a real run."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.certificates.fates import fates
from training.evidence.couplings.history import QUANTILES, coupling_history, main
from training.evidence.measurements import acting, bound
from training.evidence.runs import open_run


@pytest.fixture(scope="module")
def folder(digits_run):
    return digits_run("shadow")


def test_quartiles_are_those_of_the_gates_one_by_one(folder):
    run = open_run(folder)
    result = coupling_history(run)
    history = run.history
    ended = fates(history.step.values, history.theta.values)
    assert sum(group["gates"] for group in result["groups"]) == history.sizes["gate"]
    for group in result["groups"]:
        of_fate = {"dead": ended.dead, "alive": ended.alive, "undecided": ~(ended.dead | ended.alive)}[group["fate"]]
        chosen = np.flatnonzero(of_fate & (history.is_branch.values == (group["kind"] == "layers")))
        for name, values in (("measured", acting(history).value), ("bound", bound(history))):
            for i, row in enumerate(values):
                known = sorted(max(float(row[g]), 0.0) for g in chosen if not np.isnan(row[g]))
                if name == "measured":
                    assert group["count"][i] == len(known)
                for q in QUANTILES:
                    # The smallest value with at least the share q at or below it.
                    expected = known[max(0, int(np.ceil(q * len(known))) - 1)] if known else np.nan
                    found = group[name][str(q)][i]
                    if np.isfinite(expected):
                        assert found == pytest.approx(expected, rel=1e-3)
                    else:
                        assert found is None


def test_the_command_writes_what_the_function_returns(folder, tmp_path):
    assert main([str(tmp_path / "c.json"), str(folder)]) == 0
    assert json.loads((tmp_path / "c.json").read_text()) == coupling_history(open_run(folder))


@pytest.mark.parametrize("arguments, says", [([], "FILE.json RUN"), (["c.json", "nowhere"], "nowhere")])
def test_bad_input_is_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line and not list(Path().iterdir())
