"""Small line charts as inline SVG: readable without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.reports.html.elements import element, text

__all__ = ["Curve", "chart"]

_WIDTH, _HEIGHT, _LEFT, _BELOW = 600, 220, 46, 34


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: in the legend.
        kind: its class in the style sheet.
        x, y: its points, x ≥ 0 and increasing, y in [0, 100].
    """

    name: str
    kind: str
    x: Sequence[float]
    y: Sequence[float]


def chart(title: str, curves: Sequence[Curve], unit: str) -> str:
    """Return curves in percent over one axis as SVG; an empty text where no curve has a point.

    Args:
        title: read aloud in place of the picture.
        curves: what to draw.
        unit: of x.
    """
    curves = [curve for curve in curves if curve.x]
    if not curves:
        return ""
    end = max(curve.x[-1] for curve in curves) or 1
    right, bottom = _WIDTH - 10, _HEIGHT - _BELOW

    def point(x: float, y: float) -> str:
        return f"{_LEFT + (right - _LEFT) * x / end:.1f},{bottom - (bottom - 10) * y / 100:.1f}"

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(title)}">']
    for level in (0, 50, 100):
        left, height = point(0, level).split(",")
        parts.append(f'<path class="grid" d="M{left} {height}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{height}" dy="4" text-anchor="end">{level}%</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 12}">0</text>')
    parts.append(f'<text x="{right}" y="{_HEIGHT - 12}" text-anchor="end">{text(unit)} {end:g}</text>')
    for curve in curves:
        points = " ".join(point(x, y) for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(f'<polyline class="curve {curve.kind}" points="{points}"/>')
    names = "".join(f'<li class="{curve.kind}">{text(curve.name)}</li>' for curve in curves)
    picture = "".join([*parts, "</svg>"])
    return f'<figure>{element("figcaption", title)}{picture}<ul class="legend">{names}</ul></figure>'
