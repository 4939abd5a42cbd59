"""The view of a run in a terminal, above its progress bar: accuracy, FLOPs left, and every block's gates.

The view only keeps what it is told. It counts and writes when the terminal is drawn anew, on the progress bar's
thread, and only if something has changed: a training step pays for an assignment at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from training.certificates.record import Record
from training.certificates.rules import removable, rule
from training.engine.callbacks import Callback, TrainingRun
from training.engine.config import PruneSettings, RunConfig
from training.engine.view.block_counts import Blocks, State, states
from training.engine.view.block_table import block_table

__all__ = ["LiveView"]

RESERVED = 2  # lines of the terminal for the progress bar and the cursor


@dataclass(frozen=True)
class _Seen:
    """What the run has told, replaced as a whole: the thread that draws never sees half of a change."""

    step: int = 0
    epoch: int = 0
    accuracy: float = 0.0
    loss: float = 0.0
    spent: float = 1.0  # training FLOPs, of those that the full network would have needed
    on: float | None = None  # FLOPs of the deterministic network, of the full one's
    left: float | None = None  # FLOPs of the network that is there, of the full one's
    theta: np.ndarray = field(default_factory=lambda: np.empty(0))
    removed: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    record: Record | None = None


class LiveView(Callback):
    """Shows a run: pass it to `training.runtime.progress.Progress.show`, and to the loop among its hooks.

    Args:
        training: new, from which nothing was removed yet; it may go to a checkpoint afterwards.
    """

    def __init__(self, training: TrainingRun) -> None:
        self._config = training.config
        self._rule = _certificate(training.config)
        self._blocks: Blocks | None = None
        self._seen, self._begun = _Seen(), False
        self._drawn: tuple[_Seen, tuple[int, int], list[Segment]] | None = None
        method, gates = training.method, training.method.gates
        if gates is not None:
            self._is_branch = gates.is_branch.cpu().numpy()
            self._blocks = Blocks(method.full.names, gates.parent.cpu().numpy(), self._is_branch)
            self._full = method.full.full_macs
            self._seen = _Seen(removed=np.zeros(gates.total, dtype=bool))  # a first step may remove
        self._measures = method.makes_records
        self._removes = gates is not None and (training.config.mode == "prune" or not self._measures)

    def log(self, **values: Any) -> None:
        """Keep an epoch's accuracy and FLOPs, or what a removal took."""
        seen = self._seen
        if "removed" in values:
            removed = seen.removed.copy()
            removed[values["removed"]] = True
            seen = replace(seen, removed=removed, left=values["macs_left"] / self._full)
        if "epoch" in values:
            on = values["macs"] / values["macs_full"] if "macs" in values else None
            now = {name: values[name] for name in ("step", "epoch", "accuracy", "loss")}
            seen = replace(seen, **now, on=on, spent=values["flops"] / values["flops_full"])
        self._seen = seen

    def record(self, record: Record) -> None:
        """Keep the record, of all gates there were at first."""
        self._seen = replace(self._seen, record=record, step=record.step)

    def save(self, training: TrainingRun, last: bool) -> None:
        """Find, after the first step, where an earlier process left the run, if it goes on."""
        if not self._begun:
            seen = self._start(training)
            self._begun, self._seen = True, seen

    def _start(self, training: TrainingRun) -> _Seen:
        at, method, gates = training.at, training.method, training.method.gates
        seen = replace(self._seen, step=at.step, epoch=at.epoch, accuracy=at.accuracy, loss=at.mean)
        seen = replace(seen, spent=at.flops / at.flops_full)
        if gates is not None:
            counts, origin = method.counts(), gates.origin.cpu().numpy()
            theta, removed = np.zeros(gates.total), np.ones(gates.total, dtype=bool)
            theta[origin], removed[origin] = gates.theta.detach().cpu().numpy(), False
            left = method.structure.total_macs / self._full
            seen = replace(seen, theta=theta, removed=removed, left=left, on=counts["macs"] / counts["macs_full"])
        return seen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        seen, size = self._seen, (options.max_width, options.size.height)
        if self._drawn is None or self._drawn[0] is not seen or self._drawn[1] != size:
            lines = (console.render(line, options) for line in self._lines(seen, *size))
            self._drawn = seen, size, [segment for line in lines for segment in line]
        yield from self._drawn[2]

    def _lines(self, seen: _Seen, width: int, height: int) -> Iterator[Text]:
        """What is seen, in lines of at most `width` and, as far as that can be, at most `height` of them."""
        head = list(_filled(self._parts(seen), width))
        yield from (Text(line, no_wrap=True, overflow="crop") for line in head)
        if self._blocks is None or not self._begun:
            return
        record = seen.record
        known = record is not None and record.step >= self._config.tracker.warmup
        certified = removable(self._rule, record, self._is_branch) if record is not None and known else ~seen.removed
        state = states(record.theta if record is not None else seen.theta, certified & known, seen.removed)
        columns = [State.ALIVE, *([State.CERTIFIED] if self._measures else []), State.DEAD]
        unknown = () if known else (State.CERTIFIED,)
        yield from block_table(
            self._blocks,
            state,
            [*columns, *([State.REMOVED] if self._removes else [])],
            width=width,
            height=height - len(head) - RESERVED,
            unknown=unknown,
        )

    def _parts(self, seen: _Seen) -> Iterator[str]:
        if seen.epoch:
            yield f"accuracy {100 * seen.accuracy:.2f}% after epoch {seen.epoch}/{self._config.epochs}"
            yield f"loss {seen.loss:.3f}"
        else:
            yield f"accuracy: after the first of {self._config.epochs} epochs"
        if seen.on is not None and seen.left is not None:
            if self._removes:
                yield f"FLOPs left {100 * seen.left:.1f}%, of gates with θ ≥ ½ {100 * seen.on:.1f}%"
                yield f"FLOPs of training {100 * seen.spent:.1f}%"
            else:
                yield f"FLOPs left {100 * seen.on:.1f}% (gates with θ ≥ ½)"
        if self._measures and seen.step < self._config.tracker.warmup:
            yield f"no certificates before step {self._config.tracker.warmup}"


def _certificate(config: RunConfig) -> str:
    """The certificate that prune mode follows; where it follows none, the one it follows by default."""
    chosen = config.prune.rule
    return chosen if rule(chosen).system is not None else PruneSettings.rule


def _filled(parts: Iterator[str], width: int) -> Iterator[str]:
    """The parts in lines, none broken that fits into one."""
    line = ""
    for part in parts:
        joined = f"{line}   {part}" if line else part
        if line and len(joined) > width:
            yield line
            joined = part
        line = joined
    if line:
        yield line
