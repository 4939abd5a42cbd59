"""A run's verdict: how many gates were certified, and how many of these promises held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Verdict", "verdict"]


@dataclass(frozen=True)
class Verdict:
    """Counts over units and layers together.

    Attributes:
        gates: there were at first.
        rule: that prunes, or would: units by it, layers by the half-plane where it does not speak about them.
        certified: gates that it flagged; in a prune run, gates removed, those that go along included.
        held: of them dead at the end without having come back; None in a prune run, where what left cannot be judged.
        wrong: came back or ended alive; None in a prune run.
        undecided: neither; None in a prune run.
    """

    gates: int
    rule: str
    certified: int
    held: int | None = None
    wrong: int | None = None
    undecided: int | None = None

    @property
    def sentence(self) -> str:
        """The counts in words."""
        if self.held is None:
            return (
                f"{self.certified} of {self.gates} gates were certified by the rule “{self.rule}”, or lay in a branch "
                "that was, and left the network for good while it trained."
            )
        return (
            f"{self.certified} of {self.gates} gates were certified (rule “{self.rule}”): {self.held} held, "
            f"{self.wrong} came back or ended alive, {self.undecided} had not settled when the run stopped."
        )


def verdict(result: dict[str, Any], gates: int) -> Verdict:
    """The verdict on a finished run.

    Args:
        result: what its table.json holds.
        gates: there were at first.
    """
    rule = result["settings"].get("prune", {}).get("rule", "bilinear")
    if result.get("mode") == "prune":
        left = result["gated"]["units_left"] + result["gated"]["layers_left"]
        return Verdict(gates, rule, gates - left)
    rows = [_row(result[kind], rule) for kind in ("units", "layers")]
    counts = (sum(row[name] for row in rows) for name in ("flagged", "caught", "wrong", "undecided"))
    return Verdict(gates, rule, *counts)


def _row(rows: list[dict[str, Any]], rule: str) -> dict[str, Any]:
    """The rule's line of a table, or the half-plane's where the rule does not speak about these gates."""
    named = {row["rule"]: row for row in rows}
    return named[rule] if rule in named else named["half-plane"]
