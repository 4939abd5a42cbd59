r"""Sentences of the text that a result file must bear out: `\observed{name}{sentence}`.

Numbers in the text renew themselves; a sentence such as "thresholds lead by more" does not. Here stands, for each, what
makes it true. Where a new result contradicts it, the PDF says so in its place and a test fails until it is rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from paper.numbers import _rule
from paper.sources import Results

__all__ = ["OBSERVATIONS", "Observation", "observations"]


@dataclass(frozen=True)
class Observation:
    """A sentence's condition.

    Attributes:
        sources: result files it rests on.
        holds: their JSON values → whether the sentence is true.
    """

    sources: tuple[str, ...]
    holds: Callable[..., bool]


def _lead(result: Any, kind: str, rule: str) -> float:
    return _rule(result, kind, rule)["lead"]


def _ratios(result: Any, network: str, removed: str, wanted: float) -> float:
    (rows,) = (found["rows"] for found in result["networks"] if found["network"] == network)
    return next(r["time over flops"] for r in rows if (r["removed"], r["wanted"]) == (removed, wanted))


OBSERVATIONS: dict[str, Observation] = {
    "thresholds-lead": Observation(
        ("shadow",),
        lambda r: _lead(r, "units", "θ < 0.5") > max(_lead(r, "units", n) for n in ("half-plane", "bilinear")),
    ),
    "wrong-flags-alike": Observation(
        ("shadow",),
        lambda r: _rule(r, "units", "half-plane")["wrong"] <= _rule(r, "units", "θ < 0.5")["wrong"],
    ),
    "layers-late": Observation(("shadow",), lambda r: _lead(r, "layers", "half-plane") < 0),
    "prune-above-shadow": Observation(
        ("shadow", "prune"), lambda s, p: p["gated"]["accuracy"] > s["gated"]["accuracy"]
    ),
    "two-threads-cost": Observation(
        ("step",),
        lambda r: all(
            (row["gated over ungated"]["median"] > 1.1) == (row["threads"] == 2) for row in r["rows"]
        ),
    ),
    "layers-pay-units-do-not": Observation(
        ("shrunk",),
        lambda r: all(_ratios(r, n, "layers", w) <= 1.05 for n in ("resnet20", "resnet56") for w in (0.25, 0.5))
        and all(_ratios(r, n, "units by 8", w) > 1.1 for n in ("resnet20", "resnet56") for w in (0.25, 0.5)),
    ),
    "no-refutation": Observation(("evidence",), lambda r: r["refutations"] == 0),
}  # fmt: skip


def observations(results: Results) -> Iterator[tuple[str, bool]]:
    """Return (name, whether it holds) of every sentence whose result files are there."""
    for name, observation in OBSERVATIONS.items():
        if all(map(results.measured, observation.sources)):
            yield name, observation.holds(*(results[source] for source in observation.sources))
