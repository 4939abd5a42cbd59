"""`python -m figures [NAME …] [--run FOLDER] [--out FOLDER]`: draw all figures, or some, as PDF and PNG."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tyro

from dynamics.command_line import parse
from figures import bilinear_portrait, gate_paths, hyperprior, linear_portrait
from figures.style import save

RESULTS = Path(__file__).parent.parent / "paper" / "results"

#: Name → module with `draw(results) -> Figure` and `CAPTION`, and the folder of committed results it reads.
REGISTRY: dict[str, tuple[ModuleType, str]] = {
    "linear_portrait": (linear_portrait, ""),
    "bilinear_portrait": (bilinear_portrait, ""),
    "hyperprior": (hyperprior, ""),
    "gate_paths": (gate_paths, "cifar10-quick-seed0"),
}


@dataclass(frozen=True)
class Draw:
    """Draw figures from committed results, or from one run's folder."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Figures to draw; all by default, with --run those that are drawn from a run."""
    run: Path | None = None
    """Run folder to read instead of the committed results; its figures go there."""
    out: Path | None = None
    """Where to write; by default paper/figures, or the run's folder."""


def main(arguments: list[str]) -> int:
    """Exit status 0, or 2 for an unknown name or missing results."""
    options = parse(Draw, "python -m figures", arguments)
    unknown = [name for name in options.names if name not in REGISTRY]
    if unknown:
        return _refuse(f"unknown figure {unknown[0]!r}: choose from {', '.join(REGISTRY)}")
    if options.run is not None and not (options.run / "table.json").is_file():
        return _refuse(f"{options.run} is no finished run: it holds no table.json")
    out = options.out or options.run or RESULTS.parent / "figures"
    drawings = {}
    for name in options.names or [name for name in REGISTRY if options.run is None or REGISTRY[name][1]]:
        module, committed = REGISTRY[name]
        folder = options.run or RESULTS / committed
        try:  # everything is drawn before anything is written
            drawings[name] = module.draw(folder)
        except FileNotFoundError as error:
            return _refuse(
                f"figure {name} needs {error.filename}, which is not there; validate writes it (--run FOLDER)"
            )
        except (json.JSONDecodeError, KeyError) as error:
            return _refuse(f"figure {name} cannot read {folder}: {error}")
    for name, drawing in drawings.items():
        try:
            paths = save(drawing, out, name)
        except OSError as error:
            return _refuse(f"cannot write to {out} ({error.strerror}): choose another --out")
        for path in paths:
            print(path)
    return 0


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
