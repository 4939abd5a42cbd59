"""The promise of a certificate: a bound on the coupling and a cost, fixed when the gate was flagged.

A unit that was certified with its branch has the promise of the branch. A unit that is certified by itself and with its
branch has two promises, of which one suffices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from training.certificates.regions import inherits
from training.certificates.rules import Rule, of_branches
from training.evidence.measurements import System, bound

__all__ = ["Promises", "promise", "promises_of"]


@dataclass(frozen=True)
class Promises:
    """Certificates given at a flag, one entry a promise.

    Attributes:
        gate: the flagged gate.
        subject: the gate that the promise is about: the flagged one, or the gate of its branch.
        record: index of the record at which it was flagged.
        system: the system that bounds the subject.
        bound: η that the certificate assumes at most, ≥ 0, ∞ where none is known.
        cost: κ that it assumes at least.
    """

    gate: Int[np.ndarray, " promise"]
    subject: Int[np.ndarray, " promise"]
    record: Int[np.ndarray, " promise"]
    system: System
    bound: Float[np.ndarray, " promise"]
    cost: Float[np.ndarray, " promise"]

    @property
    def inherited(self) -> Bool[np.ndarray, " promise"]:
        """Mask of the promises that are about the branch of the flagged unit."""
        return self.gate != self.subject

    def __len__(self) -> int:
        return len(self.gate)

    def __getitem__(self, chosen: slice | np.ndarray) -> Promises:
        """Return some of the promises."""
        return Promises(
            self.gate[chosen],
            self.subject[chosen],
            self.record[chosen],
            self.system,
            self.bound[chosen],
            self.cost[chosen],
        )


def promise(
    history: xr.Dataset,
    gate: Int[np.ndarray, " promise"],
    subject: Int[np.ndarray, " promise"],
    record: Int[np.ndarray, " promise"],
    system: System,
) -> Promises:
    """Return the promises whose bound and cost are those of the subject at the record."""
    cost = np.asarray(history.cost.values, dtype=np.float64)
    return Promises(gate, subject, record, system, bound(history, system)[record, subject], cost[record, subject])


def promises_of(
    history: xr.Dataset,
    rule: Rule,
    flagged: Int[np.ndarray, " gate"],
    own: xr.Dataset | None = None,
) -> list[Promises]:
    """Return the promises of one certificate's flags: those about the gates themselves, then those about branches.

    A gate for which neither certificate is found is taken at its record's word, as having its own: a certificate that
    the constants of the ODE do not give is to be found out, not left out.

    Args:
        history: of a shadow run. Of a unit it holds the deeper of two certificates, its own and its branch's.
        rule: a certificate.
        flagged: index of the record at which the rule first flagged each gate, −1 for never.
        own: the history with the certificate that each gate has by itself. Without it a unit has one promise only, by
            the deeper certificate: what the history holds is the branch's where both are equal.
    """
    of_branch, parent = of_branches(rule), history.parent.values
    assert rule.system is not None and rule.column is not None and of_branch.column is not None
    gate = np.flatnonzero(flagged >= 0)
    record, branch = flagged[gate], parent[gate]
    known = history if own is None else own
    inherited = inherits(parent, history.cost.values)[record, gate] & of_branch.flags(known)[record, branch]
    if own is None:
        inherited &= history[rule.column].values[record, gate] == history[of_branch.column].values[record, branch]
        itself = ~inherited
    else:
        itself = rule.flags(own)[record, gate] | ~inherited
    return [
        promise(history, gate[itself], gate[itself], record[itself], rule.system),
        promise(history, gate[inherited], branch[inherited], record[inherited], "linear"),
    ]
