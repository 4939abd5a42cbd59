"""The structure before and after, layer by layer: the units of each group at the start, and those on at the end."""

from __future__ import annotations

from dataclasses import dataclass

from training.reports.html.elements import element
from training.reports.html.runs import PageRun

__all__ = ["LayerKept", "bars", "group_of", "layers_kept"]


@dataclass(frozen=True)
class LayerKept:
    """One group of units, or one branch.

    Attributes:
        name: of the group or branch.
        is_branch: whether it is a branch.
        before: gates at the start.
        after: of them with θ ≥ ½ at the last record.
    """

    name: str
    is_branch: bool
    before: int
    after: int


def group_of(gate: str) -> str:
    """Return the group in which a gate lies, by its name.

    Example:
        >>> group_of("block0.units[3]"), group_of("block0.branch")
        ('block0.units', 'block0.branch')
    """
    return gate.rpartition("[")[0] or gate


def layers_kept(run: PageRun) -> list[LayerKept]:
    """Return all groups and branches, in the order of the gates."""
    found: dict[str, LayerKept] = {}
    for gate, is_branch, theta in zip(run.paths["gates"], run.paths["is_layer"], run.paths["theta"][-1], strict=True):
        name = group_of(gate)
        known = found.get(name, LayerKept(name, is_branch, 0, 0))
        found[name] = LayerKept(name, is_branch, known.before + 1, known.after + (theta >= 0.5))
    return list(found.values())


def bars(run: PageRun) -> str:
    """Return the groups and branches as rows with a bar each: as long as before, filled as far as on at the end."""
    kept = layers_kept(run)
    most = max(layer.before for layer in kept)
    rows = []
    for layer in kept:
        count = ("on" if layer.after else "off") if layer.is_branch else f"{layer.before} → {layer.after}"
        whole, on = (
            100 * number / (layer.before if layer.is_branch else most) for number in (layer.before, layer.after)
        )
        bar = f'<span class="bar" style="width:{whole:.1f}%"></span><span class="on" style="width:{on:.1f}%"></span>'
        kind = "branch" if layer.is_branch else "units"
        cells = element("th", layer.name, scope="row") + f'<td class="bars {kind}">{bar}</td>' + element("td", count)
        rows.append(f"<tr>{cells}</tr>")
    head = '<thead><tr><th scope="col">layer</th><th scope="col"></th><th scope="col">before → after</th></tr></thead>'
    return f'<table class="layers">{head}<tbody>{"".join(rows)}</tbody></table>'
