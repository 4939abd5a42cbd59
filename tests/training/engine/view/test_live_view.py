"""The live view: what it says of real small runs, that it fits, and that it leaves a terminal as it was."""

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.support.forks import FORKS
from training.__main__ import main
from training.certificates.fates import DEAD
from training.certificates.history import open_history
from training.certificates.tracker import TrackerSettings
from training.data.data_sets import load_digits
from training.engine.build import network_of
from training.engine.callbacks import Callback, CallbackList
from training.engine.config import PruneSettings, RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.journal import Journal
from training.engine.loop import Training
from training.engine.method import NoPruning
from training.engine.view.block_counts import Blocks, State, states
from training.engine.view.block_table import block_table
from training.engine.view.live_view import LiveView
from training.runtime.progress import Progress
from training.runtime.run_folder import RunFolder

SMALL = RunConfig(
    network="resnet8",
    width=2,
    epochs=1,
    batch=48,
    nu=3.0,
    gate_lr=0.5,
    tracker=TrackerSettings(warmup=20, window=10, every=5),
    prune=PruneSettings(every=5),
)


class Watch(Callback):
    """Keeps what the view showed at every record, the record, and the last log."""

    def __init__(self, view, widths):
        self.view, self.widths, self.shown, self.last = view, widths, [], {}

    def record(self, record):
        self.shown += [(record, width, drawn(self.view, width)) for width in self.widths]

    def log(self, **values):
        self.last |= values


def drawn(view, width, height=40):
    console = Console(file=io.StringIO(), width=width, height=height, legacy_windows=False)
    console.print(view)
    return console.file.getvalue().splitlines()


def trained(config, widths=(), gated=True):
    data = load_digits()
    training = Training(config, network_of(config, data), data, GateLearner if gated else NoPruning)
    view = LiveView(training)
    watch = Watch(view, widths)
    training.run(Progress("test", training.steps, quiet=True), CallbackList(view, watch))
    return training, view, watch


def row(lines, name):
    """The numbers of a row, and what is written after them."""
    (found,) = [line for line in lines if line.split()[:1] == [name]]
    numbers, ending = re.fullmatch(r"\S+ *[█▒·×]*((?: +(?:\d+|–)(?= |$))+)(.*)", found).groups()
    return numbers.split(), ending.strip()


def test_a_shadow_run_is_counted_as_its_records_say():
    _, view, watch = trained(SMALL, (80, 50))
    for record, width, lines in watch.shown:
        assert max(map(len, lines)) <= width
        early = record.step < 20
        assert any("no certificates before step 20" in line for line in lines) == early
        at = 0
        for block, units in enumerate((2, 4, 8)):
            part, branch = slice(at, at + units), 14 + block
            at += units
            dead = int((record.theta[part] <= DEAD).sum())
            certified = int(((record.margin_bilinear[part] < 0) & (record.theta[part] > DEAD)).sum())
            numbers, ending = row(lines, f"block{block}")
            assert numbers == [
                str(units - dead - (0 if early else certified)),
                "–" if early else str(certified),
                str(dead),
            ]
            fate = "dead" if record.theta[branch] <= DEAD else "certified" if record.margin[branch] < 0 else "alive"
            assert ending == ({"certified": "alive"}.get(fate, fate) if early else fate)
    last = drawn(view, 50)
    assert any(f"accuracy {100 * watch.last['accuracy']:.2f}% after epoch 1/1" in line for line in last)
    share = 100 * watch.last["macs"] / watch.last["macs_full"]
    assert any(f"FLOPs left {share:.1f}%" in line for line in last)
    seen = [row(lines, "units")[0] for record, _, lines in watch.shown if record.step >= 20]
    assert any(int(certified) for _, certified, _ in seen) and any(int(dead) for *_, dead in seen)


def test_a_prune_run_shows_what_was_removed_and_goes_on_from_a_checkpoint(tmp_path):
    config = replace(SMALL, mode="prune", checkpoint_every=1e-9)
    data = load_digits()
    with RunFolder(tmp_path / "run") as folder:
        training = Training(config, network_of(config, data), data, GateLearner)
        progress = Progress("gated", training.steps, quiet=True)
        with Journal(folder, "gated", training, progress) as journal:
            training.run(progress, journal)
        assert training.method.gates.total > len(training.method.gates.theta)
        again = Training(config, network_of(config, data), data, GateLearner)
        view = LiveView(again)
        with Journal(folder, "gated", again, progress):
            view.save(again, False)
    counts = training.method.counts()
    for width in (80, 50):
        lines = drawn(view, width)
        assert max(map(len, lines)) <= width
        # Known from the checkpoint alone; what is certified only from the next record on.
        alive, certified, dead, removed = row(lines, "units")[0]
        assert certified == "–"
        assert int(removed) == 14 - counts["units_left"] and int(alive) + int(dead) == counts["units_left"]
        assert int(row(lines, "branches")[0][3]) == 3 - counts["layers_left"]
        text = " ".join(lines)
        assert f"accuracy {100 * training.at.accuracy:.2f}% after epoch 1/1" in text
        assert f"FLOPs of training {100 * training.at.flops / training.at.flops_full:.1f}%" in text
        left = 100 * training.method.structure.total_macs / counts["macs_full"]
        assert f"FLOPs left {left:.1f}%, of gates with θ ≥ ½" in text
    assert open_history(tmp_path / "run" / "gates.zarr").sizes["gate"] == 17


