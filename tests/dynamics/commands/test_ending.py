"""A command ends with one line and a status, and says what the terminal can show to whoever still reads."""

import io
import os
import signal
import sys

import pytest
from rich.console import Console

from dynamics.commands.ending import concluded


def ascii_stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def stop(error, *notes):
    for note in notes:
        error.add_note(note)
    raise error


@pytest.mark.parametrize("say", [print, lambda text: Console(width=200).print(text)])
def test_what_the_terminal_has_no_letters_for_is_spelled(monkeypatch, say):
    monkeypatch.setattr(sys, "stdout", stream := ascii_stream())
    monkeypatch.setattr(sys, "stderr", errors := ascii_stream())

    def work():
        say("θ ≤ ½ – Δρ, κ × 2 … 名 \udcff")
        print("λ", file=sys.stderr)
        return 0

    assert concluded(work) == 0
    assert stream.buffer.getvalue().strip() == b"theta <= 1/2 - Deltarho, kappa x 2 ... ? ?"
    assert errors.buffer.getvalue() == b"lambda\n"
    assert (sys.stdout, sys.stderr) == (stream, errors)


@pytest.mark.parametrize("say", [print, lambda text: Console(width=200).print(text)])
def test_a_reader_that_leaves_stops_nothing(monkeypatch, say):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w", buffering=1))
    done = []

    def work():
        for i in range(3):
            say("line")
            done.append(i)
        return 1

    assert concluded(work) == 1
    assert done == [0, 1, 2]
    sys.stdout.close()  # as Python does when it ends: nothing is left that could fail


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert concluded(lambda: print("said") or 0) == 2
        assert capsys.readouterr().err == "error: No space left on device\n"


@pytest.mark.parametrize(
    "error, status, says",
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "out/x.json"), 2, "error: out/x.json: No space left on device"),
        (OSError(13, "Permission denied"), 2, "error: Permission denied"),
        (OSError("two\nlines"), 2, "error: two lines"),
        (MemoryError(), 2, "error: not enough memory"),
    ],
)
@pytest.mark.parametrize("notes, then", [((), ""), (("inner", "resume goes on"), "; resume goes on")])
def test_what_stops_a_command_is_one_line_with_the_last_word_on_how_to_go_on(error, status, says, notes, then, capsys):
    fresh = (
        type(error)(*error.args)
        if not getattr(error, "filename", None)
        else OSError(28, error.strerror, error.filename)
    )
    assert concluded(lambda: stop(fresh, *notes)) == status
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{says}{then}\n")


def test_sigterm_says_a_line_and_is_what_it_was_afterwards(capsys):
    before = signal.getsignal(signal.SIGTERM)

    def work():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    assert concluded(work) == 143
    assert capsys.readouterr().err == "terminated\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_defect_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        concluded(lambda: 1 // 0)
