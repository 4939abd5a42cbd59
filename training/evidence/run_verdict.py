"""The verdict on a run: how many gates were certified, and how many of these certificates held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.evidence.runs import KINDS

__all__ = ["RunVerdict", "run_verdict"]


@dataclass(frozen=True)
class RunVerdict:
    """The numbers of gates, units and layers together, that a certificate spoke about.

    Attributes:
        gates: at the start of the run.
        rule: that prunes, or would; layers are decided by the half-plane where the rule is about units only.
        certified: flagged by the rule; in a prune run removed, those that went along with a branch included.
        held: of them dead at the end without having come back; None in a prune run, where what left cannot be judged.
        wrong: of them back from zero or alive at the end; None in a prune run.
        undecided: of them neither; None in a prune run.
    """

    gates: int
    rule: str
    certified: int
    held: int | None = None
    wrong: int | None = None
    undecided: int | None = None

    @property
    def sentence(self) -> str:
        """The numbers in a sentence."""
        if self.held is None:
            return (
                f"{self.certified} of {self.gates} gates were certified by the rule “{self.rule}”, or lay in a branch "
                "that was, and left the network for good while it trained."
            )
        return (
            f"{self.certified} of {self.gates} gates were certified (rule “{self.rule}”): {self.held} held, "
            f"{self.wrong} came back or ended alive, {self.undecided} had not settled when the run stopped."
        )


def run_verdict(result: dict[str, Any], gates: int) -> RunVerdict:
    """Return the verdict on a finished run.

    Args:
        result: what its table.json holds.
        gates: their number at the start of the run.
    """
    rule = result["settings"].get("prune", {}).get("rule", "bilinear")
    if result.get("mode") == "prune":
        left = result["gated"]["units_left"] + result["gated"]["layers_left"]
        return RunVerdict(gates, rule, gates - left)
    rows = [_row(result[kind], rule) for kind in KINDS]
    counts = (sum(row[name] for row in rows) for name in ("flagged", "caught", "wrong", "undecided"))
    return RunVerdict(gates, rule, *counts)


def _row(rows: list[dict[str, Any]], rule: str) -> dict[str, Any]:
    """Return the rule's line of a table, or the half-plane's where the rule is not about these gates."""
    named = {row["rule"]: row for row in rows}
    return named[rule] if rule in named else named["half-plane"]
