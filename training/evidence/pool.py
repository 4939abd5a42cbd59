"""The outcome of a rule's flags in one run, and over several runs with intervals.

A flagged gate counts as one of

    caught      dead at the end, and not back from zero after the flag: flagged rightly
    wrong       alive at the end, or back from zero after the flag: flagged falsely
    undecided   neither: *censored* by the end of the run; *leaning* are those of these that stopped above ½

The share of the dead that were caught is the rule's *recall*; the share of wrong among the decided (caught + wrong) is
its *false discovery rate*, from which censored gates are left out. The *lead time* is the number of steps from flag to
death. A gate that was dead before its rule spoke is caught, with the negative lead time that this means, and stays in
the median.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from training.certificates.fates import fates
from training.evidence.runs import of_kind
from training.evidence.statistics import bootstrap, clopper_pearson

__all__ = [
    "Flagged",
    "best_threshold",
    "false_discovery_rate",
    "flagged",
    "leaning_share",
    "longest_lead",
    "median_lead",
    "recall",
    "summary",
]


@dataclass(frozen=True)
class Flagged:
    """One rule in one run, over its gates of one kind.

    Attributes:
        gates: how many there are.
        dead: how many ended dead.
        flagged: how many the rule flagged.
        caught: of these, ended dead without coming back.
        wrong: of these, ended alive or came back from zero.
        leaning: of the censored, stopped above ½.
        leads: lead times, steps from flag to death of the caught. [caught]
        longest: steps from the first record at which any rule may flag to death, of the caught: the lead times of a
            rule that knew the future. [caught]
    """

    gates: int
    dead: int
    flagged: int
    caught: int
    wrong: int
    leaning: int
    leads: Float[np.ndarray, " caught"]
    longest: Float[np.ndarray, " caught"]

    @property
    def undecided(self) -> int:
        """Number of the flagged that are censored: neither caught nor wrong when the run stopped."""
        return self.flagged - self.caught - self.wrong


def flagged(history: xr.Dataset, warmup: int, flag: Int[np.ndarray, " gate"], kind: str) -> Flagged:
    """Judge a rule's flags in one run.

    Args:
        history: of a shadow run, with a record after the warm-up.
        warmup: no rule flags before this step.
        flag: step at which the rule first flagged each gate, −1 for never.
        kind: "units" or "layers".
    """
    steps = history.step.values
    fate = fates(steps, history.theta.values)
    first = steps[steps >= warmup][0]
    chosen = of_kind(history, kind)
    caught = chosen & fate.caught(flag)
    return Flagged(
        gates=int(chosen.sum()),
        dead=int((chosen & fate.dead).sum()),
        flagged=int((chosen & (flag >= 0)).sum()),
        caught=int(caught.sum()),
        wrong=int((chosen & fate.wrong(flag)).sum()),
        leaning=int((chosen & fate.undecided(flag) & fate.high).sum()),
        leads=(fate.death - flag)[caught].astype(np.float64),
        longest=(fate.death - first)[caught].astype(np.float64),
    )


def median_lead(parts: Sequence[Flagged]) -> float | None:
    """Return the median lead time over the caught of all runs; None where nothing was caught."""
    return _median([part.leads for part in parts])


def longest_lead(parts: Sequence[Flagged]) -> float | None:
    """Return the median lead time of the same caught gates, had they been flagged as soon as any rule may flag."""
    return _median([part.longest for part in parts])


def _median(parts: Sequence[np.ndarray]) -> float | None:
    values = np.concatenate(parts) if parts else np.empty(0)
    return float(np.median(values)) if len(values) else None


def false_discovery_rate(parts: Sequence[Flagged]) -> float | None:
    """Return the share of wrong among the decided, in [0, 1]; None where nothing was decided."""
    wrong, caught = sum(part.wrong for part in parts), sum(part.caught for part in parts)
    return wrong / (wrong + caught) if wrong + caught else None


def leaning_share(parts: Sequence[Flagged]) -> float:
    """Return the share of the flagged that are censored above ½, in [0, 1]; 0 where nothing was flagged."""
    flagged = sum(part.flagged for part in parts)
    return sum(part.leaning for part in parts) / flagged if flagged else 0.0


def recall(parts: Sequence[Flagged]) -> float | None:
    """Return the share of the dead that were caught, in [0, 1]; None where nothing died."""
    dead = sum(part.dead for part in parts)
    return sum(part.caught for part in parts) / dead if dead else None


def summary(parts: Sequence[Flagged], strata: Sequence[int] | None = None) -> dict[str, Any]:
    """Return counts, shares with exact intervals and with intervals over runs, and lead times, all runs together.

    Args:
        parts: one entry a run.
        strata: as in `training.evidence.statistics.bootstrap`.
    """

    def over_runs(
        statistic: Callable[[Sequence[Flagged]], float | None], shares: bool = False
    ) -> tuple[float, float] | None:
        if shares and statistic(parts) in (None, 0.0, 1.0):
            return None  # every draw has the same share, which is no interval
        return bootstrap(parts, statistic, strata=strata)

    names = ("gates", "dead", "flagged", "caught", "wrong", "leaning")
    total = {name: sum(getattr(part, name) for part in parts) for name in names}
    decided = total["caught"] + total["wrong"]
    wrong, judged = sum(part.wrong > 0 for part in parts), sum(part.wrong + part.caught > 0 for part in parts)
    return {
        **total,
        "runs": judged,
        "runs_wrong": wrong,
        "runs_wrong_interval": clopper_pearson(wrong, judged),
        "undecided": total["flagged"] - decided,
        "early": int(sum((part.leads > 0).sum() for part in parts)),
        "caught_share": recall(parts),
        "caught_interval": clopper_pearson(total["caught"], total["dead"]),
        "caught_interval_over_runs": over_runs(recall, shares=True),
        "wrong_share": false_discovery_rate(parts),
        "wrong_interval": clopper_pearson(total["wrong"], decided),
        "wrong_interval_over_runs": over_runs(false_discovery_rate, shares=True),
        "lead": median_lead(parts),
        "lead_quartiles": _quartiles(parts),
        "longest_lead": longest_lead(parts),
        "lead_interval_over_runs": over_runs(median_lead),
    }


def _quartiles(parts: Sequence[Flagged]) -> list[float] | None:
    """Return the first and third quartile of the lead times, which often have two modes with the median between."""
    leads = np.concatenate([part.leads for part in parts])
    return [float(value) for value in np.quantile(leads, [0.25, 0.75])] if len(leads) else None


def best_threshold(
    certificate: Sequence[Flagged], thresholds: Mapping[str, Sequence[Flagged]]
) -> dict[str, Any] | None:
    """Return the plain threshold with the longest median lead time among those that are no worse in false flags.

    No worse: it has no more wrong flags, and no more flags that still lean towards alive (else a threshold that flags
    nearly everything looks harmless in a run too short to prove it wrong). Counts of the same gates, not shares: 4 of
    1430 is a smaller share than 4 of 1429, and one more gate caught would rule out every threshold worth comparing.

    Args:
        certificate: what the certificate did, one entry a run.
        thresholds: the same of each plain rule.

    Returns:
        Its name, shares and lead time; `lead_ratio`, the certificate's median lead time over its own; and
        `ratio_limit`, the same for a rule that knew the future (`longest_lead`). Ratios are None unless both lead times
        are positive: one to a rule that is never early says nothing. None where no threshold qualifies.
    """
    lead, limits = median_lead(certificate), _false(certificate)
    if lead is None:
        return None
    fit = []
    for name, parts in thresholds.items():
        other = median_lead(parts)
        if other is not None and all(count <= limit for count, limit in zip(_false(parts), limits, strict=True)):
            fit.append((other, name, false_discovery_rate(parts), recall(parts)))
    if not fit:
        return None
    other, name, share, caught = max(fit)
    found = {"rule": name, "wrong_share": share, "caught_share": caught, "lead": other}
    return found | {"lead_ratio": _ratio(lead, other), "ratio_limit": _ratio(longest_lead(certificate), other)}


def _false(parts: Sequence[Flagged]) -> tuple[int, int]:
    """Return the number of flags that were wrong, and of those that may still prove wrong."""
    return sum(part.wrong for part in parts), sum(part.leaning for part in parts)


def _ratio(lead: float | None, other: float) -> float | None:
    return lead / other if lead is not None and lead > 0 and other > 0 else None
