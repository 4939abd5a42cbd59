"""What became of each gate: dead, alive, came back, or not settled. The one place for the levels that decide it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["ALIVE", "DEAD", "REVIVED", "SETTLED", "Fate", "fates", "first_return", "first_step", "settled"]

SETTLED = 0.02  # a gate has settled within this distance of 0 or of 1; between, its run was too short to tell
DEAD = SETTLED  # a gate is dead from the moment θ falls to this level for the rest of the run
ALIVE = 1 - SETTLED  # a gate that ends at or above it ended alive
REVIVED = 0.1  # a gate that was at DEAD and rises above this came back


@dataclass(frozen=True)
class Fate:
    """What became of each gate. Arrays are [gate].

    Attributes:
        dead: θ ≤ 0.02 at the end.
        alive: θ ≥ 0.98 at the end.
        death: step from which θ stayed at or below 0.02 to the end; −1 if it did not end dead.
        touched: first step with θ ≤ 0.02, −1 for none.
        revived: step at which θ rose above 0.1 from having been at or below 0.02, the last time; −1 for never.
        high: θ > ½ at the end; of a gate that has not settled, the side on which it stopped.
    """

    dead: Bool[np.ndarray, " gate"]
    alive: Bool[np.ndarray, " gate"]
    death: Int[np.ndarray, " gate"]
    touched: Int[np.ndarray, " gate"]
    revived: Int[np.ndarray, " gate"]
    high: Bool[np.ndarray, " gate"]

    def wrong(self, flag: Int[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
        """Flagged (≥ 0), and then alive at the end or back from zero.

        Coming back is an event, not a state: it counts also where the gate ends in between.
        """
        return (flag >= 0) & (self.alive | (self.revived > flag))

    def caught(self, flag: Int[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
        """Flagged, dead at the end, and not back from zero after the flag."""
        return (flag >= 0) & self.dead & ~self.wrong(flag)

    def undecided(self, flag: Int[np.ndarray, " gate"]) -> Bool[np.ndarray, " gate"]:
        """Flagged, and neither: its run was too short to tell."""
        return (flag >= 0) & ~self.wrong(flag) & ~self.caught(flag)


def fates(steps: Int[np.ndarray, " time"], theta: Float[np.ndarray, "time gate"]) -> Fate:
    """Judge every gate by its whole path."""
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
    """Step after its flag at which each gate first came back from zero, as `Fate.revived` has it; −1 for never.

    Args:
        steps: of the records.
        theta: whole paths.
        flag: step of each gate's flag.
    """
    return first_step(steps, _rises(theta <= DEAD, theta > REVIVED) & (steps[:, None] > flag))


def _rises(low: Bool[np.ndarray, "time gate"], high: Bool[np.ndarray, "time gate"]) -> Bool[np.ndarray, "time gate"]:
    """The records that are high and whose nearest one before them that was low or high was low."""
    index = np.arange(len(low))[:, None]
    last_low, last_high = (np.maximum.accumulate(np.where(mask, index, -1), 0) for mask in (low, high))
    rises = high.copy()
    rises[:1] = False  # nothing is before it
    rises[1:] &= last_low[:-1] > last_high[:-1]
    return rises


def settled(theta: Float[np.ndarray, "*time gate"]) -> Bool[np.ndarray, "*time gate"]:
    """Which gates are within 0.02 of 0 or of 1."""
    return (theta <= DEAD) | (theta >= ALIVE)


def first_step(steps: Int[np.ndarray, " step"], mask: Bool[np.ndarray, "step gate"]) -> Int[np.ndarray, " gate"]:
    """The step of each gate's first record in the mask, −1 for none."""
    return np.where(mask.any(0), steps[mask.argmax(0)], -1)
