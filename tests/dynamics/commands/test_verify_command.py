"""`python -m dynamics verify`: where the records cannot go is said before anything is checked."""

import pytest

from dynamics import verification
from dynamics.commands import verify


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
