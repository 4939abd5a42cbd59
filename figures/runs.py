"""The runs whose small result files are committed: every `table.json` below a folder, with the settings it holds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from figures.results import read

__all__ = ["Run", "by", "read_runs", "share"]

#: What other attributes tell; what only a prune run looks at; and where and how fast a run was made.
_NOT_REST = {
    "mode", "seed", "nu", "alpha", "beta", "gate_lr", "prune", "preset", "out", "ungated", "seeds", "jobs", "device",
    "threads", "compile", "checkpoint_every", "data_folder",
}  # fmt: skip

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        table: its table.json.
    """

    table: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """What it was started with."""
        return self.table["settings"]

    @property
    def gated(self) -> dict[str, Any]:
        """What came out of the gated network."""
        return self.table["gated"]

    @property
    def rest(self) -> str:
        """All settings that shape a run but its mode, its seed, (ν, α, β) and the gates' learning rate."""
        other = {name: value for name, value in self.settings.items() if name not in _NOT_REST}
        return repr(sorted(other.items()))

    @property
    def way(self) -> tuple[str, int, int]:
        """What prunes: a rule, how often, and in multiples of how many; ("", 0, 0) in a shadow run."""
        if self.table["mode"] == "shadow":
            return "", 0, 0
        prune = self.settings["prune"]
        return prune["rule"], prune["every"], prune["multiple"]

    @property
    def price(self) -> tuple[float, float, float]:
        """(ν, α, β)."""
        return self.settings["nu"], self.settings["alpha"], self.settings["beta"]


def read_runs(results: Path) -> list[Run]:
    """Return all runs below a folder, in the order of their names; pooled tables of several seeds do not count."""
    tables = [read(path) for path in sorted(results.rglob("table.json"))]
    return [Run(table) for table in tables if "gated" in table]


def by(key: Callable[[Run], Key], runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """Runs of equal key together, keys in ascending order."""
    found: dict[Key, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return dict(sorted(found.items(), key=lambda item: repr(item[0])))


def share(run: Run, what: str) -> float:
    """Percent left of the full network's `macs` or `parameters`, or of the training `flops` without pruning."""
    return 100 * run.gated[what] / run.gated[f"{what}_full"]
