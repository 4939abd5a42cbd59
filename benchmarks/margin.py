"""The cost of `margin` for many gates, each with its own constants: NumPy and torch, in nanoseconds a gate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dynamics import BilinearGate, LinearGate

COUNTS = (1_000, 100_000)


def run(repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
    rows = []
    for kind, norms in ((LinearGate, 1), (BilinearGate, 2)):
        for count in COUNTS:
            rng = np.random.default_rng(0)
            constants = {name: rng.uniform(0.1, 1, count) for name in ("decay", "coupling", "cost", "rate")}
            state = [rng.uniform(0, 1, count) for _ in range(norms + 1)]
            for backend, cast in (("numpy", np.asarray), ("torch", torch.as_tensor)):
                gate = kind(**{name: cast(value) for name, value in constants.items()})
                values = [cast(part) for part in state]
                taken = _seconds(lambda gate=gate, values=values: gate.margin(*values), 10 * repeats)
                rows.append({"gate": kind.__name__, "gates": count, "backend": backend, "ns": 1e9 * taken / count})
                say(f"margin, {kind.__name__}, {count:,} gates, {backend}: {rows[-1]['ns']:.0f} ns a gate")
    return {"rows": rows}


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
