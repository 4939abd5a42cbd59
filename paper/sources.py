"""The result files that the article reads, and the command that makes each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "SOURCES", "Results", "Source"]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Source:
    """One result file.

    Attributes:
        path: relative to the root of the repository.
        command: makes it.
    """

    path: str
    command: str


_RESULTS = "paper/results"
_RUNS = "sh paper/experiments.sh"


def _compared(preset: str) -> Source:
    """The table of a comparison of systems."""
    path = f"{_RESULTS}/compare-{preset}/table.json"
    copy = f"install -D runs/compare-{preset}/table.json {path}"
    return Source(path, f"python -m training compare --preset {preset} && {copy}")


#: What the text calls a result file → the file.
SOURCES: dict[str, Source] = {
    "claims": Source(f"{_RESULTS}/claims.json", f"python -m dynamics verify --json {_RESULTS}/claims.json"),
    "shadow": Source(
        f"{_RESULTS}/cifar10-quick-seed0/table.json",
        "python -m training validate --preset cifar10-quick --threads 1 --out runs/cifar10-quick-seed0",
    ),
    "prune": Source(
        f"{_RESULTS}/cifar10-quick-prune-seed0/table.json",
        "python -m training validate --preset cifar10-quick --threads 1 --mode prune --no-ungated "
        "--out runs/cifar10-quick-prune-seed0",
    ),
    "evidence": Source(
        f"{_RESULTS}/evidence.json",
        f"{_RUNS} && python -m training evidence runs/resnet*/*/ --out {_RESULTS}/evidence.json",
    ),
    "evidence-digits": Source(
        f"{_RESULTS}/evidence-digits.json",
        "python -m training validate --preset digits --seeds 20 --out runs/digits && "
        f"cp runs/digits/evidence.json {_RESULTS}/evidence-digits.json",
    ),
    "compare-digits": _compared("digits"),
    "compare-cifar10": _compared("cifar10-quick"),
    "robustness": Source(
        f"{_RESULTS}/robustness-digits.json",
        f"python -m training robustness --out {_RESULTS}/robustness-digits.json --seed 1 --seeds 5",
    ),
    "couplings-digits": Source(
        f"{_RESULTS}/couplings-digits.json",
        f"python -m training.evidence.couplings.result {_RESULTS}/couplings-digits.json RUN",
    ),
    "couplings-cifar": Source(
        f"{_RESULTS}/couplings-cifar.json",
        f"python -m training.evidence.couplings.result {_RESULTS}/couplings-cifar.json RUN",
    ),
    "step": Source("benchmarks/results/step.json", "python -m benchmarks.step"),
    "shrunk": Source("benchmarks/results/shrunk.json", "python -m benchmarks.shrunk"),
    "flow": Source("benchmarks/results/flow.json", "python -m benchmarks --only flow"),
    "margin": Source("benchmarks/results/margin.json", "python -m benchmarks --only margin"),
    "kills": Source("benchmarks/results/kills.json", "python -m benchmarks.kills"),
}


class Results:
    """The result files below a root, each read once.

    Args:
        root: the repository, or a folder laid out like it.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._read: dict[str, Any] = {}

    def measured(self, source: str) -> bool:
        """Return whether the file is there."""
        return (self.root / SOURCES[source].path).is_file()

    def __getitem__(self, source: str) -> Any:
        """The JSON value of a file.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: if it is not JSON; the message names the file.
        """
        if source not in self._read:
            path = self.root / SOURCES[source].path
            try:
                self._read[source] = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path} is no JSON: {error}") from error
        return self._read[source]
