"""What the phase portraits share: field, simulated basin, trajectories."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from dynamics.flow import Fate, integrate
from dynamics.gate import Gate
from figures.style import BLACK, GREY, PALE

__all__ = ["draw_basin", "draw_field", "draw_paths"]

State = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


def draw_basin(axes: Axes, gate: Gate, state: State, top: float, cells: int = 240) -> None:
    """Shade the cells from which the simulated gate goes to zero; θ from 0 to 1, the norm from 0 to `top`."""
    x = (np.arange(cells) + 0.5) / cells * top
    y = (np.arange(cells) + 0.5) / cells
    outcome = integrate(gate, *state(*np.meshgrid(x, y))).outcome
    shade = ListedColormap(["white", PALE])
    axes.pcolormesh(x, y, outcome == Fate.ZERO, cmap=shade, vmin=0, vmax=1, shading="nearest", rasterized=True)


def draw_field(axes: Axes, gate: Gate, state: State, top: float, cells: int = 40) -> None:
    """Streamlines of the projected field, as seen in the plane of the first norm and θ."""
    x, y = np.linspace(0, top, cells), np.linspace(0, 1, cells)
    derivative = gate.field(*state(*np.meshgrid(x, y)))
    axes.streamplot(x, y, derivative[0], derivative[-1], color=GREY, linewidth=0.4, arrowsize=0.5, density=0.9)


def draw_paths(axes: Axes, gate: Gate, state: State, starts: Sequence[tuple[float, float]], horizon: float) -> None:
    """Trajectories from the given (norm, θ), each with its start marked."""
    x, y = np.asarray(starts, dtype=float).T
    flow = integrate(gate, *state(x, y), horizon=horizon, times=np.linspace(0, horizon, 2000))
    assert flow.path is not None
    for i in range(len(x)):
        axes.plot(flow.path[0][:, i], flow.path[-1][:, i], color=BLACK, linewidth=0.9)
    axes.plot(x, y, "o", color=BLACK, markersize=2.5)
