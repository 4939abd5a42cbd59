"""`python -m training audit RUN`: judge a finished run again from its stored histories, and rewrite its tables."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from training.certificates.history import open_history
from training.errors import InputError
from training.evidence.audit import audit
from training.reports.gate_paths import gate_paths
from training.reports.text import print_result, report
from training.runtime.atomic_files import write_atomically
from training.runtime.run_folder import RunFolder

__all__ = ["audit_again"]


def audit_again(arguments: list[str]) -> None:
    """Rewrite table.json, gate_paths.json and report.md of the one run folder in `arguments`.

    Raises:
        InputError: unless there is exactly one argument, the folder of a shadow run that wrote its table.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise InputError("usage: python -m training audit RUN")
    path = Path(arguments[0])
    for name in ("table.json", "gates.zarr"):
        if not (path / name).exists():
            raise InputError(f"{path} is no finished run: it holds no {name}")
    with RunFolder(path, existing=True) as folder:
        result, settings = folder.read("table.json"), folder.read("config.json")
        if settings.get("mode", "shadow") != "shadow":
            raise InputError(f"{path} is a {settings['mode']} run: what it removed cannot be judged")
        history = open_history(path / "gates.zarr")
        tables = audit(history, result["warmup"])
        result |= {kind: [asdict(row) for row in rows] for kind, rows in tables.items()}
        result["settings"] = settings
        folder.json("table.json", result)
        folder.json("gate_paths.json", gate_paths(history, result["warmup"]))
        write_atomically(path / "report.md", report(result).encode())
    print_result(result)
    print(f"audited again: {path}", file=sys.stderr)
