"""False flags, recall and lead time against the headroom m, recomputed from stored histories.

The history's couplings are the window maximum times the run's own factor f, so the certificates with headroom m are
those of the coupling times m/f. Whoever prunes at `gate.headroom ≥ m` removes exactly the gates flagged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import xarray as xr
from jaxtyping import Float

from training.certificates.regions import Certificates, certify, own_certificates
from training.certificates.rules import CERTIFICATES, first_flags
from training.errors import InputError
from training.evidence.couplings.growth import HEADROOMS
from training.evidence.measurements import System, bound
from training.evidence.pool import flagged, summary
from training.evidence.runs import ShadowRun

__all__ = ["calibration", "certificates_at", "certificates_of", "history_at", "with_certificates"]


def certificates_at(run: ShadowRun, headroom: float, *, own: bool = False) -> Certificates:
    """Return every gate's certificates at every record, had the safety factor been `headroom`. [step, gate]

    Args:
        run: a shadow run.
        headroom: m > 0.
        own: leave out what units have through their branch.

    Raises:
        InputError: for m ≤ 0 or ∞.
    """
    if not 0 < headroom < np.inf:
        raise InputError(f"headroom must be > 0 and finite; got {headroom}")
    scale = headroom / run.factor
    return certificates_of(run, *(bound(run.history, system) * scale for system in get_args(System)), own=own)


def certificates_of(
    run: ShadowRun,
    coupling: Float[np.ndarray, "step gate"],
    coupling_bilinear: Float[np.ndarray, "step gate"],
    *,
    own: bool = False,
) -> Certificates:
    """Return every gate's certificates at every record, had these been the bounds on η. [step, gate]

    Args:
        run: a shadow run.
        coupling: bound on η of the linear system, ≥ 0.
        coupling_bilinear: the same of the bilinear system; not read for branches.
        own: leave out what units have through their branch.
    """
    cost = run.values("cost")
    found = own_certificates(
        decay=run.decay,
        rate=run.rate,
        coupling=coupling,
        coupling_bilinear=coupling_bilinear,
        cost=cost,
        **{name: run.values(name) for name in ("rho_in", "rho", "theta")},
        is_branch=run.history.is_branch.values,
    )
    return found if own else certify(found, run.history.parent.values, cost)


def with_certificates(run: ShadowRun, found: Certificates) -> xr.Dataset:
    """Return the run's history with other certificates in place of its own."""
    return run.history.assign({name: (("step", "gate"), values) for name, values in found._asdict().items()})


def history_at(run: ShadowRun, headroom: float) -> xr.Dataset:
    """Return the run's history with the certificates of another safety factor, > 0, in place of its own."""
    return with_certificates(run, certificates_at(run, headroom))


def calibration(
    runs: Sequence[ShadowRun], headrooms: Sequence[float] = HEADROOMS, strata: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Return a row for each kind, certificate and m, all runs together, as `training.evidence.pool.summary` has it.

    Args:
        runs: at least one.
        headrooms: the m, each > 0.
        strata: as in `training.evidence.statistics.bootstrap`.
    """
    rows = []
    for m in headrooms:
        flags = [first_flags(history_at(run, m), run.warmup, CERTIFICATES) for run in runs]
        for i, rule in enumerate(CERTIFICATES):
            for kind in rule.kinds:
                pairs = zip(runs, flags, strict=True)
                parts = [flagged(run.history, run.warmup, flag[i], kind) for run, flag in pairs]
                rows.append({"kind": kind, "rule": rule.name, "headroom": m, **summary(parts, strata)})
    return rows
