"""Basin maps: where does every state of a grid end, and does the closed form agree?

A map is computed in blocks of the first axis and written block by block to a zarr store that xarray opens, so
that memory does not grow with the map and a broken run can be continued. Blocks may go to a Dask scheduler; the
results come back here and only this process writes.
"""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from dynamics.gates.gate import Gate
from dynamics.integrators.batched_flow import Flow, check_options, integrate
from dynamics.integrators.exact_linear import solve
from dynamics.integrators.fate import Fate

__all__ = ["Agreement", "Axis", "Map", "Options", "compare", "compute"]

PATIENCE = "10s"  # for a Dask scheduler to answer
EMPTY = 255  # fate of a cell that is not computed yet


@dataclass(frozen=True)
class Axis:
    """Equally spaced values of one or several components of the state.

    Attributes:
        name: of the coordinate in the result.
        low: the first value.
        high: the last.
        count: how many, ≥ 1.
        moves: the components of the state that take this value; two norms that move together are equal.

    Raises:
        ValueError: if low > high, a bound is not finite, or count < 1.
    """

    name: str
    low: float
    high: float
    count: int
    moves: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{self.name} must run between finite bounds in order; got {self.low} … {self.high}")
        if self.count < 1:
            raise ValueError(f"{self.name} needs at least one value; got {self.count}")

    @property
    def values(self) -> NDArray[np.float64]:
        """Return the coordinate."""
        return np.linspace(self.low, self.high, self.count)


@dataclass(frozen=True)
class Options:
    """How trajectories are followed, see `dynamics.integrators.batched_flow`; `exact` is for the linear gate only."""

    method: Literal["adaptive", "exact"] = "adaptive"
    rtol: float = 1e-6
    atol: float = 1e-9
    horizon: float = 1e6
    max_steps: int = 100_000

    def __post_init__(self) -> None:
        # Before a store is made: the integrator would refuse these only once it is there.
        check_options(self.rtol, self.max_steps, atol=self.atol, horizon=self.horizon)


@dataclass(frozen=True)
class Map:
    """A basin map to be computed: a gate with one set of constants, a grid, and how to follow trajectories.

    Raises:
        ValueError: unless every component of the gate's state is moved by exactly one axis, the constants are
            single numbers, and the grid lies in the strip.
    """

    gate: Gate
    axes: tuple[Axis, ...]
    options: Options = Options()

    def __post_init__(self) -> None:
        names = sorted(symbol.name for symbol in self.gate.system.state)
        moved = sorted(name for axis in self.axes for name in axis.moves)
        if moved != names:
            raise ValueError(f"the axes must move {', '.join(names)}, each once; got {', '.join(moved)}")
        for name, value in self.gate.parameters.items():
            if np.size(value) != 1:
                raise ValueError(f"a map has one gate; {name} has {np.size(value)} values")
        self.gate.field(*(self.cells(slice(0, 1))))  # the lowest and, next, the highest row lie in the strip
        self.gate.field(*(self.cells(slice(self.shape[0] - 1, self.shape[0]))))

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of values along each axis."""
        return tuple(axis.count for axis in self.axes)

    def cells(self, rows: slice) -> list[NDArray[np.float64]]:
        """Return the states of some rows of the first axis, in the order of the gate's state, ready to broadcast."""
        parts: dict[str, NDArray[np.float64]] = {}
        for place, axis in enumerate(self.axes):
            values = axis.values[rows] if place == 0 else axis.values
            along = [1] * len(self.axes)
            along[place] = len(values)
            parts |= dict.fromkeys(axis.moves, values.reshape(along))
        return [parts[symbol.name] for symbol in self.gate.system.state]

    def follow(self, rows: slice, threads: int | None = None) -> Flow:
        """Integrate some rows."""
        options = asdict(self.options)
        if options.pop("method") == "exact":
            return solve(self.gate, *self.cells(rows), horizon=self.options.horizon, threads=threads)  # type: ignore[arg-type]
        return integrate(self.gate, *self.cells(rows), threads=threads, **options)

    @property
    def sharp(self) -> bool:
        """Return whether the certificate is exact on this grid: one norm, or two that move together."""
        return len(self.axes) == 2

    @property
    def identity(self) -> dict[str, Any]:
        """Return what the result depends on, as JSON."""
        constants = {name: float(value) for name, value in self.gate.parameters.items()}
        return {
            "difference": str(self.gate.system.difference),
            "parameters": constants,
            "axes": json.loads(json.dumps([asdict(axis) for axis in self.axes])),
            "options": asdict(self.options),
        }


