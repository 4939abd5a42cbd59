"""The pooled evidence of the shadow runs, and what a caption says about where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from figures.results import read

__all__ = ["FILES", "read_evidence", "where_from"]


#: The first of these that is there is drawn; the caption says which data it is of.
FILES = ("evidence.json", "evidence-digits.json")
_DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "digits": "scikit-learn's handwritten digits"}


def read_evidence(results: Path) -> dict[str, Any]:
    """Return the evidence on CIFAR-10, or on the digits while there is none, as `training evidence` writes it.

    Raises:
        NotThereError: if there is neither.
    """
    return read(next((results / name for name in FILES if (results / name).is_file()), results / FILES[0]))


def where_from(result: dict[str, Any]) -> str:
    """Return runs, seeds, networks and data in a sentence."""
    runs = result["runs"]
    seeds = sorted({run["seed"] for run in runs})
    networks = sorted({run["settings"]["network"] for run in runs})
    data = sorted({_DATA.get(run["settings"]["data"], run["settings"]["data"]) for run in runs})
    many = "s" if len(runs) > 1 else ""
    named = "seeds" if len(seeds) > 1 else "seed"
    return (
        f"{len(runs)} shadow run{many}, {named} {', '.join(map(str, seeds))}, of {', '.join(networks)}. Data: "
        f"{', '.join(data)}."
    )
