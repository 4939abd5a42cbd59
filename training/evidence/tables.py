"""The pooled evidence as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.certificates.fates import ALIVE, DEAD
from training.evidence.pairs import over_seeds
from training.evidence.promises.decide import VERDICTS
from training.runtime.text_tables import DASH, markdown_table, percent, plus_minus, whole, with_interval

__all__ = ["CALIBRATION", "as_markdown", "pair_lines", "seeds_of"]


def as_markdown(result: dict[str, Any]) -> str:
    """Return all tables of a result of `training.evidence.result.evidence`."""
    runs = result["runs"]
    lines = ["# Evidence from shadow runs", ""]
    lines += markdown_table(
        ["run", "seed", "steps", "gates", "settled"],
        [[run["name"], run["seed"], run["steps"], run["gates"], percent(run["settled"])] for run in runs],
    )
    lines += ["", f"Refutations: **{result['refutations']}**. {_HOW}", ""]
    if result.get("pairs"):
        lines += ["## Prune runs against shadow runs", "", *pair_lines(result["pairs"]), ""]
    lines += _group(f"All {len(runs)} runs" if len(runs) > 1 else "The run", result["all"])
    for group in result["groups"]:
        seeds = ", ".join(map(str, group["seeds"]))
        lines += _group(f"{_told_apart(group['settings'], result['groups'])} (seeds {seeds})", group)
    return "\n".join(lines) + "\n"


CALIBRATION = "### Headroom m"  # the tables before it are what a terminal shows

_HOW = (
    f"Gates that ended between {DEAD:g} and {ALIVE:g} are undecided, neither right nor wrong; one that came back from "
    "zero is wrong wherever it ended. Shares: caught of the dead, wrong of the decided. Intervals [ ] are exact "
    "(Clopper–Pearson, 95%) with gates as trials; where there are several runs, those in ( ) are bootstrap intervals "
    "over whole runs, drawn within equal settings. Runs wrong: runs with at least one wrong flag, of those in which "
    "anything was decided, with the exact interval over runs. A gate that was dead before its rule spoke is caught, "
    "with a negative lead. Longest: the median lead of a rule that knew the future and spoke as soon as any may. Best "
    "threshold: the plain θ < t with the longest median lead among those with no more wrong flags and no more flags "
    "undecided above ½; ratio: of the leads, and what it would be for the rule that knew the future."
)


_PAIRED = (
    "Of the same settings and seed. Mean ± standard deviation over seeds, [95% interval of the mean, Student]. "
    "Accuracy and its difference in percentage points, of the networks at the end. MACs left and training FLOPs in per "
    "cent of the full network's. Unlike: gates on at the end in one of the two only, of all. Premature: gates off that "
    "are on in the shadow run, of these. Wall time against the shadow run's means little where runs shared the machine."
)


def pair_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of the rows of `training.evidence.pairs.pairs`, and how to read it."""
    head = ["settings", "pruned by", "seeds", "shadow accuracy", "accuracy", "difference", "MACs left", "shadow's"]
    names = ("shadow_accuracy", "accuracy", "difference", "macs", "shadow_macs", "flops", "unlike", "premature")
    body = markdown_table(
        [*head, "training FLOPs", "unlike", "premature", "wall time"],
        [
            [
                _short(row["settings"], rows),
                f"{row['prune']['rule']}, every {row['prune']['every']}",
                seeds_of(row["seeds"]),
                *(_mean(row[name], name == "difference") for name in names),
                f"{row['seconds_ratio']['mean']:.2f}",
            ]
            for row in rows
        ],
    )
    return [*body, "", *_all_pairs(rows), _PAIRED]


