"""The HTML page put together: the verdict first, then run by run what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import Any

from training.certificates.fates import DEAD
from training.evidence.audit import HEADINGS, cells
from training.reports.html.curves import Curve, chart
from training.reports.html.elements import code, element, section, table
from training.reports.html.gates import plot
from training.reports.html.layers import bars
from training.reports.html.measures import COSTS, MEASURES, compared, same_but_seed
from training.reports.html.runs import PageRun
from training.reports.text import gate_count, rule_tables, settings_line, title
from training.runtime.text_tables import percent

__all__ = ["page"]

METHOD = "https://arxiv.org/abs/2411.09127"


def page(runs: Sequence[PageRun]) -> str:
    """Return one HTML document for one or more runs; it needs no other file, and loads none.

    Raises:
        ValueError: for no runs.
    """
    if not runs:
        raise ValueError("runs must hold at least one run; got none")
    heading = title(runs[0].result) if len(runs) == 1 else f"{len(runs)} runs"
    parts = [element("h1", heading), _verdicts(runs)]
    if len(runs) > 1:
        parts.append(_side_by_side(runs))
    parts += [_run(run, alone=len(runs) == 1) for run in runs]
    here = files("training.reports.html")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("style.css", "gates.js"))
    return Template((here / "template.html").read_text(encoding="utf-8")).substitute(
        title=element("title", heading), style=style, script=script, body="\n".join(parts), method=METHOD
    )


def _verdicts(runs: Sequence[PageRun]) -> str:
    if len(runs) == 1:
        sentences = element("p", runs[0].verdict.sentence) + element("p", _cost_sentence(runs[0]))
        return f'<div class="verdict">{sentences}</div>'
    lines = [element("li", f"{run.name}: {run.verdict.sentence} {_cost_sentence(run)}") for run in runs]
    return f'<ul class="verdict">{"".join(lines)}</ul>'


def _cost_sentence(run: PageRun) -> str:
    """Return what is left, at which accuracy, and what finding it took, in two sentences."""
    gated, ungated = run.result["gated"], run.result.get("ungated")
    on = percent(gated["macs"], of=gated["macs_full"])
    accuracy = f"at {percent(gated['accuracy'], 2)} test accuracy"
    if run.macs_left is None:
        sentence = f"{on} of the multiply–accumulates are left, {accuracy}"
    else:
        sentence = (
            f"{percent(run.macs_left, of=gated['macs_full'])} of the multiply–accumulates are left in the network as "
            f"it was trained, and {on} once the gates that no certificate spoke about and that ended below θ = ½ are "
            f"switched off: then it is {accuracy}"
        )
    sentence += f" ({percent(ungated['accuracy'], 2)} without gates)" if ungated else ""
    spent = [f"{gated['seconds']:.0f} s"]
    if "flops" in gated:  # earlier versions did not count them
        spent = [f"{percent(gated['flops'], of=gated['flops_full'])} of the full network's FLOPs", *spent]
    return f"{sentence}. Training took {' and '.join(spent)}."


def _side_by_side(runs: Sequence[PageRun]) -> str:
    head = ["", *(run.name for run in runs)]
    if same_but_seed(runs):
        head.append(f"mean ± s.d. (n = {len(runs)})")
    return section("Side by side", table(head, compared(runs, MEASURES)), level=2)


def _run(run: PageRun, alone: bool) -> str:
    parts = [
        _rules(run.result),
        section("Gate paths", _about_paths(run), plot(run)),
        section("Structure before and after", _about_structure(), bars(run)),
        section("Cost", table(["", "this run"], compared([run], COSTS)), _curves(run)),
        section("Environment", _environment(run)),
        section("How to make it again", *_again(run)),
    ]
    heading = "What it rests on" if alone else f"{run.name}: {title(run.result)}"
    return f"<article>{element('h2', heading)}{''.join(parts)}</article>"


def _rules(result: dict[str, Any]) -> str:
    """Return the section with the tables of rules; a prune run has none, since what left cannot be judged."""
    about = [element("p", settings_line(result["settings"])), element("p", f"Data: {result['data']}.")]
    tables = [table(list(HEADINGS), map(cells, rows), gate_count(kind, rows)) for kind, rows in rule_tables(result)]
    if not tables:
        about.append(element("p", "No table of rules: the gates that left cannot be judged by what became of them."))
    return section("Rules", *tables, *about)


def _about_paths(run: PageRun) -> str:
    about = (
        f"θ is the probability that a gate is on, ρ the norm of its weights; {len(run.paths['steps'])} records of the "
        f"run. “Certified” means here by the half-plane, whatever rule the verdict is on; dead: θ ≤ "
        f"{DEAD:g} to the end."
    )
    return element("p", about)


def _about_structure() -> str:
    return element("p", "Pale: gates there were. Dark: gates on (θ ≥ ½) at the last record.")


def _curves(run: PageRun) -> str:
    """Return the chart of accuracy and size, epoch by epoch."""
    gated, ungated = run.epochs("gated"), run.epochs("ungated")
    curves = [
        Curve("test accuracy, gated", "gated", *_points(gated, "accuracy")),
        Curve("test accuracy, ungated", "ungated", *_points(ungated, "accuracy")),
        Curve("multiply–accumulates that are on", "macs", *_points(gated, "macs", "macs_full")),
    ]
    return chart("Accuracy and size, epoch by epoch", curves, "epoch")


def _points(lines: list[dict[str, Any]], name: str, per: str | None = None) -> tuple[list[float], list[float]]:
    return [line["epoch"] for line in lines], [100 * line[name] / (line[per] if per else 1) for line in lines]


def _environment(run: PageRun) -> str:
    here = run.environment
    machine, packages, git = here.get("machine", {}), here.get("packages", {}), here.get("git") or {}
    commit = git.get("commit", "–") + (" with changes" if git.get("modified") else "")
    rows = [
        ("started", here.get("started", "–")),
        ("commit", commit),
        ("processes", here.get("processes", 1)),
        ("python", here.get("python", "–")),
        *((name, value if value is not None else "–") for name, value in packages.items()),
        *((name, value if value is not None else "none") for name, value in machine.items()),
        ("resumed", f"{len(here.get('resumed', []))} times"),
    ]
    return table(["", ""], rows)


def _again(run: PageRun) -> list[str]:
    commit = (run.environment.get("git") or {}).get("commit")
    lines = [f"git checkout {commit}"] if commit else []
    lines += [
        "make .venv/.ready  # once: pinned versions, for .venv/bin/python",
        run.result["command"],
    ]
    told = (
        "With the same machine, versions and number of threads a run on CPUs ends bit for bit the same. Other machines "
        "round differently, and a long run may then end with a few other gates."
    )
    return [code("\n".join(lines)), element("p", told)]
