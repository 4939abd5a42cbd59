"""The one style of all figures, and how they are saved.

Print width, colours that differ for colour-blind readers and in grey (Okabe and Ito), fixed metadata: equal inputs
give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PALE", "RED", "WIDTH", "figure", "save"]

WIDTH = 6.5  # inches, the text width of the paper

BLACK, GREY, PALE = "#000000", "#777777", "#dce9f5"
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"

plt.rcParams.update(
    {
        "font.size": 8,
        "font.family": "DejaVu Sans",
        "axes.titlesize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 7,
        "lines.linewidth": 1.2,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,
    }
)


def figure(rows: int = 1, columns: int = 1, height: float = 2.8) -> tuple[Figure, list[plt.Axes]]:
    """A figure of print width with a flat list of axes; `height` in inches."""
    drawing, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False)
    return drawing, list(axes.flat)


def save(drawing: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.pdf and NAME.png into `folder`, each under a temporary name first.

    Returns:
        The two paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"pdf": {"CreationDate": None, "Producer": None, "Creator": None}, "png": {"Software": None}}
    paths = []
    for kind in ("pdf", "png"):
        path = folder / f"{name}.{kind}"
        temporary = folder / f".{name}.partial"
        drawing.savefig(temporary, format=kind, metadata=metadata[kind])
        temporary.replace(path)
        paths.append(path)
    plt.close(drawing)
    return paths
