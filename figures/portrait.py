"""The parts that phase portraits share: field, simulated basin, trajectories, box, separatrix and headroom contours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.typing import LineStyleType

from dynamics.gates.gate import Gate
from dynamics.integrators.batched_flow import integrate
from dynamics.integrators.fate import Fate
from figures.style import BLACK, BLUE, GREEN, GREY, ORANGE, PALE, RED, figure

__all__ = ["Portrait"]

CELLS = 240
HEADROOMS: dict[float, tuple[LineStyleType, float]] = {
    1: ("solid", 1.6),
    1.5: ("dashed", 1.2),
    2: ("dashdot", 1.2),
    4: ("dotted", 1.4),
}


@dataclass(frozen=True)
class Portrait:
    """A gate seen in the plane of a norm and θ.

    Attributes:
        gate: one gate.
        state: a norm and θ to a state of the gate.
        top: largest norm that is shown; θ goes from 0 to 1.
        starts: of trajectories, (norm, θ) each.
        horizon: how long they are followed.
    """

    gate: Gate
    state: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
    top: float
    starts: Sequence[tuple[float, float]]
    horizon: float

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Norms and θ in the middle of the cells."""
        middle = (np.arange(CELLS) + 0.5) / CELLS
        return middle * self.top, middle

    @cached_property
    def dies(self) -> np.ndarray:
        """Return whether the simulated gate goes to zero, (θ, norm)."""
        return integrate(self.gate, *self._states).outcome == Fate.ZERO

    @property
    def _states(self) -> tuple[np.ndarray, ...]:
        return self.state(*np.meshgrid(*self.cells))

    @property
    def saddle(self) -> tuple[float, float]:
        """(norm, θ) of the saddle."""
        values = self.gate.saddle
        return float(values[0]), float(values[-1])

    def counts(self) -> str:
        """Return how simulation and certificate agree, and what the box would have certified, for a caption."""
        certified = self.gate.certified(*self._states)
        rho, theta = self.saddle
        x, y = np.meshgrid(*self.cells)
        box = (x < rho) & (y < theta)
        return (
            f"simulation and certificate agree in {(certified == self.dies).sum()} of {CELLS}×{CELLS} cells, and the "
            f"certified region is {certified.sum() / box.sum():.1f} times the box"
        )

    def draw(self, norm: str) -> Figure:
        """Left the flow, right how far the coupling may grow; `norm` names the horizontal axis."""
        drawing, (left, right) = figure(columns=2, height=3.25, sharey=True)
        for axes in (left, right):
            x, y = self.cells
            shade = ListedColormap(["white", PALE])
            axes.pcolormesh(x, y, self.dies, cmap=shade, vmin=0, vmax=1, shading="nearest", rasterized=True)
            rho, theta = self.saddle
            box = Rectangle((0, 0), rho, theta, fill=False, edgecolor=RED, linewidth=1.4, linestyle=":")
            axes.add_patch(box)
            axes.set(xlim=(0, self.top), ylim=(0, 1), xlabel=norm)
        left.set_ylabel("gate probability θ")
        self._flow(left)
        self._headroom(right)
        drawing.legend(handles=_handles(), loc="outside lower center", ncols=4)
        return drawing

    def _flow(self, axes: Axes) -> None:
        x, y = np.linspace(0, self.top, 40), np.linspace(0, 1, 40)
        derivative = self.gate.field(*self.state(*np.meshgrid(x, y)))
        axes.streamplot(x, y, derivative[0], derivative[-1], color="#aaaaaa", linewidth=0.4, arrowsize=0.5, density=0.8)
        self._contour(axes, self.gate, BLUE, "solid", 1.6)
        fine = np.meshgrid(np.linspace(1e-6, self.top, 241), np.linspace(1e-9, 1 - 1e-9, 241))
        derivative = self.gate.field(*self.state(*fine))
        # Levels at zero of the derived functions: the curves are drawn from `dynamics`, not from formulas kept here.
        axes.contour(*fine, derivative[0], levels=[0.0], colors=GREEN, linestyles="dashed", linewidths=1.2)
        axes.contour(*fine, derivative[-1], levels=[0.0], colors=ORANGE, linestyles="dashdot", linewidths=1.2)
        starts = np.asarray(self.starts, dtype=float).T
        times = np.linspace(0, self.horizon, 2000)
        flow = integrate(self.gate, *self.state(*starts), horizon=self.horizon, times=times)
        assert flow.path is not None
        for i in range(starts.shape[1]):
            axes.plot(flow.path[0][:, i], flow.path[-1][:, i], color=BLACK, linewidth=0.9)
        axes.plot(*starts, "o", color=BLACK, markersize=2.5)
        axes.plot(*self.saddle, "s", color=RED, markersize=4.5)

    def _headroom(self, axes: Axes) -> None:
        """Headroom ≥ m means certified with m times the coupling: its contour is the separatrix of that gate."""
        for m, (line, width) in HEADROOMS.items():
            self._contour(axes, self.gate.with_coupling(m * self.gate.coupling), BLUE, line, width)
        styles = [
            Line2D([], [], color=BLUE, linestyle=line, linewidth=width, label=f"m = {m:g}")
            for m, (line, width) in HEADROOMS.items()
        ]
        axes.legend(handles=styles, title="headroom", title_fontsize=7, loc="upper right", frameon=True, framealpha=1)

    def _contour(self, axes: Axes, gate: Gate, colour: str, line: LineStyleType, width: float) -> None:
        fine = np.meshgrid(np.linspace(1e-6, self.top, 481), np.linspace(0, 1, 481))
        margin = gate.margin(*self.state(*fine))
        axes.contour(*fine, margin, levels=[0.0], colors=colour, linestyles=line, linewidths=width)


def _handles() -> list[Line2D | Patch]:
    return [
        Patch(facecolor=PALE, edgecolor=GREY, linewidth=0.4, label="goes to zero (simulated)"),
        Line2D([], [], color=BLUE, linewidth=1.6, label="separatrix"),
        Line2D([], [], color=GREEN, linestyle="dashed", label="norm at rest"),
        Line2D([], [], color=ORANGE, linestyle="dashdot", label="θ at rest"),
        Line2D([], [], color=RED, linestyle=":", linewidth=1.4, label="box below the saddle"),
        Line2D([], [], color=RED, marker="s", linestyle="none", markersize=4.5, label="saddle"),
        Line2D([], [], color=BLACK, marker="o", markersize=2.5, linewidth=0.9, label="trajectory, start"),
    ]
