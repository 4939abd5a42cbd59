"""Quote result files in texts: `python -m training.experiments.quote README.md docs/*.md`.

Everything between `<!-- quote FOLDER -->` and `<!-- end quote -->` is replaced by the tables of FOLDER/table.json, and
that of `<!-- quote FILE.json -->` by those of pooled evidence, of the bias of estimates or of robustness, relative to
the text. `FILE.json#WORD` quotes only the paragraph that begins with the word, and the table below it; of pooled
evidence `FILE.json#sentence` quotes the main result in one sentence. A test fails while a text does not say what its
result files say.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from training.evidence.digest import bias_digest, digest
from training.experiments.compare.markdown import body
from training.experiments.robustness_spread import as_markdown
from training.reports.text import tables
from training.runtime.atomic_files import write_atomically

__all__ = ["quoted"]

_BLOCK = re.compile(r"(<!-- quote (?P<source>[^\s#]+)(?:#(?P<part>\S+))? -->\n).*?(<!-- end quote -->)", re.DOTALL)


def quoted(text: str, folder: Path) -> str:
    """Return the text with every quotation made anew from the result files below `folder`.

    Raises:
        FileNotFoundError: if a quoted result is not there.
        ValueError: if a result has no paragraph that begins with the word asked for.
    """

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_shown(folder / match['source'], match['part'])}\n\n{match[4]}"

    return _BLOCK.sub(block, text)


def _shown(source: Path, part: str | None) -> str:
    result = json.loads((source if source.suffix == ".json" else source / "table.json").read_text())
    if part == "sentence":
        return _sentence(result)
    whole = _whole(result, source.suffix == ".json")
    return whole if part is None else _part(whole, part, source)


def _whole(result: dict[str, Any], is_file: bool) -> str:
    if "bias" in result:
        return bias_digest(result)
    if "spread" in result:
        return as_markdown(result).rstrip()
    if result.get("kind") == "comparison":
        return body(result)
    return digest(result) if is_file else tables(result)


def _part(text: str, word: str, source: Path) -> str:
    """Return the paragraph that begins with a word, and the table that follows it."""
    paragraphs = text.split("\n\n")
    for paragraph, after in zip(paragraphs, [*paragraphs[1:], ""], strict=True):
        if paragraph.startswith(word):
            return f"{paragraph}\n\n{after}" if after.startswith("|") else paragraph
    raise ValueError(f"a quotation must name how a paragraph begins; none of {source} begins with {word!r}")


def _sentence(result: dict[str, Any]) -> str:
    """Return what the half-plane certificate did with the units of pooled shadow runs, in one sentence."""
    rules = result["all"]["rules"]
    (row,) = (row for row in rules if (row["kind"], row["rule"]) == ("units", "half-plane"))
    return (
        f"In {len(result['runs'])} shadow runs the half-plane certificate named **{row['caught']} of the {row['dead']} "
        f"units that died, {row['lead']:g} steps before they did in the median; {row['wrong']} of its "
        f"{row['flagged']} flags were wrong**, and {row['undecided']} are undecided."
    )


def main(paths: list[str]) -> int:
    """Rewrite the given texts; exit status 2 where a file is missing or lacks what is quoted."""
    for path in map(Path, paths):
        try:
            write_atomically(path, quoted(path.read_text(), path.parent).encode())
        except FileNotFoundError as error:
            print(f"error: {error.filename} is not there", file=sys.stderr)
            return 2
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
