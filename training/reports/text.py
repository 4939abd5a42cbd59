"""The result of a run as text: Markdown for the run folder, tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from training.evidence.audit import HEADINGS, Row, as_text, cells
from training.evidence.runs import KINDS
from training.runtime.text_tables import percent

__all__ = [
    "accuracy_lines",
    "gate_count",
    "print_result",
    "report",
    "rule_tables",
    "settings_line",
    "summary",
    "tables",
    "title",
]


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown, with what is needed to judge it."""
    return "\n".join([f"# {title(result)}", "", tables(result), "", "![gate paths](gate_paths.png)", ""])


def title(result: dict[str, Any]) -> str:
    """Return the heading of a run's report: its mode, network, preset and seed."""
    kind = "Prune" if result.get("mode") == "prune" else "Shadow"
    return f"{kind} run: {result['settings']['network']}, {result['preset']}, seed {result['seed']}"


def tables(result: dict[str, Any]) -> str:
    """Return accuracy and the two tables as Markdown, with data, provenance, seed, epochs and command beside them."""
    lines = [
        f"Seed {result['seed']} (one run), {result['epochs']} epochs, {result['steps']} steps, no flag before step "
        f"{result['warmup']}; accuracies are of the last epoch. Data: {result['data']}.",
        "",
        settings_line(result["settings"]),
        "",
        *accuracy_lines(result),
        "",
        *(line for kind, rows in rule_tables(result) for line in (f"{gate_count(kind, rows)}:", "", as_text(rows), "")),
        f"Made with `{result['command']}`.",
    ]
    return "\n".join(lines)


def rule_tables(result: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Return each kind of gate that the network has, with its table of rules.

    A prune run has no table, since what left cannot be judged.
    """
    found = [(kind, [Row(**row) for row in result[kind]]) for kind in KINDS if kind in result]
    return [(kind, rows) for kind, rows in found if rows[0].gates]


def gate_count(kind: str, rows: list[Row]) -> str:
    """Return the heading of a table of rules: the kind of gate and how many there are."""
    return f"{kind.capitalize()} ({rows[0].gates} gates)"


def settings_line(settings: dict[str, Any]) -> str:
    """Return the settings that decide what the table says, in a sentence."""
    tracker = settings["tracker"]
    bound = f"{tracker['factor']:g} × the maximum over {tracker['window']} steps of means over {tracker['every']}"
    return (
        f"Settings: ν = {settings['nu']:g}, α = {settings['alpha']:g}, β = {settings['beta']:g}, weights' lr "
        f"{settings['lr']:g} and gates' lr {settings['gate_lr']:g} (both cosine), θ held at "
        f"{settings['theta_start']:g} for {settings['hold']} steps, coupling bound = {bound}{_precision(settings)}. "
        "The preset was chosen after trials on this data."
    )


def _precision(settings: dict[str, Any]) -> str:
    precision = settings.get("precision", "float32")
    return "" if precision == "float32" else f", forward pass in {precision}"


def accuracy_lines(result: dict[str, Any]) -> list[str]:
    """Return accuracy and size of the gated network, and accuracy of the ungated one, as a Markdown list."""
    gated = result["gated"]
    kept = f"{percent(gated['macs'], of=gated['macs_full'])} of the multiply–accumulates"
    kept += f", {percent(gated['parameters'], of=gated['parameters_full'])} of the parameters on"
    lines = [f"- gated network: test accuracy {percent(gated['accuracy'], 2)}, {kept}"]
    if result.get("mode") == "prune":
        spent = percent(gated["flops"], of=gated["flops_full"])
        rule = result["settings"]["prune"]["rule"]
        lines.append(
            f"- pruned by the rule “{rule}” as it trained: {spent} of the full network's training FLOPs, "
            f"{gated['units_left']} units and {gated['layers_left']} layers left, {gated['seconds']:.0f} s"
        )
    if "ungated" in result:
        ungated = result["ungated"]
        took = f", {ungated['seconds']:.0f} s" if result.get("mode") == "prune" else ""
        lines.append(f"- ungated network, same budget: test accuracy {percent(ungated['accuracy'], 2)}{took}")
    return lines


def summary(result: dict[str, Any]) -> str:
    """Return the result in one line."""
    gated = result["gated"]
    line = f"{percent(gated['accuracy'], 2)} at {percent(gated['macs'], of=gated['macs_full'])} of the MACs"
    if "ungated" in result:
        line += f", ungated {percent(result['ungated']['accuracy'], 2)}"
    if result.get("mode") == "prune":
        line += f", {percent(gated['flops'], of=gated['flops_full'])} of the training FLOPs"
    return line


def print_result(result: dict[str, Any]) -> None:
    """Print the tables on the terminal."""
    console = Console()
    console.print(result["data"], highlight=False)
    for kind, rows in rule_tables(result):
        table = Table(
            title=f"{kind}: {rows[0].gates} gates, {rows[0].dead} ended dead", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        for heading in HEADINGS.values():
            table.add_column(heading, justify="left" if heading == "rule" else "right", no_wrap=True)
        for row in rows:
            table.add_row(*cells(row))
        console.print(table)
    if any(kind in result for kind in KINDS):
        legend = ", ".join(f"{short}: {long}" for long, short in HEADINGS.items() if short != long)
        console.print(legend, highlight=False)
    console.print("\n".join(accuracy_lines(result)), highlight=False)
