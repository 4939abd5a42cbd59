"""The course of couplings in training as a small JSON value: quartiles over the gates of each kind and fate.

python -m training.evidence.couplings.history FILE.json RUN
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from training.certificates.fates import fates
from training.evidence.couplings.command import write_result
from training.evidence.measurements import acting, bound
from training.evidence.runs import KINDS, ShadowRun

__all__ = ["QUANTILES", "coupling_history"]

QUANTILES = (0.25, 0.5, 0.75)


def coupling_history(run: ShadowRun) -> dict[str, Any]:
    """Return quartiles of the measured η̂ and of the bound that certificates rest on, at every record.

    Args:
        run: a shadow run.

    Returns:
        `steps` of the records; `groups`, one for each kind and fate that occurs, with its number of `gates`, the
        `count` of those measured at each record and, for `measured` (what acted in the interval, at least 0) and
        `bound` (safety factor included), one list a quantile. A value is None where nothing was measured, or where the
        quantile of the bound is infinite.
    """
    history = run.history
    fate = fates(history.step.values, history.theta.values).names
    values = {"measured": np.maximum(acting(history).value, 0.0), "bound": bound(history)}
    groups = []
    for kind in KINDS:
        for name in ("dead", "alive", "undecided"):
            chosen = run.of_kind(kind) & (fate == name)
            if chosen.any():
                parts = {key: _quantiles(value[:, chosen]) for key, value in values.items()}
                count = (~np.isnan(values["measured"][:, chosen])).sum(1).tolist()
                groups.append({"kind": kind, "fate": name, "gates": int(chosen.sum()), "count": count, **parts})
    names = ("data", "network", "nu", "alpha", "beta", "epochs", "seed")
    return {
        "run": {name: run.settings[name] for name in names} | {"name": run.name, "steps": run.steps},
        "warmup": run.warmup,
        "factor": run.factor,
        "steps": history.step.values.tolist(),
        "groups": groups,
    }


def _quantiles(values: Float[np.ndarray, "step gate"]) -> dict[str, list[float | None]]:
    """Return a list for each quantile, over the gates that were measured; quantiles are values that occurred."""
    found: dict[str, list[float | None]] = {str(q): [] for q in QUANTILES}
    for row in values:
        known = row[~np.isnan(row)]
        for q in QUANTILES:
            value = np.quantile(known, q, method="inverted_cdf") if len(known) else np.nan
            found[str(q)].append(float(f"{value:.4g}") if np.isfinite(value) else None)
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the result of one run and return the exit status; see `write_result`."""
    return write_result(arguments, lambda runs: coupling_history(runs[0]), most=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
