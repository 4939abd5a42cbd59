"""The one style of all figures, and how they are saved.

Print width, colours that differ for colour-blind readers (Okabe and Ito), and a line style and a marker for every
colour, since three of the colours are nearly one grey. Fixed metadata: equal inputs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from matplotlib.typing import LineStyleType
from PIL import Image

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PALE",
    "PURPLE",
    "RED",
    "SERIES",
    "WIDTH",
    "Series",
    "figure",
    "plain_ticks",
    "save",
]

WIDTH = 6.5  # inches, the text width of the paper

BLACK, GREY, PALE = "#000000", "#777777", "#dce9f5"
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"

plt.rcParams.update(
    {
        "font.size": 8,
        "font.family": "DejaVu Sans",
        "axes.titlesize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 7,
        "legend.handlelength": 2.4,  # long enough to tell a dash from a dot
        "lines.linewidth": 1.2,
        "lines.markersize": 4,
        "savefig.dpi": 160,
        "pdf.fonttype": 42,
        "hatch.linewidth": 0.5,
    }
)


@dataclass(frozen=True)
class Series:
    """How one of several things is drawn: told apart by colour, by line style and by marker."""

    colour: str
    line: LineStyleType
    marker: str

    def drawn(self, *, marked: bool = True) -> dict[str, Any]:
        """Keywords for `Axes.plot`."""
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker if marked else "None"}


#: In this order: the first ones differ most from one another in grey.
SERIES = (
    Series(BLUE, "solid", "o"),
    Series(ORANGE, "dashed", "s"),
    Series(BLACK, "dotted", "^"),
    Series(GREEN, "dashdot", "D"),
    Series(RED, (0, (5, 1, 1, 1, 1, 1)), "v"),
    Series(PURPLE, (0, (1, 2)), "P"),
    Series(GREY, (0, (8, 2)), "X"),
)


def figure(rows: int = 1, columns: int = 1, height: float = 2.8, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of print width with a flat list of axes, row by row.

    Args:
        rows: of panels.
        columns: of panels.
        height: in inches.
        **options: for `matplotlib.pyplot.subplots`.
    """
    drawing, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, **options)
    return drawing, list(axes.flat)


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Ticks of a logarithmic axis as plain numbers: 0.02 and not 2×10⁻²."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(drawing: Figure, folder: Path, name: str, caption: str | None = None) -> list[Path]:
    """Write NAME.pdf and NAME.png into `folder`, and NAME.caption.tex if there is one; each first as a temporary file.

    The PNG has 256 colours, a third of the size and no visible difference for line drawings.

    Returns:
        The paths.
    """
    contents = {"pdf": _pdf(drawing), "png": _png(drawing)}
    plt.close(drawing)
    if caption is not None:
        contents["caption.tex"] = caption.encode()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, content in contents.items():
        path = folder / f"{name}.{kind}"
        temporary = folder / f".{name}.partial"
        temporary.write_bytes(content)
        temporary.replace(path)
        paths.append(path)
    return paths


def _pdf(drawing: Figure) -> bytes:
    buffer = BytesIO()
    drawing.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return buffer.getvalue()


def _png(drawing: Figure) -> bytes:
    full, small = BytesIO(), BytesIO()
    drawing.savefig(full, format="png", metadata={"Software": None})
    picture = Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()
