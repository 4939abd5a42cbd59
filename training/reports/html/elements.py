"""HTML elements made from plain values, which are escaped here wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["code", "element", "section", "table", "text"]


def text(value: object) -> str:
    """Return a value as the text of an element or attribute.

    Example:
        >>> text("<b> & 'c'")
        '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return escape(str(value))


def element(name: str, value: object, /, **attributes: object) -> str:
    """Return an element with a text in it.

    Example:
        >>> element("p", "a < b", id="x")
        '<p id="x">a &lt; b</p>'
    """
    given = "".join(f' {key.rstrip("_")}="{text(of)}"' for key, of in attributes.items())
    return f"<{name}{given}>{text(value)}</{name}>"


def code(value: object) -> str:
    """Return a command or file in a block that scrolls."""
    return f"<pre>{element('code', value)}</pre>"


def section(heading: str, *parts: str, level: int = 3) -> str:
    """Return a section: a heading, and finished HTML below it."""
    return "\n".join(["<section>", element(f"h{level}", heading), *parts, "</section>"])


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table of texts that scrolls sideways where the screen is narrow; first column left, others right."""
    lines = ['<div class="wide" tabindex="0"><table>']
    if caption:
        lines.append(element("caption", caption))
    lines.append("<thead><tr>" + "".join(element("th", cell, scope="col") for cell in head) + "</tr></thead><tbody>")
    for first, *rest in rows:
        cells = element("th", first, scope="row") + "".join(element("td", cell) for cell in rest)
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])
