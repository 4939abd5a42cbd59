"""All figures: what each is called, where its results lie, and which command makes them if they are missing.

A figure is a module with `draw(folder) -> Figure` and `caption(folder) -> str`. It reads the files of one folder (or
none, if everything follows from `dynamics`), and raises `NotThere` where there is not enough to draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from figures import (
    accuracy_flops,
    bilinear_portrait,
    certified_volume,
    convergence_order,
    coupling_bias,
    coupling_growth,
    coupling_time,
    escape_probability,
    flops_time,
    gate_paths,
    general_portrait,
    hyperprior,
    linear_portrait,
    methods_compared,
    rules_compared,
    sgd_paths,
    shadow_prune,
    structure_kept,
)

__all__ = ["REGISTRY", "ROOT", "Entry"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Entry:
    """One figure.

    Attributes:
        module: draws it.
        folder: of committed results, relative to the root of the repository; None if it needs none.
        needs: files in that folder without which nothing can be drawn; a figure may say more when it reads.
        command: makes them.
        from_run: whether `--run FOLDER` can draw it from any run folder.
    """

    module: ModuleType
    folder: str | None = None
    needs: tuple[str, ...] = ()
    command: str = ""
    from_run: bool = False


_RESULTS = "paper/results"
_SHADOW = f"{_RESULTS}/cifar10-quick-seed0"
_MAKE_SHADOW = "python -m training validate --preset cifar10-quick --out runs/cifar10-quick-seed0"
_MAKE_BOTH = (
    f"{_MAKE_SHADOW}, and the same with --mode prune --no-ungated --out runs/cifar10-quick-prune-seed0; then copy "
    "the small files to paper/results"
)
_GRID = "sh paper/experiments.sh, then copy config.json and table.json of each run to paper/results/RUN/"
_EVIDENCE = f"python -m training evidence RUN … --out {_RESULTS}/evidence.json"


def _compared(preset: str, seeds: int) -> Entry:
    """The figure of a comparison of systems."""
    command = f"python -m training compare --preset {preset} --seeds {seeds}, then copy its table.json"
    return Entry(methods_compared, f"{_RESULTS}/compare-{preset}", ("table.json",), command)


REGISTRY: dict[str, Entry] = {
    # Theory: everything is computed from `dynamics`.
    "hyperprior": Entry(hyperprior),
    "linear_portrait": Entry(linear_portrait),
    "bilinear_portrait": Entry(bilinear_portrait),
    "general_portrait": Entry(general_portrait),
    "certified_volume": Entry(certified_volume),
    "escape_probability": Entry(escape_probability),
    "sgd_paths": Entry(sgd_paths),
    "convergence_order": Entry(convergence_order),
    # Evidence: drawn from result files.
    "gate_paths": Entry(gate_paths, _SHADOW, ("gate_paths.json", "table.json"), _MAKE_SHADOW, from_run=True),
    "coupling_time": Entry(
        coupling_time,
        _SHADOW,
        (coupling_time.FILE,),
        f"python -m training.evidence.couplings.history {_SHADOW}/{coupling_time.FILE} runs/cifar10-quick-seed0",
    ),
    "coupling_growth": Entry(coupling_growth, _RESULTS, (), _EVIDENCE),
    "coupling_bias": Entry(
        coupling_bias,
        _RESULTS,
        coupling_bias.FILES,
        f"python -m training.evidence.couplings.result {_RESULTS}/FILE RUN",
    ),
    "rules_compared": Entry(rules_compared, _RESULTS, (), _EVIDENCE),
    "structure_kept": Entry(
        structure_kept,
        _RESULTS,
        tuple(f"{run}/{name}" for run in structure_kept.RUNS.values() for name in ("gate_paths.json", "table.json")),
        _MAKE_BOTH,
    ),
    "shadow_prune": Entry(shadow_prune, _RESULTS, (), _GRID),
    "accuracy_flops": Entry(accuracy_flops, _RESULTS, (), _GRID),
    "methods_compared": _compared("digits", seeds=5),
    "methods_compared_cifar": _compared("cifar10-quick", seeds=1),
    "flops_time": Entry(flops_time, "benchmarks/results", ("shrunk.json",), "python -m benchmarks.shrunk"),
}
