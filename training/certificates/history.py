"""Gate histories are appended to a zarr store, record by record, while training runs; xarray opens them.

xr.open_zarr("runs/NAME/gates.zarr").theta.plot.line(x="step")
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr

from training.certificates.record import Record
from training.errors import InputError

__all__ = ["History", "open_history", "sound_history"]

_UNWRITTEN = -1
_CHUNK = 64  # records a chunk; an append rewrites only the last one

#: Two names on the disk are older than those in the code: stores of earlier versions stay readable.
_ON_DISK = {"is_branch": "is_layer", "parent": "holder"}

#: The format of stores that are opened: those of version 2 may name codecs that run code, pickle's among them.
_FORMAT: Literal[3] = 3

#: Columns that every run has recorded and that rules and verdicts read, whatever else a store may lack.
_NEEDED = ("theta", "in_box")
#: Those of them in which a gate in the network always has a number (it may be infinite): of all gates, of units.
_OF_ALL = ("rho", "cost", "coupling", "margin")
_OF_UNITS = ("rho_in", "coupling_bilinear", "margin_bilinear")
#: Of these, those that are finite and ≥ 0.
_SIZES = ("rho", "rho_in", "cost")


class History:
    """An append-only store of records.

    Args:
        path: of the store; must not exist.
        names: readable name of every gate.
        is_branch: which gates gate a branch, [gate].
        parent: index of the gate of the branch in which each gate lies, −1 for none, [gate]; none by default.
        flush_after: seconds that records may wait in memory.

    Use as a context manager: what is in memory is written on the way out, an interruption included.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        is_branch: np.ndarray,
        parent: np.ndarray | None = None,
        flush_after: float = 20.0,
    ) -> None:
        root = zarr.create_group(path, attributes={"gates": list(names)}, zarr_format=_FORMAT)
        count = len(names)
        root.create_array(_ON_DISK["is_branch"], data=np.asarray(is_branch, dtype=bool), dimension_names=("gate",))
        parent = np.full(count, -1) if parent is None else np.asarray(parent, dtype=np.int64)
        root.create_array(_ON_DISK["parent"], data=parent, dimension_names=("gate",))
        # −1: a row that a kill has left without its step.
        root.create_array(
            "step", shape=(0,), chunks=(4096,), dtype="int64", dimension_names=("step",), fill_value=_UNWRITTEN
        )
        for name in _columns():
            kind = "bool" if name == "in_box" else "float32"
            root.create_array(
                name, shape=(0, count), chunks=(_CHUNK, count), dtype=kind, dimension_names=("step", "gate")
            )
        self._attach(root, flush_after)

    def _attach(self, root: zarr.Group, flush_after: float) -> None:
        self._pending: list[Record] = []
        self._flush_after, self._flushed, self._torn = flush_after, time.monotonic(), False
        self._arrays: dict[str, Any] = {name: root[name] for name in [*_columns(), "step"]}

    @classmethod
    def resumed(cls, path: Path, step: int, flush_after: float = 20.0) -> History:
        """Open the store of an interrupted run for appending, and cut off its rows later than `step`.

        Raises:
            InputError: if there is none, or one that lacks something.
        """
        if not path.is_dir():
            raise InputError(f"no gate history at {path}: the run cannot be resumed; start it again")
        self = cls.__new__(cls)
        try:
            self._attach(zarr.open_group(path, mode="r+", zarr_format=_FORMAT), flush_after)
        except (KeyError, zarr.errors.GroupNotFoundError) as error:
            raise InputError(f"the gate history at {path} is damaged ({error}): start the run again") from None
        self._cut(step)
        return self

    def _cut(self, step: float = np.inf) -> None:
        """Cut off rows later than `step`, and those without a step: a broken flush may leave some columns longer."""
        steps = np.asarray(self._arrays["step"][:])
        rows = int(((steps <= step) & (steps != _UNWRITTEN)).sum())
        for array in self._arrays.values():
            array.resize((rows, *array.shape[1:]))

    def append(self, record: Record) -> None:
        """Add one record; written to disk in groups."""
        self._pending.append(record)
        if time.monotonic() - self._flushed >= self._flush_after:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory: first the values, then the steps, so that a kill in between loses rows only."""
        self._flushed = time.monotonic()
        if not self._pending:
            return
        if self._torn:  # as on a full disk: what is appended now must not come after half of it
            self._cut()
        self._torn = True
        for name in [*_columns(), "step"]:
            values = np.asarray([getattr(record, name) for record in self._pending])
            array = self._arrays[name]
            array.append(values.astype(array.dtype))
        self._pending.clear()
        self._torn = False

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


def _columns() -> list[str]:
    return [field.name for field in fields(Record) if field.name != "step"]


def open_history(path: Path | str) -> xr.Dataset:
    """Return the history of a run, with coordinates `step` and `gate`.

    Args:
        path: of the store, or the run folder that holds it as gates.zarr.

    Raises:
        FileNotFoundError: if there is none.
        InputError: if it is none that this package writes, or cannot be read.
    """
    path = Path(path)
    if (path / "gates.zarr").is_dir():
        path = path / "gates.zarr"
    if not path.is_dir():
        raise FileNotFoundError(f"no gate history at {path}")
    try:
        return _read(zarr.open_group(path, mode="r", zarr_format=_FORMAT))
    except Exception as error:  # a damaged store may fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"the gate history at {path} is damaged ({reason})") from error


def _read(root: zarr.Group) -> xr.Dataset:
    arrays = dict(root.arrays())
    # A kill in the middle of a flush leaves values whose step was never written: they are left out.
    steps = np.asarray(arrays["step"][:])
    rows = int((steps != _UNWRITTEN).sum())
    values = {name: (("step", "gate"), np.asarray(array[:rows])) for name, array in arrays.items() if array.ndim == 2}
    coordinates = {"step": ("step", steps[:rows])}
    coordinates |= {name: ("gate", np.asarray(arrays[stored][:])) for name, stored in _ON_DISK.items()}
    # Names are an attribute of the group: zarr's format has no settled encoding for arrays of strings.
    return xr.Dataset(values, coords=coordinates | {"gate": root.attrs["gates"]})


def sound_history(path: Path | str) -> xr.Dataset:
    """Return the history of a run, for those that judge by it: nothing in it may be what no run can record.

    Steps increase, θ is in [0, 1], a gate lies in a branch or in none, and it is in the network with all its norms,
    prices, bounds and margins, or has left it with none of them and θ = 0. Columns that a store of an earlier version
    lacks are not asked for.

    Args:
        path: as for `open_history`.

    Raises:
        FileNotFoundError: if there is none.
        InputError: as `open_history`, and naming the first column, step and gate that cannot be.
    """
    history = open_history(path)
    steps = history.step.values
    if (np.diff(steps, prepend=-1) <= 0).any():
        raise InputError(f"the gate history at {path} is damaged: its steps must increase; got {steps.tolist()}")
    absent = [name for name in (*_NEEDED, *_OF_ALL, *_OF_UNITS) if name not in history]
    if absent:
        raise InputError(f"the gate history at {path} is damaged: it lacks the column {absent[0]}")
    _check_parents(history, path)
    columns = {name: history[name].values for name in ("theta", *_OF_ALL, *_OF_UNITS)}
    gone = np.logical_and.reduce([columns["theta"] == 0, *(np.isnan(columns[name]) for name in _OF_ALL)])
    asked = {name: ~gone & (~history.is_branch.values if name in _OF_UNITS else True) for name in columns}
    asked["theta"] = np.ones_like(gone)
    for name, values in columns.items():
        wrong = asked[name] & np.isnan(values)
        if name == "theta":
            wrong |= (values < 0) | (values > 1)
        elif name in _SIZES:
            wrong |= asked[name] & ((values < 0) | np.isinf(values))
        if wrong.any():
            row, gate = np.argwhere(wrong)[0]
            raise InputError(
                f"the gate history at {path} is damaged: {name} of {history.gate.values[gate]} is "
                f"{values[row, gate]:g} at step {steps[row]}, which no run records"
            )
    return history


def _check_parents(history: xr.Dataset, path: Path | str) -> None:
    """Refuse a gate whose parent is neither −1 nor the index of a branch's gate."""
    parent, is_branch = history.parent.values, history.is_branch.values
    branches = np.flatnonzero(is_branch)
    for gate in np.flatnonzero((parent != -1) & ~np.isin(parent, branches)):
        raise InputError(
            f"the gate history at {path} is damaged: parent of {history.gate.values[gate]} must be −1 or the index of "
            f"a branch, of {branches.tolist()}; got {parent[gate]}"
        )
