"""`python -m dynamics verify`: what counts as good, and where the records cannot go is said before anything is checked.

That each claim comes out as it must is what `make verify` checks; `.ci/run` calls it beside the tests.
"""

import pytest

from dynamics import verification
from dynamics.commands import verify
from dynamics.proofs.claim import held, proved, refuted, undecided


@pytest.mark.parametrize(
    ("method", "outcome", "good"),
    [
        ("symbolic", proved(), True),
        ("symbolic", held("some", cases=9), False),
        ("branch and bound", held("some", cases=9), False),
        ("simulation", held("some", cases=9), True),
        ("simulation", undecided("some"), False),
        ("symbolic", refuted("all", {"x": 1}), False),
        ("symbolic", None, False),
    ],
)
def test_a_proof_must_prove_and_what_looks_at_cases_must_hold(method, outcome, good):
    assert verification.Record("name", "statement", method, outcome, 0.0).good == good


def test_a_folder_is_no_file_for_the_records(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verify, "run", lambda *_: pytest.fail("checked before the place was looked at"))
    (tmp_path / "there").mkdir()
    assert verify.main(["--json", str(tmp_path / "there")]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_records_that_cannot_be_written_leave_nothing(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="directory"):
        verification.write_json([], tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
