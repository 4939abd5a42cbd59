"""`python -m figures [NAME …] [--run FOLDER] [--out FOLDER]`: draw all figures, or some, as PDF and PNG."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
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
    """Figures to draw; all by default."""
    run: Path | None = None
    """Run folder to read instead of the committed results; its figures go there."""
    out: Path | None = None
    """Where to write; by default paper/figures, or the run's folder."""


def main(arguments: list[str]) -> int:
    """Exit status 0, or 2 for an unknown name or missing results."""
    options = parse(Draw, "python -m figures", arguments)
    unknown = [name for name in options.names if name not in REGISTRY]
    if unknown:
        print(f"error: unknown figure {unknown[0]!r}: choose from {', '.join(REGISTRY)}", file=sys.stderr)
        return 2
    out = options.out or options.run or RESULTS.parent / "figures"
    for name in options.names or REGISTRY:
        module, committed = REGISTRY[name]
        draw: Callable[[Path], object] = module.draw
        try:
            drawing = draw(options.run or RESULTS / committed)
        except FileNotFoundError as error:
            print(f"error: figure {name} needs {error.filename}, which is not there", file=sys.stderr)
            return 2
        except (json.JSONDecodeError, KeyError) as error:
            print(f"error: figure {name} cannot read {options.run or RESULTS / committed}: {error}", file=sys.stderr)
            return 2
        try:
            paths = save(drawing, out, name)  # type: ignore[arg-type]
        except OSError as error:
            print(f"error: cannot write to {out} ({error.strerror}): choose another --out", file=sys.stderr)
            return 2
        for path in paths:
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
