"""The verdict on a promise whose gate ended alive or came back: which assumption broke, or a refutation.

What a gate did up to its first return is judged. Motion counts first: it was seen while coupling and cost still held,
and what broke after it is no excuse for it. Where nothing broke, and the envelope itself has reached zero, the gate did
what the theory excludes.

What can be refuted is therefore the chain from measured constants to region: formula, rate, inheritance, clock. That
states obey the inequalities at all is what *motion* observes; its count stands beside the refutations, for gates of
every outcome.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from jaxtyping import Int

from training.evidence.promises.envelope import TOLERANCE
from training.evidence.promises.violations import Violations

__all__ = ["VERDICTS", "Verdict", "decide"]


class Verdict(IntEnum):
    """The reason why a certified gate did not end dead, from the surest excuse to none.

    Attributes:
        text: the verdict's name in results and tables.
    """

    text: str

    def __new__(cls, number: int, text: str) -> Verdict:
        """Return the verdict of a number, with its text."""
        verdict = int.__new__(cls, number)
        verdict._value_, verdict.text = number, text
        return verdict

    COUPLING_CERTAINLY = 0, "coupling, certainly"
    COUPLING_MEASURED = 1, "coupling, measured"
    COST = 2, "cost"
    STEP = 3, "step"
    DRIFT = 4, "drift"
    NOT_DUE = 5, "not due"
    REFUTATION = 6, "refutation"


#: The name of each verdict in results and tables.
VERDICTS = tuple(verdict.text for verdict in Verdict)


def decide(seen: Violations) -> Int[np.ndarray, " promise"]:
    """Return the `Verdict` on each promise, should its gate have come back or ended alive: the first that holds."""
    table = (
        (Verdict.STEP, seen.motion.in_one_step),
        (Verdict.DRIFT, seen.motion.first >= 0),
        (Verdict.COUPLING_CERTAINLY, seen.coupling.certain >= 0),
        (Verdict.COUPLING_MEASURED, seen.coupling.first >= 0),
        (Verdict.COST, seen.cost.first >= 0),
        # The envelope goes to zero, but the run was too short for it to arrive.
        (Verdict.NOT_DUE, ~seen.envelope.escapes & ~(seen.envelope.left <= TOLERANCE)),
    )
    verdicts, holds = zip(*table, strict=True)
    return np.select(holds, verdicts, Verdict.REFUTATION)
