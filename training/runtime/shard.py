"""The part of every batch that one process takes where several train together."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["WHOLE", "Share"]


class Share(NamedTuple):
    """One of `size` nearly equal parts of whatever is shared.

    Parts are contiguous: cut from a tensor they are views, and put one after the other in the order of the ranks
    they are the whole again. Parts do not overlap, and none of the rows is left out.

    Attributes:
        rank: which part, 0 to size − 1.
        size: number of parts, ≥ 1.

    Example:
        >>> [Share(rank, 3).of(8) for rank in range(3)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 8, None)]
    """

    rank: int = 0
    size: int = 1

    def of(self, count: int, start: int = 0) -> slice:
        """Return this part of the `count` rows that begin at `start`; parts differ by at most one row."""
        return slice(*(start + count * rank // self.size for rank in (self.rank, self.rank + 1)))


#: Of the only process.
WHOLE = Share()
