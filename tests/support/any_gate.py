"""What the tests of both gates share: backends, dtypes, parameters that reach the extremes, exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import torch
from hypothesis import strategies as st

DIGITS = 60  # enough for 1 + 1e-40 without cancellation, and exponents have no limit


def _numpy(dtype: type) -> Callable[[Any], np.ndarray]:
    return lambda value: np.asarray(value, dtype=dtype)


def _torch(dtype: torch.dtype) -> Callable[[Any], torch.Tensor]:
    return lambda value: torch.tensor(value, dtype=dtype)


#: name → (array maker, relative tolerance)
BACKENDS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "numpy float64": (_numpy(np.float64), 1e-11),
    "numpy float32": (_numpy(np.float32), 2e-5),
    "torch float64": (_torch(torch.float64), 1e-11),
    "torch float32": (_torch(torch.float32), 2e-5),
}


def magnitudes(low: float, high: float, *, zero: bool = False) -> st.SearchStrategy[float]:
    """Positive floats, uniform in the logarithm, exact in float32 where they are in its normal range."""
    exponents = st.floats(float(np.log10(low)), float(np.log10(high)))
    found = exponents.map(lambda e: as_float32(10.0**e) if -37 < e < 38 else 10.0**e)
    return st.one_of(st.just(0.0), found) if zero else found


def as_float32(value: float) -> float:
    return float(np.float32(value))


thetas = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1, width=32, allow_subnormal=False))


def number(value: Any) -> float:
    """A scalar result of either backend."""
    return float(value)


def close(got: float, exact: mpmath.mpf, scale: mpmath.mpf, tolerance: float) -> bool:
    """|got − exact| ≤ tolerance·scale; or infinity of the same sign where a square is beyond float32's range."""
    if abs(got) == float("inf"):
        return abs(exact) > 1e15 and (got > 0) == (exact > 0)
    return abs(mpmath.mpf(got) - exact) <= tolerance * scale
