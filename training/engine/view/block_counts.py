"""Gates of each block by state: alive, certified, dead or removed, at one moment of a run.

A block is a branch with the units in it, or a unit group that lies in none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float, Int

from training.certificates.fates import DEAD

__all__ = ["BlockCounts", "Blocks", "State", "states"]


class State(IntEnum):
    """What a gate is now; it may still change, unless the gate was removed.

    ALIVE: θ above the level of the dead (`training.certificates.fates.DEAD`), and not certified.
    CERTIFIED: the same, but a certificate says that it dies.
    DEAD: θ at or below that level.
    REMOVED: left the network.
    """

    ALIVE = 0
    CERTIFIED = 1
    DEAD = 2
    REMOVED = 3


def states(
    theta: Float[np.ndarray, " gate"], certified: Bool[np.ndarray, " gate"], removed: Bool[np.ndarray, " gate"]
) -> Int[np.ndarray, " gate"]:
    """Return the `State` of each gate."""
    return np.select([removed, theta <= DEAD, certified], [State.REMOVED, State.DEAD, State.CERTIFIED], State.ALIVE)


@dataclass(frozen=True)
class BlockCounts:
    """How many gates of a block, or of several blocks in a row, are in which state.

    Attributes:
        name: of the block, or of the first and the last.
        units: by `State`.
        branches: by `State`.
    """

    name: str
    units: tuple[int, ...]
    branches: tuple[int, ...]


class Blocks:
    """The blocks of a network, in order of execution.

    Args:
        names: of the gates, as in `dynamics.models.complexity.Structure`. [gate]
        parent: index of the gate of the branch in which each gate lies, −1 for none. [gate]
        is_branch: which gates gate a branch. [gate]

    Attributes:
        names: of the blocks.
    """

    def __init__(
        self, names: Sequence[str], parent: Int[np.ndarray, " gate"], is_branch: Bool[np.ndarray, " gate"]
    ) -> None:
        owner = [names[h] if h >= 0 else name.partition("[")[0] for name, h in zip(names, parent, strict=True)]
        found = dict.fromkeys(name for name, layer in zip(owner, is_branch, strict=True) if not layer)
        # Branches without units have no place among the groups: they come last.
        index = {name: i for i, name in enumerate(dict.fromkeys([*found, *owner]))}
        self.names = [name.removesuffix(".branch") for name in index]
        self._block = np.array([index[name] for name in owner])
        self._is_branch = np.asarray(is_branch)

    def counts(self, state: Int[np.ndarray, " gate"], rows: int | None = None) -> list[BlockCounts]:
        """Return one entry a block, or for at most `rows` runs of neighbouring blocks of equal length.

        Args:
            state: `State` of each gate.
            rows: at least 1; None for as many as there are blocks.
        """
        count = len(self.names)
        table = np.zeros((2, count, len(State)), dtype=np.int64)
        np.add.at(table, (self._is_branch.astype(int), self._block, state), 1)
        length = -(-count // min(rows or count, count))
        return [
            BlockCounts(
                _joined(self.names[i : i + length]),
                tuple(table[0, i : i + length].sum(0).tolist()),
                tuple(table[1, i : i + length].sum(0).tolist()),
            )
            for i in range(0, count, length)
        ]


def _joined(names: Sequence[str]) -> str:
    """One name for neighbours: block3–7."""
    first, last = names[0], names[-1]
    stem = first.rstrip("0123456789")
    if len(names) == 1:
        return first
    return f"{first}–{last[len(stem) :]}" if stem and last.startswith(stem) else f"{first}–{last}"
