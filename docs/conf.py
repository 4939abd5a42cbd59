"""Settings of the documentation builder: `make docs` builds build/docs/ and fails on a warning or a dead link.

The pages need no network: nothing on them comes from another server, and the search works from a folder of files.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "Pruning dynamics"
author = copyright = "The pruning-dynamics authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
suppress_warnings = ["ref.python"]  # an attribute's name that several classes have: nobody wrote it as a link
nitpicky = False  # a type that has no page of its own is no dead link; those written as links are checked

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # links to headings, checked

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False
napoleon_use_ivar = True  # a class's attributes are listed with it, without entries of their own
default_role = "code"  # a docstring's `name` is code, as in Markdown

_AS_IT_IS = re.compile(r"(`[^`]+`|^ *>>> (?:.+\n?)+|^    \S+   .*$)", re.MULTILINE)  # code, doctests, tables
_MARKUP = re.compile(r"([*|_\\])")
_TABLE = re.compile(r"(?<=[:,]\n)\n(?=    [^ >])|(?<=\n)\n(?=    \S+   )")  # indented, and no section's text
_SEVERAL = re.compile(r"^    \w+(?:, \w+)+: ", re.MULTILINE)  # attributes described together
_MODULES = re.compile(r"^\{modules\} (?P<package>\S+)$", re.MULTILINE)


def _markdown_as_rst(_app: object, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Escape what reStructuredText would read as markup: docstrings use nothing but backticks, doctests and indents."""
    parts = _AS_IT_IS.split("\n".join(lines))
    parts[::2] = [_MARKUP.sub(r"\\\1", part) for part in parts[::2]]
    text = _TABLE.sub("\n::\n\n", "".join(parts))
    lines[:] = _SEVERAL.sub(lambda names: names[0].replace(", ", ","), text).split("\n")  # a space: type and name


def _list_modules(_app: object, _page: str, source: list[str]) -> None:
    """Put every module of a package where a page says `{modules} PACKAGE`, so that none is forgotten."""

    def listed(match: re.Match[str]) -> str:
        folder = ROOT / match["package"].replace(".", "/")
        names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
        return "\n".join(
            f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {match['package']}.{name}\n```\n" for name in names
        )

    source[0] = _MODULES.sub(listed, source[0])


def setup(app: object) -> None:
    """Connect what this file adds to the builder."""
    app.connect("autodoc-process-docstring", _markdown_as_rst, priority=400)  # type: ignore[attr-defined]
    app.connect("source-read", _list_modules)  # type: ignore[attr-defined]