def _all_pairs(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the differences of each network's and rule's pairs over settings.

    Settings were chosen and not drawn: their means have a standard deviation, but no interval.
    """
    lines = []
    for network, rule in dict.fromkeys((row["settings"].get("network"), row["prune"]["rule"]) for row in rows):
        of = [
            row["difference"]["mean"]
            for row in rows
            if (row["settings"].get("network"), row["prune"]["rule"]) == (network, rule)
        ]
        if len(of) > 1:
            what = f"Difference over the {len(of)} settings of {network} pruned by “{rule}”"
            lines += [f"{what}: {_mean(over_seeds(of), False)} (mean ± standard deviation of the settings' means).", ""]
    return lines


def _short(settings: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """Return network, ν and α where they tell the rows' settings apart, else all settings that do."""

    def name(of: dict[str, Any]) -> str:
        return f"{of.get('network')}, ν = {of.get('nu')}, α = {of.get('alpha')}"

    if all(name(row["settings"]) != name(settings) or row["settings"] == settings for row in rows):
        return name(settings)
    return _told_apart(settings, rows)


def seeds_of(seeds: Sequence[int]) -> str:
    """Return the numbers of the seeds, neighbours joined.

    Example:
        >>> seeds_of([0, 1, 2, 5])
        '0 to 2, 5'
    """
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _mean(of: dict[str, Any], interval: bool) -> str:
    """Return mean ± standard deviation of a share, in per cent, with the interval where it is asked for."""
    text = plus_minus(of["mean"], of["deviation"], 1, factor=100)
    return with_interval(text, of["interval"], lambda limit: f"{100 * limit:.1f}") if interval else text


def _group(title: str, group: dict[str, Any]) -> list[str]:
    return [
        f"## {title}",
        "",
        "### Rules",
        "",
        *_rules(group["rules"]),
        "",
        "### Half-plane with its noise bound",
        "",
        "Flagged where the half-plane certifies a gate and noise carries it out with probability at most δ, by the "
        "bound of `training.certificates.noise_bound` (δ = 1: the certificate alone).",
        "",
        *_escape(group["escape"]),
        "",
        "### What certificates assumed",
        "",
        "Of the flagged: withdrawn later, any assumption seen to break, moved beyond the ODE in one step or by drift "
        "while coupling and cost held. Of the caught: how many a measured coupling would have excused, had they come "
        "back. Of the wrong: which assumption broke.",
        "",
        *_breaks(group["breaks"]),
        "",
        CALIBRATION,
        "",
        *_calibration(group["calibration"]),
        "",
        *_choices(group.get("choices", [])),
        "### Growth: largest coupling still to come over the bound at factor 1",
        "",
        *_growth(group["growth"]),
        "",
    ]


def _rules(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ["kind", "rule", *_JUDGED, "longest", "best threshold (lead)", "ratio (limit)"]
    return markdown_table(
        head,
        [
            [row["kind"], row["rule"], *_counts(row), *_lead(row), whole(row["longest_lead"]), *_rival(row)]
            for row in rows
        ],
    )


#: Headings of `_counts` and `_lead`.
_JUDGED = (
    *("flagged", "dead", "caught", "of the dead", "wrong", "of the decided", "runs wrong", "undecided (above ½)"),
    *("median lead", "quartiles"),
)


def _escape(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ["kind", "δ", *_JUDGED, "best threshold (lead)", "ratio (limit)"]
    return markdown_table(
        head, [[row["kind"], f"{row['risk']:g}", *_counts(row), *_lead(row), *_rival(row)] for row in rows]
    )


def _counts(row: dict[str, Any]) -> list[Any]:
    return [
        row["flagged"],
        row["dead"],
        row["caught"],
        _both(row, "caught"),
        row["wrong"],
        _both(row, "wrong"),
        with_interval(f"{row['runs_wrong']} of {row['runs']}", row["runs_wrong_interval"], percent),
        f"{row['undecided']} ({row['leaning']})",
    ]


def _both(row: dict[str, Any], what: str) -> str:
    """Return a share with its exact interval and the one over runs."""
    text = with_interval(percent(row[f"{what}_share"]), row[f"{what}_interval"], percent)
    return with_interval(text, row[f"{what}_interval_over_runs"], percent, "()")


def _lead(row: dict[str, Any]) -> list[str]:
    quartiles = row["lead_quartiles"]
    return [
        with_interval(whole(row["lead"]), row["lead_interval_over_runs"], whole, "()"),
        DASH if quartiles is None else " to ".join(map(whole, quartiles)),
    ]


def _rival(row: dict[str, Any]) -> list[str]:
    rival = row["best_threshold"]
    if rival is None:
        return [DASH, DASH]
    ratio, limit = (DASH if value is None else f"{value:.1f}" for value in (rival["lead_ratio"], rival["ratio_limit"]))
    return [f"{rival['rule']} ({whole(rival['lead'])})", f"{ratio} ({limit})"]


def _breaks(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ["kind", "rule", "flagged", "withdrawn", "any broke", "beyond the ODE: step", "drift", "caught", "excusable"]
    head += ["wrong", *VERDICTS]
    return markdown_table(
        head,
        [
            [
                row["kind"],
                row["rule"],
                row["flagged"],
                sum(row["withdrawn"].values()),
                *(sum(row[what].values()) for what in ("broken", "step", "drift")),
                row["caught"],
                row["coupling"]["caught"],
                row["wrong"],
                *(row["verdicts"][name] for name in VERDICTS),
            ]
            for row in rows
        ],
    )


def _calibration(rows: Sequence[dict[str, Any]]) -> list[str]:
    ordered = sorted(rows, key=lambda row: (row["kind"] == "layers", row["rule"], row["headroom"]))
    return markdown_table(
        ["kind", "rule", "m", *_JUDGED],
        [[row["kind"], row["rule"], f"{row['headroom']:g}", *_counts(row), *_lead(row)] for row in ordered],
    )


def _choices(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    head = ["kind", "coupling", "intervals", "m", "flagged", "caught of the dead", "wrong", "wrong of the decided"]
    body = markdown_table(
        [*head, "undecided above ½, of the flagged", "median lead"],
        [
            [
                *(row[name] for name in ("kind", "coupling", "records")),
                f"{row['headroom']:g}",
                row["flagged"],
                percent(row["caught_share"]),
                row["wrong"],
                percent(row["wrong_share"]),
                percent(row["leaning_share"]),
                whole(row["lead"]),
            ]
            for row in sorted(rows, key=lambda row: row["kind"] == "layers")
        ],
    )
    return ["### The half-plane with other readings of η, windows and headrooms", "", *body, ""]


def _growth(rows: Sequence[dict[str, Any]]) -> list[str]:
    rows = [row for row in rows if row["count"]]
    if not rows:
        return ["No record after the warm-up has a later one."]
    quantiles, beyond = list(rows[0]["quantiles"]), list(rows[0]["beyond"])
    head = ["kind", "coupling", "age", "gates × records", *(f"{float(q):.0%}" for q in quantiles)]
    return markdown_table(
        [*head, *(f"share > {m}" for m in beyond)],
        [
            [
                row["kind"],
                row["system"],
                f"{row['from']:.0%} to {row['to']:.0%}",
                row["count"],
                *("∞" if row["quantiles"][q] is None else f"{row['quantiles'][q]:.2f}" for q in quantiles),
                *(percent(row["beyond"][m]) for m in beyond),
            ]
            for row in rows
        ],
    )


def _told_apart(settings: dict[str, Any], groups: Sequence[dict[str, Any]]) -> str:
    """Return the settings of a group that are not the same in all groups."""
    flat = [_flat(group["settings"]) for group in groups]
    own = _flat(settings)
    return ", ".join(
        f"{name} = {value}" for name, value in own.items() if any(other.get(name) != value for other in flat)
    )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
        flat |= inner
    return flat
