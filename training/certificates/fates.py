"""The fate of each gate at the end of a run: dead, alive, come back from zero, or censored.

The levels of θ that decide this are defined here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["ALIVE", "DEAD", "REVIVED", "SETTLED", "Fate", "fates", "first_return", "first_step", "settled"]

SETTLED = 0.02  # a gate has settled within this distance of 0 or of 1; in between, its run was too short to tell
DEAD = SETTLED  # a gate is dead from the moment θ falls to this level for the rest of the run
ALIVE = 1 - SETTLED  # a gate that ends at or above it ended alive
REVIVED = 0.1  # a gate that was at DEAD and rises above this came back


@dataclass(frozen=True)
class Fate:
    """The fate of each gate. Arrays are [gate].

    Attributes:
        dead: θ ≤ `DEAD` at the end.
        alive: θ ≥ `ALIVE` at the end.
        death: step from which θ stayed at or below `DEAD` to the end; −1 if the gate did not end dead.
        touched: first step with θ ≤ `DEAD`, −1 for none.
        revived: last step at which θ rose above `REVIVED` after having been at or below `DEAD`; −1 for never.
        high: θ > ½ at the end; for a gate that has not settled, the side on which it stopped.
    """

    dead: Bool[np.ndarray, " gate"]
    alive: Bool[np.ndarray, " gate"]
    death: Int[np.ndarray, " gate"]
    touched: Int[np.ndarray, " gate"]
    revived: Int[np.ndarray, " gate"]
    high: Bool[np.ndarray, " gate"]

    def wrong(self, flag: Int[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
        """Return which gates were flagged falsely: flagged (≥ 0), then alive at the end or back from zero.

        Coming back is an event, not a state: it counts wherever the gate ends.
        """
        return (flag >= 0) & (self.alive | (self.revived > flag))

    def caught(self, flag: Int[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
        """Return which gates were flagged rightly: flagged, dead at the end, never back from zero after the flag."""
        return (flag >= 0) & self.dead & ~self.wrong(flag)

    def undecided(self, flag: Int[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
        """Return which flagged gates are censored: neither right nor wrong when the run stopped."""
        return (flag >= 0) & ~self.wrong(flag) & ~self.caught(flag)

    @property
    def names(self) -> np.ndarray:
        """The end of each gate in a word: "dead", "alive" or "undecided". [gate]"""
        return np.select([self.dead, self.alive], ["dead", "alive"], "undecided")


def fates(steps: Int[np.ndarray, " time"], theta: Float[np.ndarray, "time gate"]) -> Fate:
    """Return the fate of every gate, judged by its whole path.

    Args:
        steps: of the records, at least one, increasing.
        theta: θ at each record, in [0, 1].
    """
    low = theta <= DEAD
    stays = np.flip(np.logical_and.accumulate(np.flip(low, 0), 0), 0)  # low from here to the end

    touched = first_step(steps, low)
    back = _rises(low, theta > REVIVED)
    last = len(steps) - 1 - np.flip(back, 0).argmax(0)
    return Fate(
        dead=low[-1],
        alive=theta[-1] >= ALIVE,
        death=first_step(steps, stays),
        touched=touched,
        revived=np.where(back.any(0), steps[last], -1),
        high=theta[-1] > 0.5,
    )


def first_return(
    steps: Int[np.ndarray, " time"], theta: Float[np.ndarray, "time gate"], flag: Int[np.ndarray, " gate"]
) -> Int[np.ndarray, " gate"]:
    """Return the step after its flag at which each gate first came back from zero, −1 for never.

    Coming back is defined as in `Fate.revived`.

    Args:
        steps: of the records.
        theta: whole paths, in [0, 1].
        flag: step of each gate's flag.
    """
    return first_step(steps, _rises(theta <= DEAD, theta > REVIVED) & (steps[:, None] > flag))


def _rises(low: Bool[np.ndarray, "time gate"], high: Bool[np.ndarray, "time gate"]) -> Bool[np.ndarray, "time gate"]:
    """Return the records that are high and come after a low one, with none that is high in between."""
    index = np.arange(len(low))[:, None]
    last_low, last_high = (np.maximum.accumulate(np.where(mask, index, -1), 0) for mask in (low, high))
    rises = high.copy()
    rises[:1] = False  # nothing is before it
    rises[1:] &= last_low[:-1] > last_high[:-1]
    return rises


def settled(theta: Float[np.ndarray, "*time gate"]) -> Bool[np.ndarray, "*time gate"]:
    """Return which gates are within `SETTLED` of 0 or of 1."""
    return (theta <= DEAD) | (theta >= ALIVE)


def first_step(steps: Int[np.ndarray, " step"], mask: Bool[np.ndarray, "step gate"]) -> Int[np.ndarray, " gate"]:
    """Return the step of each gate's first record in the mask, −1 for none."""
    return np.where(mask.any(0), steps[mask.argmax(0)], -1)
