"""`python -m figures [NAME …] [--run FOLDER] [--out FOLDER]`: draw all figures, or some, as PDF and PNG."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from dynamics.commands.arguments import parse
from figures.caption import as_latex
from figures.registry import REGISTRY, ROOT, Entry
from figures.results import NotThereError
from figures.style import save


@dataclass(frozen=True)
class Draw:
    """Draw figures from committed results, or from one run's folder."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Figures to draw; all by default, with --run those that are drawn from a run."""
    run: Path | None = None
    """Run folder to read instead of the committed results; its figures go there."""
    out: Path | None = None
    """Where to write; by default paper/figures, or the run's folder."""


class Refused(Exception):  # noqa: N818 - what the user is told, in one line
    """A figure that cannot be drawn."""


def main(arguments: list[str]) -> int:
    """Exit status 0, or 2 for an unknown name, or missing or broken results of a figure that was asked for.

    Without names a figure whose results are not there is skipped, with a line that says which and how to make them.
    """
    options = parse(Draw, "python -m figures", arguments)
    try:
        _draw_all(options)
    except Refused as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    return 0


def _draw_all(options: Draw) -> None:
    names = _chosen(options)
    out = options.out or options.run or ROOT / "paper" / "figures"
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        for name in bar.track(names, description="figures"):
            entry = REGISTRY[name]
            folder = options.run or ROOT / (entry.folder or "")
            try:
                drawing, text = _draw_one(name, entry, folder)
            except NotThereError as missing:
                if options.names or options.run:
                    raise Refused(f"figure {missing.told(name, entry.command)}") from None
                print(f"skipped {missing.told(name, entry.command)}", flush=True)
                continue
            try:
                paths = save(drawing, out, name, None if options.run else as_latex(text) + "%\n")
            except OSError as error:
                raise Refused(f"cannot write to {out} ({error.strerror}): choose another --out") from None
            print(*paths, sep="\n", flush=True)


def _chosen(options: Draw) -> list[str]:
    unknown = [name for name in options.names if name not in REGISTRY]
    if unknown:
        raise Refused(f"unknown figure {unknown[0]!r}: choose from {', '.join(REGISTRY)}")
    if options.run is None:
        return list(options.names or REGISTRY)
    if not (options.run / "table.json").is_file():
        raise Refused(f"{options.run} is no finished run: it holds no table.json")
    of_runs = [name for name, entry in REGISTRY.items() if entry.from_run]
    other = [name for name in options.names if name not in of_runs]
    if other:
        raise Refused(f"{other[0]} is not drawn from a run: with --run choose from {', '.join(of_runs)}")
    return list(options.names or of_runs)


def _draw_one(name: str, entry: Entry, folder: Path) -> tuple[Figure, str]:
    for needed in entry.needs:
        if not (folder / needed).is_file():
            raise NotThereError(folder / needed)
    try:
        return entry.module.draw(folder), entry.module.caption(folder)
    except (json.JSONDecodeError, KeyError) as error:
        raise Refused(f"figure {name} cannot read {folder}: {error}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
