"""Result files in short, for a reader: the pooled evidence, and the bias of first-order estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.evidence.tables import number, pair_lines, seeds_of, share, table, with_interval

__all__ = ["bias_digest", "digest"]

_THRESHOLDS = ("θ < 0.8", "θ < 0.5", "θ < 0.1", "θ < 0.02")
_RISK = 0.1
_HEAD = ("flagged", "ended dead", "caught", "wrong", "runs with a wrong one", "undecided (above ½)", "median lead")


def digest(result: dict[str, Any]) -> str:
    """The tables of a result of `training.evidence.result.evidence`, in short, as Markdown."""
    everything = result["all"]
    kinds = [kind for kind in ("units", "layers") if any(row["gates"] for row in _of(everything["rules"], kind))]
    lines = [_what(result["runs"]), "", _refutations(result), ""]
    for kind in kinds:
        rules = _of(everything["rules"], kind)
        noise = [row | {"rule": f"half-plane, escape ≤ {_RISK:g}"} for row in _of(everything["escape"], kind)]
        rows = [row for row in rules if "<" not in row["rule"]]
        rows += [row for row in noise if row["risk"] == _RISK]
        rows += [row for row in rules if row["rule"] in _THRESHOLDS]
        lines += [
            f"{kind.capitalize()} ({rows[0]['gates']} gates; a rule that knew the future would lead by "
            f"{number(rows[0]['longest_lead'])} steps in the median):",
            "",
            *table(["rule", *_HEAD], [[row["rule"], *_row(row)] for row in rows]),
            "",
        ]
    lines += ["The half-plane at other headrooms m:", "", *_headroom(everything["calibration"], kinds)]
    if result.get("pairs"):
        lines += ["", "Prune runs against the shadow runs of the same settings and seed:", ""]
        lines += pair_lines(result["pairs"])
    return "\n".join(lines)


def _of(rows: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == kind]


def _what(runs: Sequence[dict[str, Any]]) -> str:
    networks = ", ".join(sorted({run["settings"]["network"] for run in runs}))
    seeds = list({run["seed"] for run in runs})
    settings = len({str(run["settings"]) for run in runs})
    data = "; ".join(sorted({str(run["made"].get("data", "unknown")) for run in runs}))
    settled = sum(run["settled"] * run["gates"] for run in runs) / sum(run["gates"] for run in runs)
    what = f"{settings} setting{'s' * (settings != 1)}, seed{'s' * (len(seeds) != 1)} {seeds_of(seeds)}"
    return (
        f"{len(runs)} shadow runs: {networks}; {what}; {share(settled)} of the gates had settled when the runs ended. "
        f"Data: {data}."
    )


def _refutations(result: dict[str, Any]) -> str:
    flagged, step, drift = 0, 0, 0
    for row in result["all"]["breaks"]:
        if row["rule"] == "half-plane":
            flagged += row["flagged"]
            step, drift = step + sum(row["step"].values()), drift + sum(row["drift"].values())
    return (
        f"Refutations: **{result['refutations']}**. Of {flagged} gates flagged by the half-plane, {step} moved beyond "
        f"the ODE in one step and {drift} by drift while coupling and cost held, whatever became of them. Intervals "
        "in [ ] are exact (95%) for independent trials, gates or runs; gates of one run are not quite independent. "
        "Those of leads, in steps, are bootstrapped over runs."
    )


def _row(row: dict[str, Any]) -> list[str]:
    return [
        str(row["flagged"]),
        str(row["dead"]),
        with_interval(f"{row['caught']} = {share(row['caught_share'])}", row["caught_interval"], share),
        with_interval(f"{row['wrong']} = {share(row['wrong_share'])}", row["wrong_interval"], share),
        with_interval(f"{row['runs_wrong']} of {row['runs']}", row["runs_wrong_interval"], share),
        f"{row['undecided']} ({row['leaning']})",
        with_interval(number(row["lead"]), row["lead_interval_over_runs"], number, "()"),
    ]


def _headroom(rows: Sequence[dict[str, Any]], kinds: Sequence[str]) -> list[str]:
    chosen = [row for row in rows if row["rule"] == "half-plane"]
    names = ("flagged", "caught", "wrong", "median lead")
    head = ["m", *(f"{kind}: {name}" for kind in kinds for name in names)]
    body = []
    for m in sorted({row["headroom"] for row in chosen}):
        here = [next(row for row in _of(chosen, kind) if row["headroom"] == m) for kind in kinds]
        body.append([f"{m:g}", *(cell for row in here for cell in _at_headroom(row))])
    return table(head, body)


def _at_headroom(row: dict[str, Any]) -> list[str]:
    wrong = with_interval(share(row["wrong_share"]), row["wrong_interval"], share)
    return [str(row["flagged"]), share(row["caught_share"]), wrong, number(row["lead"])]


def bias_digest(result: dict[str, Any]) -> str:
    """First-order against unbiased D, of a result of `training.evidence.couplings.result`, as Markdown."""
    rows = result["bias"]
    ages = sorted({(row["from"], row["to"]) for row in rows})
    body = []
    for kind in ("units", "layers"):
        for begin, end in ages:
            here = [row for row in _of(rows, kind) if (row["from"], row["to"]) == (begin, end) and row["cost"] > 0]
            if here:
                body.append([kind, f"{begin:.0%} to {end:.0%}", *_bias_row(here)])
    head = ["kind", "age", "gates × records", "first-order bias / κ", "bias of the estimate used / κ"]
    return "\n".join(
        [
            f"{len(result['runs'])} runs of {result['runs'][0]['network']} ({result['runs'][0]['preset']}).",
            "",
            *table([*head, "direction certain", "first order goes the wrong way"], body),
        ]
    )


def _bias_row(rows: Sequence[dict[str, Any]]) -> list[str]:
    weight = sum(row["gates_and_records"] for row in rows)

    def mean(name: str) -> str:
        return f"{sum(row['gates_and_records'] * row[name] / row['cost'] for row in rows) / weight:.2f}"

    certain = sum(row["certain"] for row in rows)
    wrong = sum(row["certain"] * (row["wrong_way"] or 0) for row in rows)
    return [
        str(weight),
        mean("first_order_bias"),
        mean("used_bias"),
        str(certain),
        share(wrong / certain if certain else None),
    ]
