"""Tables quoted in a text are generated from result files: `python -m training.experiments.quote README.md`.

Everything between `<!-- quote FOLDER -->` and `<!-- end quote -->` is replaced by the tables of FOLDER/table.json, and
that of `<!-- quote FILE.json -->` by those of pooled evidence, of the bias of estimates or of robustness, relative to
the text. A test fails while the README does not say what its result files say.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from training.evidence.digest import bias_digest, digest
from training.experiments.compare.markdown import body
from training.experiments.robustness_spread import as_markdown
from training.reports.text import tables
from training.runtime.atomic_files import write_atomically

__all__ = ["quoted"]

_BLOCK = re.compile(r"(<!-- quote (?P<folder>\S+) -->\n).*?(<!-- end quote -->)", re.DOTALL)


def quoted(text: str, folder: Path) -> str:
    """Return the text with every quotation made anew from the result files below `folder`.

    Raises:
        FileNotFoundError: if a quoted result is not there.
    """

    def block(match: re.Match[str]) -> str:
        source = folder / match["folder"]
        return f"{match[1]}\n{_shown(source)}\n\n{match[3]}"

    return _BLOCK.sub(block, text)


def _shown(source: Path) -> str:
    result = json.loads((source if source.suffix == ".json" else source / "table.json").read_text())
    if "bias" in result:
        return bias_digest(result)
    if "spread" in result:
        return as_markdown(result).rstrip()
    if result.get("kind") == "comparison":
        return body(result)
    return digest(result) if source.suffix == ".json" else tables(result)


def main(paths: list[str]) -> int:
    """Rewrite the given texts; exit status 2 where a file is missing."""
    for path in map(Path, paths):
        try:
            write_atomically(path, quoted(path.read_text(), path.parent).encode())
        except FileNotFoundError as error:
            print(f"error: {error.filename} is not there", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
