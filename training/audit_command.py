"""`python -m training audit RUN`: judge a finished run again from its stored histories, and rewrite its tables."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from training.audit import audit
from training.errors import InputError
from training.history import open_history
from training.paths import gate_paths
from training.report import print_result, report
from training.rundir import write_atomically, write_json

__all__ = ["audit_again"]


def audit_again(arguments: list[str]) -> None:
    """Rewrite table.json, gate_paths.json and report.md of the one run folder in `arguments`.

    Raises:
        InputError: unless there is exactly one argument, the folder of a shadow run that wrote its table.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise InputError("usage: python -m training audit RUN")
    folder = Path(arguments[0])
    for name in ("table.json", "config.json", "gates.zarr"):
        if not (folder / name).exists():
            raise InputError(f"{folder} is no finished run: it holds no {name}")
    result = json.loads((folder / "table.json").read_text())
    settings = json.loads((folder / "config.json").read_text())
    if settings.get("mode", "shadow") != "shadow":
        raise InputError(f"{folder} is a {settings['mode']} run: what it removed cannot be judged, name a shadow run")
    history = open_history(folder / "gates.zarr")
    tables = audit(history, result["warmup"])
    result |= {kind: [asdict(row) for row in rows] for kind, rows in tables.items()}
    result["settings"] = settings
    write_json(folder / "table.json", result)
    write_json(folder / "gate_paths.json", gate_paths(history, result["warmup"]))
    write_atomically(folder / "report.md", report(result).encode())
    print_result(result)
    print(f"audited again: {folder}", file=sys.stderr)
