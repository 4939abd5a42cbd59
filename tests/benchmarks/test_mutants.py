"""The list of faults fits the code, and what the script calls caught or survived is."""

import json
from dataclasses import replace

import pytest

from benchmarks import mutants
from benchmarks.mutants import Fault

FAULTS = mutants.read()


def test_the_list_fits_the_code():
    """So that the table cannot rot: whoever changes a line that is listed here must say how it could be wrong now."""
    assert [line for fault in FAULTS for line in mutants.mistakes(fault)] == []
    assert len(FAULTS) >= 60 and len(set(FAULTS)) == len(FAULTS)


@pytest.fixture
def tiny(tmp_path):
    """A tree of one file and one test, in no package."""
    (tmp_path / "half.py").write_text("def half(x):\n    return x / 2  # of it\n", encoding="utf-8")
    test = "from half import half\n\n\ndef test_half():\n    assert half(3) == 1.5\n"
    (tmp_path / "test_half.py").write_text(test, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return tmp_path


FLOOR = Fault("half.py", "x / 2", "x // 2", "rounded down", tests=("test_half.py",))


def test_a_fault_is_caught_a_harmless_change_survives_and_the_file_is_mended(tiny):
    text = (tiny / "half.py").read_text(encoding="utf-8")
    harmless = replace(FLOOR, old="of it", new="of what is given")
    found = [mutants.attempt(fault, tiny, 60)["caught by"] for fault in (FLOOR, harmless)]
    assert found == [["test_half.py::test_half"], []]
    assert (tiny / "half.py").read_text(encoding="utf-8") == text


def test_a_check_that_looks_at_nothing_is_an_error(tiny):
    (tiny / "test_half.py").write_text("", encoding="utf-8")
    with pytest.raises(RuntimeError, match="no test ran"):
        mutants.attempt(FLOOR, tiny, 60)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"old": "x / 3"}, "occurs 0 times"),
        ({"old": "x"}, "occurs 2 times"),
        ({"new": "x / 2"}, "another text"),
        ({"new": "x /"}, "is no Python"),
        ({"tests": ()}, "no check"),
        ({"tests": ("test_half.py::test_third",)}, "there is no test"),
    ],
)
def test_a_fault_that_does_not_fit_is_an_error(tiny, changed, said):
    (line,) = mutants.mistakes(replace(FLOOR, **changed), tiny)
    assert said in line
    assert mutants.mistakes(FLOOR, tiny) == []


def test_what_is_known_is_not_tried_again_until_fault_file_or_check_change(tiny):
    before = FLOOR.digest(tiny)
    assert replace(FLOOR, new="x").digest(tiny) != before == FLOOR.digest(tiny)
    for name in ("half.py", "test_half.py"):
        text = (tiny / name).read_text(encoding="utf-8")
        (tiny / name).write_text(text + "\n", encoding="utf-8")
        assert FLOOR.digest(tiny) != before
        (tiny / name).write_text(text, encoding="utf-8")
    path = tiny / "known.jsonl"
    path.write_text(json.dumps({"digest": before, "row": {"caught by": []}}) + '\n{"digest": "cut', encoding="utf-8")
    assert mutants.known(path) == {before: {"caught by": []}}
