"""All figures: what each is called, where its results lie, and which command makes them if they are missing.

A figure is a module with `draw(folder) -> Figure` and `caption(folder) -> str`. It reads the files of one folder (or
none, if everything follows from `dynamics`), and raises `NotThere` where there is not enough to draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from figures import (
    bilinear_portrait,
    certified_volume,
    convergence_order,
    escape_probability,
    gate_paths,
    general_portrait,
    hyperprior,
    linear_portrait,
    sgd_paths,
)

__all__ = ["REGISTRY", "ROOT", "Entry"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Entry:
    """One figure.

    Attributes:
        module: draws it.
        folder: of committed results, relative to the root of the repository; None if it needs none.
        needs: files in that folder.
        command: makes them.
        from_run: whether `--run FOLDER` can draw it from any run folder.
    """

    module: ModuleType
    folder: str | None = None
    needs: tuple[str, ...] = ()
    command: str = ""
    from_run: bool = False


_SHADOW = "paper/results/cifar10-quick-seed0"
_MAKE_SHADOW = "python -m training validate --preset cifar10-quick --out runs/cifar10-quick-seed0"

REGISTRY: dict[str, Entry] = {
    "hyperprior": Entry(hyperprior),
    "linear_portrait": Entry(linear_portrait),
    "bilinear_portrait": Entry(bilinear_portrait),
    "general_portrait": Entry(general_portrait),
    "certified_volume": Entry(certified_volume),
    "escape_probability": Entry(escape_probability),
    "sgd_paths": Entry(sgd_paths),
    "convergence_order": Entry(convergence_order),
    "gate_paths": Entry(gate_paths, _SHADOW, ("gate_paths.json", "table.json"), _MAKE_SHADOW, from_run=True),
}
