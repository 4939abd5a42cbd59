"""`python -m training audit RUN`: judge a finished run again from its stored histories, and rewrite its tables."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dynamics.commands.arguments import parse
from training.certificates.history import sound_history
from training.errors import InputError
from training.evidence.audit import audit
from training.reports.gate_paths import gate_paths
from training.reports.text import print_result, report
from training.runtime.atomic_files import write_atomically
from training.runtime.run_folder import RunFolder

__all__ = ["Audit", "audit_again"]


@dataclass(frozen=True)
class Audit:
    """Judge a finished shadow run again from its stored histories, and rewrite its tables."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""


def audit_again(arguments: list[str]) -> None:
    """Rewrite table.json, gate_paths.json and report.md of the one run folder in `arguments`.

    Raises:
        InputError: for a folder that is not of a shadow run that wrote its table, or a history that no run records;
            nothing is written then.
        SystemExit: after help (0) or bad options (2).
    """
    path = parse(Audit, "python -m training audit", arguments).run
    for name in ("table.json", "gates.zarr"):
        if not (path / name).exists():
            raise InputError(f"{path} is no finished run: it holds no {name}")
    with RunFolder(path, existing=True) as folder:
        result, settings = folder.read("table.json"), folder.read("config.json")
        if settings.get("mode", "shadow") != "shadow":
            raise InputError(f"{path} is a {settings['mode']} run: what it removed cannot be judged")
        try:
            history = sound_history(path / "gates.zarr")
            tables = audit(history, result["warmup"])
            result |= {kind: [asdict(row) for row in rows] for kind, rows in tables.items()}
            result["settings"] = settings
            paths, text = gate_paths(history, result["warmup"]), report(result)
        except (KeyError, TypeError) as error:
            raise InputError(f"the results in {path} are of another version of this package ({error!r})") from None
        folder.json("table.json", result)
        folder.json("gate_paths.json", paths)
        write_atomically(path / "report.md", text.encode())
    print_result(result)
    print(f"audited again: {path}", file=sys.stderr)
