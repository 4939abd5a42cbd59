"""The quality of measured couplings as one JSON value: bias, readings against one another, returns of dead gates.

python -m training.evidence.couplings.result FILE.json RUN [RUN …]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from training.evidence.couplings.bias import bias
from training.evidence.couplings.command import write_result
from training.evidence.couplings.readings import readings, returns
from training.evidence.runs import ShadowRun

__all__ = ["AGES", "coupling_result"]

AGES = (0.0, 0.1, 0.3, 0.6)  # fewer than for growth: a row here is a layer


def coupling_result(runs: Sequence[ShadowRun]) -> dict[str, Any]:
    """Return the three analyses, and the runs that they are of.

    Args:
        runs: at least one, of networks with the same layers.
    """
    names = ("preset", "network", "width", "nu", "alpha", "gate_lr", "epochs", "batch", "hold", "seed")
    return {
        "runs": [{name: run.settings[name] for name in names} | {"steps": run.steps} for run in runs],
        "bias": bias(runs, AGES),
        "readings": readings(runs, AGES),
        "returns": returns(runs, ages=AGES),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the result of the runs and return the exit status; see `write_result`."""
    return write_result(arguments, coupling_result, indent=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
