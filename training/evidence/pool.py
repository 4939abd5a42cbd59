"""What a rule flagged in each run and what became of it, and the same over several runs with intervals.

How gates count: *caught* flagged and dead at the end; *wrong* flagged and alive at the end or back from zero;
*undecided* flagged and settled nowhere, *leaning* those of them that stopped above ½. Shares: caught of the dead; wrong
of the decided (caught + wrong), since an undecided gate is neither right nor wrong. A gate that was dead before its
rule spoke is caught, with the negative lead that this means, and stays in the median.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from training.certificates.fates import fates
from training.evidence.runs import ShadowRun
from training.evidence.statistics import bootstrap, clopper_pearson

__all__ = [
    "Flagged",
    "best_threshold",
    "caught_share",
    "flagged",
    "leaning_share",
    "longest_lead",
    "median_lead",
    "summary",
    "wrong_share",
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
        leaning: of the undecided, stopped above ½.
        leads: steps from flag to death of the caught. [caught]
        longest: steps from the first record at which a rule may flag to death, of the caught: the lead of a rule that
            knew the future. [caught]
    """

    gates: int
    dead: int
    flagged: int
    caught: int
    wrong: int
    leaning: int
    leads: Float[np.ndarray, " caught"]
    longest: Float[np.ndarray, " caught"]


def flagged(run: ShadowRun, flag: Int[np.ndarray, " gate"], kind: str) -> Flagged:
    """Judge a rule's flags in one run.

    Args:
        run: a shadow run.
        flag: step at which the rule first flagged each gate, −1 for never.
        kind: "units" or "layers".
    """
    steps = run.history.step.values
    fate = fates(steps, run.history.theta.values)
    first = steps[steps >= run.warmup][0]
    chosen = run.history.is_branch.values == (kind == "layers")
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
    """Median lead over the caught of all runs; None where nothing was caught."""
    return _median([part.leads for part in parts])


def longest_lead(parts: Sequence[Flagged]) -> float | None:
    """The median lead over the same caught gates, had they been flagged as soon as any rule may flag."""
    return _median([part.longest for part in parts])


def _median(parts: Sequence[np.ndarray]) -> float | None:
    values = np.concatenate(parts) if parts else np.empty(0)
    return float(np.median(values)) if len(values) else None


def wrong_share(parts: Sequence[Flagged]) -> float | None:
    """Wrong of the decided; None where nothing was decided."""
    wrong, caught = sum(part.wrong for part in parts), sum(part.caught for part in parts)
    return wrong / (wrong + caught) if wrong + caught else None


def leaning_share(parts: Sequence[Flagged]) -> float:
    """Undecided above ½, of the flagged; 0 where nothing was flagged."""
    flagged = sum(part.flagged for part in parts)
    return sum(part.leaning for part in parts) / flagged if flagged else 0.0


def caught_share(parts: Sequence[Flagged]) -> float | None:
    """Caught of the dead; None where nothing died."""
    dead = sum(part.dead for part in parts)
    return sum(part.caught for part in parts) / dead if dead else None


def summary(parts: Sequence[Flagged], strata: Sequence[int] | None = None) -> dict[str, Any]:
    """All runs together: counts, shares with exact intervals and with intervals over runs, median lead.

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
        "caught_share": caught_share(parts),
        "caught_interval": clopper_pearson(total["caught"], total["dead"]),
        "caught_interval_over_runs": over_runs(caught_share, shares=True),
        "wrong_share": wrong_share(parts),
        "wrong_interval": clopper_pearson(total["wrong"], decided),
        "wrong_interval_over_runs": over_runs(wrong_share, shares=True),
        "lead": median_lead(parts),
        "lead_quartiles": _quartiles(parts),
        "longest_lead": longest_lead(parts),
        "lead_interval_over_runs": over_runs(median_lead),
    }


def _quartiles(parts: Sequence[Flagged]) -> list[float] | None:
    """First and third quartile of the leads: their distribution often has two humps, between which a median jumps."""
    leads = np.concatenate([part.leads for part in parts])
    return [float(value) for value in np.quantile(leads, [0.25, 0.75])] if len(leads) else None


def best_threshold(
    certificate: Sequence[Flagged], thresholds: Mapping[str, Sequence[Flagged]]
) -> dict[str, Any] | None:
    """The plain threshold with the longest median lead among those that are no worse in false flags.

    No worse: it has no more wrong flags, and no more flags that still lean towards alive (else a threshold that flags
    nearly everything looks harmless in a run too short to prove it wrong). Counts of the same gates, not shares: 4 of
    1430 is a smaller share than 4 of 1429, and one more gate caught would rule out every threshold worth comparing.

    Args:
        certificate: what the certificate did, one entry a run.
        thresholds: the same of each plain rule.

    Returns:
        Its name, shares and lead; `lead_ratio`, the certificate's median lead over its own; and `ratio_limit`, the same
        for a rule that knew the future (`longest_lead`). Ratios are None unless both leads are positive: one to a rule
        that is never early says nothing. None where no threshold qualifies.
    """
    lead, limits = median_lead(certificate), _false(certificate)
    if lead is None:
        return None
    fit = []
    for name, parts in thresholds.items():
        other = median_lead(parts)
        if other is not None and all(count <= limit for count, limit in zip(_false(parts), limits, strict=True)):
            fit.append((other, name, wrong_share(parts), caught_share(parts)))
    if not fit:
        return None
    other, name, share, caught = max(fit)
    found = {"rule": name, "wrong_share": share, "caught_share": caught, "lead": other}
    return found | {"lead_ratio": _ratio(lead, other), "ratio_limit": _ratio(longest_lead(certificate), other)}


def _false(parts: Sequence[Flagged]) -> tuple[int, int]:
    """Flags that were wrong, and those that may still prove wrong."""
    return sum(part.wrong for part in parts), sum(part.leaning for part in parts)


def _ratio(lead: float | None, other: float) -> float | None:
    return lead / other if lead is not None and lead > 0 and other > 0 else None
