"""A run's result as text: Markdown for the run folder, tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from training.evidence.audit import HEADINGS, Row, as_text, cells

__all__ = ["accuracy_lines", "print_result", "report", "settings_line", "summary", "tables", "title"]


def report(result: dict[str, Any]) -> str:
    """The result as Markdown, with what is needed to judge it."""
    return "\n".join([f"# {title(result)}", "", tables(result), "", "![gate paths](gate_paths.png)", ""])


def title(result: dict[str, Any]) -> str:
    """What kind of run it was."""
    kind = "Prune" if result.get("mode") == "prune" else "Shadow"
    return f"{kind} run: {result['settings']['network']}, {result['preset']}, seed {result['seed']}"


def tables(result: dict[str, Any]) -> str:
    """Accuracy and the two tables as Markdown, with data, provenance, seed, epochs and command beside them."""
    lines = [
        f"Seed {result['seed']} (one run), {result['epochs']} epochs, {result['steps']} steps, no flag before step "
        f"{result['warmup']}; accuracies are of the last epoch. Data: {result['data']}.",
        "",
        settings_line(result["settings"]),
        "",
        *accuracy_lines(result),
        "",
        *_rule_lines(result),
        f"Made with `{result['command']}`.",
    ]
    return "\n".join(lines)


def _rule_lines(result: dict[str, Any]) -> list[str]:
    """The table of rules for each kind of gate; a prune run has none, since what left cannot be judged."""
    lines = []
    for kind in ("units", "layers"):
        if kind in result and result[kind][0]["gates"]:
            rows = [Row(**row) for row in result[kind]]
            lines += [f"{kind.capitalize()} ({rows[0].gates} gates):", "", as_text(rows), ""]
    return lines


def settings_line(settings: dict[str, Any]) -> str:
    """The settings that decide what the table says."""
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
    """Accuracy and what is left, of the gated and of the ungated network, as a Markdown list."""
    gated = result["gated"]
    kept = f"{100 * gated['macs'] / gated['macs_full']:.1f}% of the multiply–accumulates"
    kept += f", {100 * gated['parameters'] / gated['parameters_full']:.1f}% of the parameters on"
    lines = [f"- gated network: test accuracy {100 * gated['accuracy']:.2f}%, {kept}"]
    if result.get("mode") == "prune":
        share = 100 * gated["flops"] / gated["flops_full"]
        rule = result["settings"]["prune"]["rule"]
        lines.append(
            f"- pruned by the rule “{rule}” as it trained: {share:.1f}% of the full network's training FLOPs, "
            f"{gated['units_left']} units and {gated['layers_left']} layers left, {gated['seconds']:.0f} s"
        )
    if "ungated" in result:
        ungated = result["ungated"]
        took = f", {ungated['seconds']:.0f} s" if result.get("mode") == "prune" else ""
        lines.append(f"- ungated network, same budget: test accuracy {100 * ungated['accuracy']:.2f}%{took}")
    return lines


def summary(result: dict[str, Any]) -> str:
    """The result in one line."""
    gated = result["gated"]
    line = f"{100 * gated['accuracy']:.2f}% at {100 * gated['macs'] / gated['macs_full']:.1f}% of the MACs"
    if "ungated" in result:
        line += f", ungated {100 * result['ungated']['accuracy']:.2f}%"
    if result.get("mode") == "prune":
        line += f", {100 * gated['flops'] / gated['flops_full']:.1f}% of the training FLOPs"
    return line


def print_result(result: dict[str, Any]) -> None:
    """The tables on the terminal."""
    console = Console()
    console.print(result["data"], highlight=False)
    for kind in [kind for kind in ("units", "layers") if kind in result and result[kind][0]["gates"]]:
        rows = [Row(**row) for row in result[kind]]
        table = Table(
            title=f"{kind}: {rows[0].gates} gates, {rows[0].dead} ended dead", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        for heading in HEADINGS.values():
            table.add_column(heading, justify="left" if heading == "rule" else "right", no_wrap=True)
        for row in rows:
            table.add_row(*cells(row))
        console.print(table)
    if any(kind in result for kind in ("units", "layers")):
        legend = ", ".join(f"{short}: {long}" for long, short in HEADINGS.items() if short != long)
        console.print(legend, highlight=False)
    console.print("\n".join(accuracy_lines(result)), highlight=False)
