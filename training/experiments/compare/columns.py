"""The table's columns as text: the same cells for Markdown and for LaTeX."""

from __future__ import annotations

from typing import Any

from training.experiments.compare.provenance import made_by
from training.runtime.text_tables import plus_minus

__all__ = ["NARROW", "WIDE", "grid", "notes", "title"]

_HEADINGS = (
    "method",
    "start",
    "epochs",
    "n",
    "accuracy, %",
    "MACs left, %",
    "parameters left, %",
    "training FLOPs, %",
    "time",
)
#: Columns that a terminal shows that is not `WIDE`.
NARROW = ("method", "accuracy, %", "MACs left, %", "training FLOPs, %", "time")
#: Characters that all columns need to be readable.
WIDE = 150


def grid(result: dict[str, Any]) -> list[list[str]]:
    """Return headings, then the rows; the last columns are there only where something is known for them."""
    rows = [list(_HEADINGS), *(_cells(row) for row in result["rows"])]
    optional = {"processor_time": ("processor time", _processor_time), "published": ("published (source)", _known)}
    for name, (heading, cell) in optional.items():
        if any(row.get(name) for row in result["rows"]):
            for cells, last in zip(rows, [heading, *map(cell, result["rows"])], strict=True):
                cells.append(last)
    return rows


def title(result: dict[str, Any]) -> str:
    """Return what was compared."""
    width = f" of width {result['width']}" if result["width"] is not None else ""
    return f"Comparison: {result['network']}{width}, preset {result['preset']}"


def _cells(row: dict[str, Any]) -> list[str]:
    flops = _percent(row["training_flops"])
    if row["taken_over"]:
        flops += f" ({_percent(row['own_training_flops'])})"
    parameters = _percent(row["parameters"])
    if "parameters_masked" in row:
        parameters += f" [{_percent(row['parameters_masked'])}]"
    return [
        row["label"],
        "pretrained" if row["pretrained"] else "from scratch",
        f"{row['epochs'] - row['retrain']} + {row['retrain']}" if row["retrain"] else str(row["epochs"]),
        str(len(row["seeds"])),
        _percent(row["accuracy"], 2),
        _percent(row["macs"]),
        parameters,
        flops,
        _number(row["time"], 1, 2) + "×",
    ]


def _processor_time(row: dict[str, Any]) -> str:
    return _number(row["processor_time"], 1, 2) + "×" if "processor_time" in row else "–"


def _known(row: dict[str, Any]) -> str:
    return "; ".join(f"{each['text']} ({each['source']})" for each in row["published"]) or "–"


def notes(result: dict[str, Any]) -> list[str]:
    """Return how to read the table, in sentences."""
    seeds = ", ".join(map(str, result["seeds"]))
    full = result["full"]
    found = [
        f"Accuracy is that of the last epoch; mean ± standard deviation over n seeds (of {seeds}).",
        "A multiply–accumulate (MAC) is counted once. MACs and parameters are those of the network that is left, "
        f"relative to the full network's {full['macs']:.4g} MACs and {full['parameters']:.4g} parameters.",
        f"Training FLOPs and wall time are relative to the network that is not pruned ({full['flops']:.3g} FLOPs); "
        "evaluation is left out. Processor time changes less than wall time with what else the machine does.",
        f"Systems with a target were asked for {100 * result['share']:g}% of the MACs; the others find their own.",
    ]
    if any("parameters_masked" in row for row in result["rows"]):
        found.append("In square brackets: without the parameters of masked kernels, which are still in the network.")
    if any(row["taken_over"] for row in result["rows"]):
        found.append(
            "Pretrained systems took over the end of the unpruned run of the same seed, which is what their own first "
            "phase would have been; its cost is counted in full; in brackets, what was spent beyond it."
        )
    found.append(f"Data: {result['data']}.")
    if result["published"]:
        others = "; ".join(f"{each['text']} ({each['source']})" for each in result["published"])
        found.append(
            f"Published for this network, systems not run here, base → pruned accuracy @ FLOPs removed: {others}."
        )
    if result["published"] or any(row["published"] for row in result["rows"]):
        found.append(
            "Published numbers are not ours: most start from a pretrained network and fine-tune for hundreds of "
            "epochs, and several report the best epoch. Take them as upper bounds."
        )
    return [*found, *made_by(result["runs"])]


def _percent(measure: dict[str, Any], digits: int = 1) -> str:
    return _number(measure, 100, digits)


def _number(measure: dict[str, Any], factor: float, digits: int) -> str:
    return plus_minus(measure["mean"], measure["sd"], digits, factor)
