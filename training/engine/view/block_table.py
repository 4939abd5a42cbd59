"""The table of every block's gates by state, to fit a terminal of a given size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int
from rich.text import Text

from training.engine.view.block_counts import BlockCounts, Blocks, State

__all__ = ["block_table"]

LOOK = {  # sign and colour: told apart without colour too
    State.ALIVE: ("█", "blue"),
    State.CERTIFIED: ("▒", "yellow"),
    State.DEAD: ("·", "dim"),
    State.REMOVED: ("×", "dim"),
}
NAMES = {state: state.name.lower() for state in State}
SHORT = NAMES | {State.CERTIFIED: "cert.", State.REMOVED: "gone"}  # where the terminal is narrow
LABEL = 16  # longest name of a block shown whole
BAR = (6, 40)  # a shorter bar says nothing, a longer one nothing more


def block_table(
    blocks: Blocks,
    state: Int[np.ndarray, " gate"],
    columns: Sequence[State],
    *,
    width: int,
    height: int,
    unknown: Sequence[State] = (),
) -> Iterator[Text]:
    """Return lines: a heading, one a block (neighbours together where there are many), all units, all branches.

    Args:
        blocks: of the network.
        state: `State` of each gate.
        columns: the states shown.
        width: of the terminal; what is beyond is cut off.
        height: lines there are; with too few for any block, only the sums are shown.
        unknown: states of which nothing is known yet: a dash in place of their counts.
    """
    sums = blocks.counts(state, 1)[0]
    fixed = 2 + (sum(sums.branches) > 0)
    rows = blocks.counts(state, height - fixed) if height > fixed else []
    label = min(LABEL, max(len(name) for name in ("branches", *(row.name for row in rows))))
    digits = len(str(sum(sums.units)))
    for names, with_branch in ((NAMES, True), (SHORT, True), (SHORT, False)):
        endings = [_branch(row, names) if with_branch else "" for row in rows]
        branch = max(map(len, ("branch", *endings))) if any(endings) else 0
        widths = [max(len(names[column]) + 2, digits) for column in columns]
        rest = width - label - sum(w + 2 for w in widths) - (branch + 2 if branch else 0)
        if rest >= 0:
            break
    bar = min(rest - 1, BAR[1]) if rest > BAR[0] else 0

    def line(name: str, counts: Sequence[int], ending: str = "", style: str = "") -> Text:
        text = Text(_short(name).ljust(label), style=style, no_wrap=True, overflow="crop")
        if bar:
            text.append(" ")
            for column, cells in zip(columns, _shares([counts[c] for c in columns], bar), strict=True):
                sign, colour = LOOK[column]
                text.append(sign * cells, style=colour)
            text.pad_right(label + 1 + bar - len(text))
        for column, size in zip(columns, widths, strict=True):
            text.append(("–" if column in unknown else str(counts[column])).rjust(size + 2))
        return text.append(f"  {ending}" if ending else "")

    text = Text("block".ljust(label + bool(bar) + bar), no_wrap=True, overflow="crop")
    for column, size in zip(columns, widths, strict=True):
        sign, colour = LOOK[column]
        text.append(" " * (size - len(names[column]))).append(sign, style=colour).append(f" {names[column]}")
    yield text.append("  branch" if branch else "")
    for row, ending in zip(rows, endings, strict=True):
        yield line(row.name, row.units, ending)
    yield line("units", sums.units, style="bold")
    if sum(sums.branches):
        yield line("branches", sums.branches, style="bold")


def _branch(row: BlockCounts, names: Mapping[State, str]) -> str:
    """The state of a block's branch; of several blocks, how many branches are still up."""
    count = sum(row.branches)
    if count <= 1:
        return "".join(names[state] for state in State if row.branches[state])
    return f"{row.branches[State.ALIVE]}/{count} alive"


def _short(name: str) -> str:
    return name if len(name) <= LABEL else f"…{name[1 - LABEL :]}"


def _shares(counts: Sequence[int], cells: int) -> list[int]:
    """Cells of a bar in proportion to the counts; `cells` in all, none for a bar of nothing."""
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    edges = [round(cells * sum(counts[: i + 1]) / total) for i in range(len(counts))]
    return [edge - before for edge, before in zip(edges, [0, *edges], strict=False)]