def test_a_plain_network_shows_its_accuracy_alone_and_is_not_written_anew_unchanged():
    _, view, watch = trained(SMALL, gated=False)
    assert drawn(view, 80) == [
        f"accuracy {100 * watch.last['accuracy']:.2f}% after epoch 1/1   loss {watch.last['loss']:.3f}"
    ]
    first = view._drawn
    drawn(view, 80)
    assert view._drawn is first
    drawn(view, 50)
    assert view._drawn is not first


@settings(max_examples=25)
@given(data=st.data(), width=st.integers(50, 160), height=st.integers(-3, 60))
def test_the_table_fits_and_loses_no_gate(data, width, height):
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=30))
    names = [f"block{i}.units[{j}]" for i, size in enumerate(sizes) for j in range(size)]
    units = len(names)
    parent = np.concatenate([np.repeat(units + np.arange(len(sizes)), sizes), np.full(len(sizes), -1)])
    names += [f"block{i}.branch" for i in range(len(sizes))]
    layer = np.arange(len(names)) >= units
    state = np.random.default_rng(data.draw(st.integers(0, 99))).integers(len(State), size=len(names))
    blocks = Blocks(names, parent, layer)
    lines = [text.plain for text in block_table(blocks, state, list(State), width=width, height=height)]
    assert max(map(len, lines)) <= width and len(lines) <= max(height, 3)
    rows = lines[1:-2]
    shown = np.array([row([line], line.split()[0])[0] for line in rows], dtype=int).reshape(-1, 4)
    sums = np.bincount(state[:units], minlength=4)
    assert row(lines, "units")[0] == [str(n) for n in sums]
    assert row(lines, "branches")[0] == [str(n) for n in np.bincount(state[units:], minlength=4)]
    if rows:
        assert (shown.sum(0) == sums).all()
    else:
        assert height <= 3


def test_what_a_gate_is():
    theta = np.array([1, 1, DEAD, DEAD, 0.5])
    certified, removed = np.array([0, 1, 1, 0, 1], bool), np.array([0, 0, 0, 1, 1], bool)
    assert states(theta, certified, removed).tolist() == [0, 1, 2, 3, 3]


def test_blocks_are_named_after_the_branch_or_the_group():
    names = ["units1[0]", "units1[1]", "section2.units3[0]", "section2.units4[0]", "section2", "section3"]
    blocks = Blocks(names, np.array([-1, -1, 4, 4, -1, -1]), np.array([0, 0, 0, 0, 1, 1], bool))
    assert blocks.names == ["units1", "section2", "section3"]
    counts = blocks.counts(np.zeros(6, int))
    assert [(sum(each.units), sum(each.branches)) for each in counts] == [(2, 0), (2, 1), (0, 1)]
    assert [each.name for each in blocks.counts(np.zeros(6, int), 2)] == ["units1–section2", "section3"]


def test_without_a_terminal_there_are_plain_lines_and_nothing_else(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on many a build server
    with Progress("gated", 4, interval=0.0) as progress:
        progress.show("a view")
        progress.advance()
        progress.note("epoch 1/2")
    out, err = capsys.readouterr()
    assert not out
    first, second = re.sub(r"\x1b\[[0-9;]*m", "", err).splitlines()
    assert re.fullmatch(r"gated: 1/4  \d+\.\d/s  \d+ s left", first) and second == "gated: epoch 1/2"


def _in_terminal(name, arguments):
    """In a process of its own: make the terminal `name` its own, and be `python -m training …` there."""
    os.setsid()
    terminal = os.open(name, os.O_RDWR)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in (0, 1, 2):
        os.dup2(terminal, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
    sys.argv = ["training", *arguments]
    for variable in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        os.environ.pop(variable, None)
    os.environ["TERM"] = "xterm"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests are a shell's background job
    sys.exit(main())


def in_terminal(arguments, when, width=50, height=24):
    """Run a command in a pseudo-terminal, press Ctrl-C once `when` has been shown: (exit status, what was written)."""
    terminal, other = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    child = FORKS.Process(target=_in_terminal, args=(os.ttyname(other), arguments))
    child.start()
    written, pressed, until = b"", False, time.monotonic() + 120
    try:
        while True:
            if not select.select([terminal], [], [], max(0, until - time.monotonic()))[0]:
                child.kill()
                pytest.fail(f"not {'ended' if pressed else 'shown'} after two minutes: {written[-500:]!r}")
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            if not written:
                os.close(other)  # before the child has opened its end this would hang up the terminal
            written += piece
            if not pressed and when in written.decode(errors="ignore"):
                os.write(terminal, b"\x03")
                pressed = True
    finally:
        os.close(terminal)
        child.join()
    return child.exitcode, written.decode()


@pytest.mark.slow
def test_an_interruption_leaves_a_clean_terminal(tmp_path):
    small = ["--network", "resnet8", "--width", "1", "--epochs", "500", "--hold", "0", "--threads", "1"]
    tracker = ["--tracker.warmup", "5", "--tracker.every", "5", "--tracker.window", "5"]
    status, text = in_terminal(["validate", "--out", str(tmp_path / "run"), *small, *tracker], "epoch 1/500")
    assert status == 130
    assert "block2" in text and "alive" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0  # the cursor was hidden, and is shown again
    # The message comes after all drawing, in a line of its own, and Python adds nothing.
    end = text[text.rfind("\x1b[?25h") + len("\x1b[?25h") :].replace("\r\n", "\n")
    assert re.fullmatch(r"interrupted; python -m training resume \S+/run goes on with it\n", end)
    # The bar leaves room for the ^C that the terminal writes: no drawn line reaches the last column.
    bars = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines() if line.startswith("gated ")]
    assert bars and max(len(line.partition("^C")[0].rstrip("\r")) for line in bars) <= 47
