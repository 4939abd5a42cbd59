"""The ends of a command: one line and an exit status, whatever stops it, and output that any terminal can show.

A reader that leaves (`… | head -1`) stops nothing: what is still said goes nowhere. A letter that the terminal does
not have is spelled. An interruption, SIGTERM, a full disk and want of memory end a command with a line; a note on the
exception (`BaseException.add_note`) says how to go on, the last one where there are several.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["TerminatedError", "concluded"]

#: Signs that have no name by which one could read them.
_SPELLED = {
    "–": "-", "—": "-", "−": "-", "‑": "-", "…": "...", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "×": "x", "·": "*",
    "“": '"', "”": '"', "‘": "'", "’": "'", "∞": "inf", "½": "1/2", "²": "^2", "±": "+-", "√": "sqrt",
    "→": "->", "∂": "d", "ℓ": "l",
}  # fmt: skip


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


def concluded(work: Callable[[], int]) -> int:
    """Do what a command does, and return its exit status.

    It is 130 after Ctrl-C, 143 after SIGTERM, 2 where the system refuses (no space, no memory, no permission); each of
    them says one line on standard error. Other exceptions pass.

    Args:
        work: returns the exit status.
    """
    with _lasting_streams(), _listening():
        try:
            status = work()
            sys.stdout.flush()
        except KeyboardInterrupt as stopped:
            how, status = ("terminated", 143) if isinstance(stopped, TerminatedError) else ("interrupted", 130)
            print("; ".join([how, *_note(stopped)]), file=sys.stderr)
        except OSError as refused:
            where = f"{refused.filename}: " if refused.filename is not None else ""
            reason = refused.strerror or " ".join(str(refused).split())
            print("; ".join([f"error: {where}{reason}", *_note(refused)]), file=sys.stderr)
            status = 2
        except MemoryError as refused:
            print("; ".join(["error: not enough memory", *_note(refused)]), file=sys.stderr)
            status = 2
        return status


def _note(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])[-1:]


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Let SIGTERM raise; not in a thread, which hears no signals, nor under torchrun, which must end ranks at once."""
    if threading.current_thread() is not threading.main_thread() or "WORLD_SIZE" in os.environ:
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _lasting_streams() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:  # a command without a terminal may have none
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors=_spell.__name__)
            setattr(sys, name, _Lasting(stream))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _Lasting):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        sys.stdout, sys.stderr = before


class _Lasting:
    """A text stream that can lose its reader; everything else is that of the stream within."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write; nothing where nobody reads any more."""
        return self._kept(self._stream.write, text) or len(text)

    def flush(self) -> None:
        """Flush; nothing where nobody reads any more."""
        self._kept(self._stream.flush)

    def _kept(self, do: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return do(*arguments)
        except OSError as error:
            # What is in the buffer would fail again and again, at last when Python ends: it goes to nowhere.
            with contextlib.suppress(OSError, ValueError):  # of a stream without a descriptor
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                raise
            return None


def _spell(error: UnicodeError) -> tuple[str, int]:
    r"""Spell what an encoding does not have.

    Example:
        >>> "θ ≤ ½ – 1 µm, \udcff".encode("ascii", errors="_spell")
        b'theta <= 1/2 - 1 ?m, ?'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(letter: str) -> str:
    if letter in _SPELLED:
        return _SPELLED[letter]
    name = unicodedata.name(letter, "")
    if name.startswith(("GREEK SMALL LETTER", "GREEK CAPITAL LETTER")):
        word = name.split()[-1].lower()
        word = {"lamda": "lambda"}.get(word, word)
        return word.capitalize() if "CAPITAL" in name else word
    return {"BOX": "-"}.get(name.partition(" ")[0], "?")


codecs.register_error(_spell.__name__, _spell)