@dataclass(frozen=True)
class Agreement:
    """A map against the closed form (or, for a general gate, the computed separatrix), cell by cell.

    Attributes:
        cells: compared.
        agree: cells that are ZERO and certified, or neither.
        wrong: certified but not ZERO. Anything here away from the separatrix refutes the certificate.
        missed: ZERO but not certified; expected only where two norms are unequal.
        unclear: UNDECIDED or FAILED.
        farthest: largest |margin| among `wrong` and, where the certificate is sharp, `missed`; 0 if none.
    """

    cells: int
    agree: int
    wrong: int
    missed: int
    unclear: int
    farthest: float


def compute(
    task: Map,
    output: Path,
    *,
    block: int = 250_000,
    threads: int | None = None,
    cluster: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Agreement:
    """Compute a map into a zarr store, or continue one that was broken off.

    Args:
        task: the map.
        output: folder of the store; created, or holding a part of the same map.
        block: about how many states are held in memory at once, ≥ 1.
        threads: of this process or of a Dask worker's task; by default one a core.
        cluster: address of a Dask scheduler, "tcp://host:port"; by default no Dask is needed.
        attributes: stored beside the map's own.
        progress: called with the numbers of states done and of all states.

    Raises:
        ValueError: if `output` holds something else or another map; without Dask installed where it is needed.
    """
    if block < 1:
        raise ValueError(f"block must be ≥ 1; got {block}")
    client = None if cluster is None else _connect(cluster)
    rows = max(1, min(task.shape[0], block // math.prod(task.shape[1:])))
    store = _open(task, output, rows)
    fates, done = _array(store, "fate"), _array(store, "done")
    width = fates.chunks[0]  # a continued map keeps its blocks
    blocks = [slice(i * width, min((i + 1) * width, task.shape[0])) for i in range(done.shape[0])]
    left = np.flatnonzero(np.asarray(done[:]) == 0).tolist()
    states = [(part.stop - part.start) * math.prod(task.shape[1:]) for part in blocks]
    finished, total = sum(states) - sum(states[i] for i in left), sum(states)
    progress(finished, total)
    start, spent = time.perf_counter(), float(store.attrs.get("seconds", 0.0))  # type: ignore[arg-type]
    source = _local(task, blocks, left, threads) if client is None else _remote(task, blocks, left, threads, client)
    for index, (fate, when, steps) in source:
        for name, value in (("fate", fate), ("time", when), ("steps", steps)):
            _array(store, name)[blocks[index]] = value
        done[index] = 1  # last, so that a broken run repeats an unfinished block
        finished += states[index]
        store.attrs["seconds"] = spent + time.perf_counter() - start
        progress(finished, total)
    agreement = compare(task, fates, blocks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    new = {"agreement": asdict(agreement), "complete": True, **(attributes or {})}
    store.attrs.update(new if not left else {**new, "peak_memory_mib": round(peak)})
    return agreement


Compact = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint16]]


def compact(task: Map, rows: slice, threads: int | None) -> Compact:
    """Return one block in the types that are stored."""
    flow = task.follow(rows, threads)
    return flow.outcome, flow.time.astype(np.float32), np.minimum(flow.steps, 65535).astype(np.uint16)


def _local(
    task: Map, blocks: Sequence[slice], left: Sequence[int], threads: int | None
) -> Iterator[tuple[int, Compact]]:
    for index in left:
        yield index, compact(task, blocks[index], threads)


def _connect(address: str) -> Any:
    """Return a Dask client."""
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("a cluster needs Dask: pip install -e '.[cluster]' in the clone") from None
    try:
        return Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from None


def _remote(
    task: Map, blocks: Sequence[slice], left: Sequence[int], threads: int | None, client: Any
) -> Iterator[tuple[int, Compact]]:
    """Return blocks from a Dask scheduler; two for each worker thread under way, so that memory stays bounded."""
    from distributed import as_completed

    with client:
        waiting = iter(left)

        def submit(index: int) -> Any:
            future = client.submit(compact, task, blocks[index], threads or 1, pure=False)
            indices[future] = index
            return future

        indices: dict[Any, int] = {}
        slots = 2 * max(1, sum(client.nthreads().values()))
        under_way = as_completed([submit(i) for _, i in zip(range(slots), waiting, strict=False)])
        for future in under_way:
            yield indices.pop(future), future.result()
            for index in waiting:
                under_way.add(submit(index))
                break


def _open(task: Map, output: Path, rows: int) -> zarr.Group:
    """Return the store of a map: a new one, or one of the same map."""
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        try:
            store = zarr.open_group(output, mode="r+")
            found = store.attrs["map"]
        except (OSError, KeyError, ValueError):
            raise ValueError(f"{output} exists and is not a basin map; choose another output") from None
        if found != task.identity:
            assert isinstance(found, dict)
            other = [key for key, value in task.identity.items() if found.get(key) != value]
            raise ValueError(f"{output} holds a map with other {', '.join(other)}; choose another output")
        return store
    store = zarr.open_group(output, mode="w")
    dims = [axis.name for axis in task.axes]
    chunks = (rows, *task.shape[1:])
    names = " ".join(fate.name.lower() for fate in Fate)
    variables: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
        ("fate", "uint8", EMPTY, {"flag_values": [int(fate) for fate in Fate], "flag_meanings": names}),
        ("time", "float32", float("nan"), {"long_name": "time at which the fate became certain"}),
        ("steps", "uint16", 0, {"long_name": "steps tried, at most 65535"}),
    )
    for name, dtype, fill, about in variables:
        store.create_array(
            name, shape=task.shape, chunks=chunks, dtype=dtype, fill_value=fill,
            dimension_names=dims, attributes=about,
        )  # fmt: skip
    for axis in task.axes:
        long_name = {"long_name": " = ".join(axis.moves)}
        store.create_array(axis.name, data=axis.values, dimension_names=[axis.name], attributes=dict(long_name))
    count = -(-task.shape[0] // rows)
    store.create_array("done", shape=(count,), chunks=(1,), dtype="uint8", fill_value=0, dimension_names=["block"])
    store.attrs.update({"map": task.identity, "complete": False})  # last: an unfinished store is no map
    return store


def _array(store: zarr.Group, name: str) -> zarr.Array:
    found = store[name]
    assert isinstance(found, zarr.Array)
    return found


def compare(task: Map, fates: zarr.Array, blocks: Sequence[slice]) -> Agreement:
    """Compare the stored fates with the gate's margin, block by block."""
    cells = agree = wrong = missed = unclear = 0
    farthest = 0.0
    for rows in blocks:
        fate = np.asarray(fates[rows])
        margin = np.broadcast_to(task.gate.margin(*task.cells(rows)), fate.shape)
        zero, certified, lost = fate == Fate.ZERO, margin < 0, np.isin(fate, (Fate.UNDECIDED, Fate.FAILED))
        bad, short = certified & ~zero & ~lost, zero & ~certified
        cells, unclear = cells + fate.size, unclear + int(lost.sum())
        wrong, missed = wrong + int(bad.sum()), missed + int(short.sum())
        agree += int((~lost & (zero == certified)).sum())  # agree + wrong + missed + unclear = cells
        apart = np.abs(margin[bad | short if task.sharp else bad])
        farthest = max(farthest, float(apart.max(initial=0.0)))
    return Agreement(cells, agree, wrong, missed, unclear, farthest)
