"""Short tables of result files: the pooled evidence, and the bias of first-order estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.certificates.rules import CERTIFICATES, threshold, with_noise
from training.evidence.runs import KINDS
from training.evidence.tables import pair_lines, seeds_of
from training.runtime.text_tables import markdown_table, percent, whole, with_interval

__all__ = ["bias_digest", "digest"]

#: The rules shown: certificates, the half-plane with one noise bound, and a few of the thresholds.
_CERTIFICATES = [rule.name for rule in CERTIFICATES]
_THRESHOLDS = [threshold(level).name for level in (0.8, 0.5, 0.1, 0.02)]
_RISK = 0.1
_HEAD = ("flagged", "ended dead", "caught", "wrong", "runs with a wrong one", "undecided (above ½)", "median lead")


def digest(result: dict[str, Any]) -> str:
    """Return short Markdown tables of a result of `training.evidence.result.evidence`."""
    everything = result["all"]
    kinds = [kind for kind in KINDS if any(row["gates"] for row in _of(everything["rules"], kind))]
    lines = [_what(result["runs"]), "", _refutations(result), ""]
    for kind in kinds:
        rules = _of(everything["rules"], kind)
        noise = [row | {"rule": with_noise(_RISK).name} for row in _of(everything["escape"], kind)]
        rows = [row for row in rules if row["rule"] in _CERTIFICATES]
        rows += [row for row in noise if row["risk"] == _RISK]
        rows += [row for row in rules if row["rule"] in _THRESHOLDS]
        lines += [
            f"{kind.capitalize()} ({rows[0]['gates']} gates; a rule that knew the future would lead by "
            f"{whole(rows[0]['longest_lead'])} steps in the median):",
            "",
            *markdown_table(["rule", *_HEAD], [[row["rule"], *_row(row)] for row in rows]),
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
        f"{len(runs)} shadow runs: {networks}; {what}; {percent(settled)} of the gates had settled when the runs "
        f"ended. Data: {data}."
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
        with_interval(f"{row['caught']} = {percent(row['caught_share'])}", row["caught_interval"], percent),
        with_interval(f"{row['wrong']} = {percent(row['wrong_share'])}", row["wrong_interval"], percent),
        with_interval(f"{row['runs_wrong']} of {row['runs']}", row["runs_wrong_interval"], percent),
        f"{row['undecided']} ({row['leaning']})",
        with_interval(whole(row["lead"]), row["lead_interval_over_runs"], whole, "()"),
    ]


def _headroom(rows: Sequence[dict[str, Any]], kinds: Sequence[str]) -> list[str]:
    chosen = [row for row in rows if row["rule"] == "half-plane"]
    names = ("flagged", "caught", "wrong", "median lead")
    head = ["m", *(f"{kind}: {name}" for kind in kinds for name in names)]
    body = []
    for m in sorted({row["headroom"] for row in chosen}):
        here = [next(row for row in _of(chosen, kind) if row["headroom"] == m) for kind in kinds]
        body.append([f"{m:g}", *(cell for row in here for cell in _at_headroom(row))])
    return markdown_table(head, body)


def _at_headroom(row: dict[str, Any]) -> list[str]:
    wrong = with_interval(percent(row["wrong_share"]), row["wrong_interval"], percent)
    return [str(row["flagged"]), percent(row["caught_share"]), wrong, whole(row["lead"])]


def bias_digest(result: dict[str, Any]) -> str:
    """Return first-order against unbiased D, of a result of `training.evidence.couplings.result`, as Markdown."""
    rows = result["bias"]
    ages = sorted({(row["from"], row["to"]) for row in rows})
    body = []
    for kind in KINDS:
        for begin, end in ages:
            here = [row for row in _of(rows, kind) if (row["from"], row["to"]) == (begin, end) and row["cost"] > 0]
            if here:
                body.append([kind, f"{begin:.0%} to {end:.0%}", *_bias_row(here)])
    head = ["kind", "age", "gates × records", "first-order bias / κ", "bias of the estimate used / κ"]
    return "\n".join(
        [
            f"{len(result['runs'])} runs of {result['runs'][0]['network']} ({result['runs'][0]['preset']}).",
            "",
            *markdown_table([*head, "direction certain", "first order goes the wrong way"], body),
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
        percent(wrong / certain if certain else None),
    ]
