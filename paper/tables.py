"""The tables of the text, one file of generated/ each, from the result files that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from paper.latex import as_latex, count, decimal, interval, percent, table, typeset
from paper.sources import Results
from training.certificates.rules import CERTIFICATES, threshold
from training.experiments.compare.columns import grid
from training.experiments.robustness_spread import sizes
from training.runtime.text_tables import plus_minus

__all__ = ["TABLES", "tables"]

_DASH = "--"


def _optional(value: Any, show: Callable[[Any], str]) -> str:
    return _DASH if value is None else show(value)


def _steps(value: float) -> str:
    return decimal(value, 0)


def _of_run(kind: str) -> Callable[[Any], str]:
    """The rules of one shadow run."""
    head = ["rule", "flagged", "dead", "caught", "wrong", "undecided", r"($>\frac12$)", "lead", "withdrawn", "broke"]

    def make(result: Any) -> str:
        names = ("flagged", "dead", "caught", "wrong", "undecided", "leaning")
        rows = [
            [
                as_latex(row["rule"]),
                *(count(row[name]) for name in names),
                _optional(row["lead"], _steps),
                _optional(row["withdrawn"], count),
                _optional(row["broken"], count),
            ]
            for row in result[kind]
        ]
        return table("l" + "r" * 9, head, rows)

    return make


def _share(row: Any, name: str) -> str:
    share = row[f"{name}_share"]
    return _DASH if share is None else f"{percent(share)} {interval(row[f'{name}_interval'])}"


def _lead(row: Any) -> str:
    lead, limits = row["lead"], row["lead_interval_over_runs"]
    if lead is None:
        return _DASH
    return _steps(lead) if limits is None else f"{_steps(lead)} {interval(limits, _steps)}"


_POOLED = [
    "rule",
    "flagged",
    "dead",
    "caught",
    r"of the dead (\%)",
    "wrong",
    r"of the decided (\%)",
    "undecided",
    "lead",
]
_SHOWN = [rule.name for rule in (*CERTIFICATES, *map(threshold, (0.5, 0.1, 0.01)))]


def _counts(row: Any) -> list[str]:
    return [
        count(row["flagged"]),
        count(row["dead"]),
        count(row["caught"]),
        _share(row, "caught"),
        count(row["wrong"]),
        _share(row, "wrong"),
        count(row["undecided"]),
        _lead(row),
    ]


#: Headings of `_judged`.
_JUDGED = ("flagged", r"caught of the dead (\%)", r"wrong of the decided (\%)", "undecided", "lead")


def _judged(row: Any) -> list[str]:
    return [count(row["flagged"]), _share(row, "caught"), _share(row, "wrong"), count(row["undecided"]), _lead(row)]


def _rules(kind: str) -> Callable[[Any], str]:
    """The rules over all pooled runs."""

    def make(result: Any) -> str:
        rows = [row for row in result["all"]["rules"] if row["kind"] == kind and row["rule"] in _SHOWN]
        return table("l" + "r" * 8, _POOLED, [[as_latex(row["rule"]), *_counts(row)] for row in rows])

    return make


def _breaks(result: Any) -> str:
    """What certificates assumed, and which assumption broke for those that were wrong."""
    rows = result["all"]["breaks"]
    verdicts = list(rows[0]["verdicts"])
    head = ["kind", "rule", "flagged", "broke", "and died", "moved", "wrong", *verdicts]
    cells = [
        [
            row["kind"],
            as_latex(row["rule"]),
            count(row["flagged"]),
            count(sum(row["broken"].values())),
            count(row["broken"]["caught"]),
            count(sum(sum(row[name].values()) for name in ("step", "drift"))),
            count(row["wrong"]),
            *(count(row["verdicts"][name]) for name in verdicts),
        ]
        for row in rows
    ]
    slanted = [*head[:7], *(rf"\rotatebox{{60}}{{{as_latex(name)}}}" for name in verdicts)]
    return table("ll" + "r" * (len(head) - 2), slanted, cells)


def _escape(result: Any) -> str:
    """The half-plane with its noise bound: flagged where escape has probability at most δ."""
    rows = result["all"]["escape"]
    cells = [[row["kind"], f"{row['risk']:g}", *_judged(row)] for row in rows]
    return table("lrrrrrr", ["kind", r"$\delta$", *_JUDGED], cells)


def _calibration(result: Any) -> str:
    """False flags and caught shares against the headroom, half-plane for layers, both certificates for units."""
    rows = [row for row in result["all"]["calibration"] if row["rule"] != "box"]
    rows.sort(key=lambda row: (row["kind"] == "layers", row["rule"], row["headroom"]))
    cells = [[row["kind"], as_latex(row["rule"]), f"{row['headroom']:g}", *_judged(row)] for row in rows]
    return table("llrrrrrr", ["kind", "rule", "$m$", *_JUDGED], cells)


def _growth(result: Any) -> str:
    """How much couplings still grow, by age of training."""
    rows = [row for row in result["all"]["growth"] if row["count"]]
    quantiles, beyond = ("0.5", "0.9", "0.99"), ("1", "2", "4", "8")
    head = ["kind", "coupling", "age", "$n$", *(rf"{float(q):.0%}".replace("%", r"\,\%") for q in quantiles)]
    head += [rf"$>{m}$ (\%)" for m in beyond]
    cells = [
        [
            row["kind"],
            row["system"],
            f"{row['from']:g}--{row['to']:g}",
            count(row["count"]),
            *(r"$\infty$" if row["quantiles"][q] is None else decimal(row["quantiles"][q]) for q in quantiles),
            *(percent(row["beyond"][m]) for m in beyond),
        ]
        for row in rows
    ]
    return table("llrrrrrrrrr", head, cells)


def _spread(measure: Any, factor: float = 100, digits: int = 1) -> str:
    """Mean, and the standard deviation over seeds where there is one."""
    return typeset(plus_minus(measure["mean"], measure.get("sd", measure.get("deviation")), digits, factor))


def _compared(result: Any) -> str:
    """The systems of a comparison (`python -m training compare`)."""
    head, *rows = ([as_latex(cell) for cell in row] for row in _without_published(grid(result)))
    return table("ll" + "r" * (len(head) - 2), head, rows)


def _without_published(rows: list[list[str]]) -> list[list[str]]:
    """The last column, if it is that of numbers published elsewhere, which the article does not repeat."""
    return [row[:-1] for row in rows] if rows[0][-1].startswith("published") else rows


def _robustness(result: Any) -> str:
    """Final sizes over starting widths (`python -m training robustness`)."""
    head, *rows = ([as_latex(cell) for cell in row] for row in sizes(result))
    return table("ll" + "r" * (len(head) - 2), head, rows)


def _pairs(result: Any) -> str:
    """Prune runs against the shadow runs of the same settings and seed."""
    head = ["network", r"$\nu$", r"$\alpha$", "pruned by", "$n$", r"shadow (\%)", r"pruned (\%)", "difference"]
    rows = []
    for row in result["pairs"]:
        settings, limits = row["settings"], row["difference"]["interval"]
        known = "" if limits is None else " " + interval(limits)
        rows.append(
            [
                settings["network"].replace("resnet", "ResNet-"),
                f"{settings['nu']:g}",
                f"{settings['alpha']:g}",
                as_latex(row["prune"]["rule"]),
                count(len(row["seeds"])),
                _spread(row["shadow_accuracy"]),
                _spread(row["accuracy"]),
                _spread(row["difference"]) + known,
                _spread(row["macs"]),
                _spread(row["flops"]),
                _spread(row["unlike"]),
            ]
        )
    return table("lrrlrrrrrrr", [*head, "MACs", "training", "unlike"], rows)


#: File of generated/ → (source, from its JSON value to LaTeX).
TABLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "shadow-units": ("shadow", _of_run("units")),
    "shadow-layers": ("shadow", _of_run("layers")),
    "evidence-units": ("evidence", _rules("units")),
    "evidence-layers": ("evidence", _rules("layers")),
    "evidence-breaks": ("evidence", _breaks),
    "evidence-calibration": ("evidence", _calibration),
    "evidence-escape": ("evidence", _escape),
    "evidence-growth": ("evidence", _growth),
    "evidence-pairs": ("evidence", lambda result: _pairs(result) if result.get("pairs") else "no prune runs\n"),
    "evidence-digits-units": ("evidence-digits", _rules("units")),
    "evidence-digits-breaks": ("evidence-digits", _breaks),
    "compare-digits": ("compare-digits", _compared),
    "compare-cifar10": ("compare-cifar10", _compared),
    "robustness": ("robustness", _robustness),
}


def tables(results: Results, names: Sequence[str] = tuple(TABLES)) -> Iterator[tuple[str, str]]:
    """Return (file name without ending, LaTeX) of every table whose result file is there."""
    for name in names:
        source, make = TABLES[name]
        if results.measured(source):
            yield name, make(results[source])
