"""The five ways in which following a trajectory ends."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Fate"]


class Fate(IntEnum):
    """How a trajectory ends. Only what is certain gets a name; the rest is UNDECIDED.

    - ZERO: θ = 0 for good. On that face the norms only decay, so θ' stays ≤ 0 once it is.
    - ALIVE: θ = 1 for good, weights bounded.
    - DIVERGED: θ = 1 for good and the norms grow without bound, or passed the bound while growing. Not pruned.
    - UNDECIDED: the horizon or the step budget ended first, for instance in a slow passage near the saddle.
    - FAILED: the field is not finite at the start (an infinite coupling, an overflow), or no step size meets the
      tolerance.
    """

    ZERO = 0
    ALIVE = 1
    DIVERGED = 2
    UNDECIDED = 3
    FAILED = 4
