"""The pooled evidence of the shadow runs, and what a caption says about where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from figures.results import read

__all__ = ["read_evidence", "where_from"]


def read_evidence(results: Path) -> dict[str, Any]:
    """`evidence.json`, as `python -m training evidence` writes it.

    Raises:
        NotThereError: if it is not there.
    """
    return read(results / "evidence.json")


def where_from(result: dict[str, Any]) -> str:
    """Runs, seeds, networks and data in a sentence."""
    runs = result["runs"]
    seeds = sorted({run["seed"] for run in runs})
    networks = sorted({run["settings"]["network"] for run in runs})
    data = sorted({run["settings"]["data"].upper() for run in runs})
    many = "s" if len(runs) > 1 else ""
    named = "seeds" if len(seeds) > 1 else "seed"
    return (
        f"{len(runs)} shadow run{many}, {named} {', '.join(map(str, seeds))}, of {', '.join(networks)}. Data: "
        f"{', '.join(data)}."
    )
