"""What runs say about measuring couplings, as one JSON value: bias, readings against one another, returns.

python -m training.evidence.couplings.result FILE.json RUN [RUN …]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import InputError
from training.evidence.couplings.bias import bias
from training.evidence.couplings.readings import readings, returns
from training.evidence.runs import ShadowRun, open_run
from training.runtime.atomic_files import write_atomically

__all__ = ["AGES", "coupling_result"]

AGES = (0.0, 0.1, 0.3, 0.6)  # fewer than for growth: a row here is a layer


def coupling_result(runs: Sequence[ShadowRun]) -> dict[str, Any]:
    """The three analyses, and the runs they are of.

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
    """The command."""
    try:
        if len(arguments) < 2:
            raise InputError("arguments must be FILE.json RUN [RUN …]")
        result = coupling_result([open_run(Path(name)) for name in arguments[1:]])
        write_atomically(Path(arguments[0]), (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
