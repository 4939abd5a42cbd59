"""Trajectories a second at equal accuracy: ours, diffrax, scipy; interleaved in one run.

Accuracy is the 99th percentile, over a sample of states, of the error in the time of meeting the face, relative
to 1 + time, against `solve_ivp` with DOP853 at 1e-12. Ours runs at the loosest of its tolerances that is at
least as accurate as the peer at the peer's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import CASES, HORIZON, Case
from benchmarks.peers import Result, by_diffrax, by_scipy, has_diffrax
from dynamics.integrators.batched_flow import Flow, integrate
from dynamics.integrators.exact_linear import solve

PEER_TOLERANCE = {"rtol": 1e-6, "atol": 1e-9}
OURS = [10 ** (-4 - k / 8) for k in range(49)]  # down to 1e-10
SAMPLE = 200
Run = Callable[[list[np.ndarray]], Result]


def run(
    sizes: list[int], repeats: int, largest_peer: int, batches: list[int], say: Callable[[str], None]
) -> dict[str, Any]:
    if not has_diffrax():
        say("diffrax is not installed (pip install -e '.[bench]'): ours and scipy only")
    return {"cases": [_case(case, sizes, repeats, largest_peer, batches, say) for case in CASES]}


def _case(
    case: Case, sizes: list[int], repeats: int, largest_peer: int, batches: list[int], say: Callable[[str], None]
) -> dict[str, Any]:
    sample = case.states(SAMPLE)
    reference, _ = by_scipy(case, 1e-12, 1e-14, "DOP853")(sample)
    peers: dict[str, Run] = {"scipy": by_scipy(case, **PEER_TOLERANCE)}
    batch = compile_seconds = None
    if has_diffrax():
        peers["diffrax"], batch, compile_seconds = _fastest_diffrax(case, batches, largest_peer)
    errors = {name: _error(peer(sample)[0], reference) for name, peer in peers.items()}
    target = errors.get("diffrax", errors["scipy"])
    rtol, errors["ours"] = _matching(case, sample, reference, target)
    ours: dict[str, Run] = {"ours": _adaptive(case, rtol)}
    if case.name == "linear":
        ours["ours exact"] = _exact(case)
        errors["ours exact"] = _error(ours["ours exact"](sample)[0], reference)
    for solver in ours.values():
        solver([part[:2] for part in sample])  # compile, or load what is compiled
    rows = []
    for size in sizes:
        row = _time(case, {**ours, **peers}, size, repeats, largest_peer)
        rows.append(row)
        say(f"{case.name} {size:,} states: " + ", ".join(f"{k} {v:,.0f}/s" for k, v in row["rates"].items()))
    best = {name: max(row["rates"].get(name, 0.0) for row in rows) for name in {**ours, **peers}}
    ratio = {
        f"{mine} / {peer}": best[mine] / best[peer] for mine in ours for peer in peers if best[peer]
    }  # of the best rates
    core = max(rows, key=lambda row: row["states"])["rates a core"]
    ratio |= {f"{mine} / {peer}, a core": core[mine] / core[peer] for mine in ours for peer in peers}
    say(f"{case.name}: " + ", ".join(f"{name} = {value:,.1f}" for name, value in ratio.items()))
    return {
        "case": case.name,
        "parameters": {name: float(value) for name, value in case.gate.parameters.items()},
        "horizon": HORIZON,
        "peer tolerance": PEER_TOLERANCE,
        "our rtol": rtol,
        "errors": errors,
        "diffrax compile seconds": compile_seconds,
        "diffrax batch": batch,
        "rows": rows,
        "best rates": best,
        "ratios": ratio,
    }


def _time(case: Case, solvers: dict[str, Run], size: int, repeats: int, largest_peer: int) -> dict[str, Any]:
    """Median rates; the solvers take turns, so that a busy moment does not hit one of them only."""
    state = case.states(size)
    limits = {"diffrax": largest_peer, "scipy": 200}
    counts = {name: min(size, limits.get(name, size)) for name in solvers}
    seconds: dict[str, list[float]] = {name: [] for name in solvers}
    processor: dict[str, list[float]] = {name: [] for name in solvers}
    for _ in range(repeats):
        for name, solver in solvers.items():
            part = [values[: counts[name]] for values in state]
            start, used = time.perf_counter(), time.process_time()
            solver(part)
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    rates = {name: counts[name] / statistics.median(taken) for name, taken in seconds.items()}
    core_rates = {name: counts[name] / statistics.median(taken) for name, taken in processor.items()}
    return {
        "states": size,
        "states timed": counts,
        "rates": rates,
        "rates a core": core_rates,  # by processor time of all threads: what a busy machine does not spoil
        "seconds": seconds,
        "processor seconds": processor,
    }


def _fastest_diffrax(case: Case, batches: list[int], largest_peer: int) -> tuple[Run, int, float]:
    """The peer with its best batch, that batch, and the seconds that compiling it took."""
    tried = []
    state = case.states(min(largest_peer, 10_000))
    for batch in batches:
        start = time.perf_counter()
        solver = by_diffrax(case, **PEER_TOLERANCE, batch=batch)
        solver([part[:batch] for part in state])
        ready = time.perf_counter()
        solver(state)
        tried.append((time.perf_counter() - ready, batch, ready - start, solver))
    _, batch, compile_seconds, solver = min(tried, key=lambda entry: entry[0])
    return solver, batch, compile_seconds


def _matching(case: Case, sample: list[np.ndarray], reference: np.ndarray, target: float) -> tuple[float, float]:
    """Our loosest tolerance with an error of at most `target`, and that error."""
    for rtol in OURS:
        error = _error(_adaptive(case, rtol)(sample)[0], reference)
        if error <= target:
            return rtol, error
    raise RuntimeError(f"no tolerance of ours reaches the peer's error {target:g} on {case.name}")


def _adaptive(case: Case, rtol: float) -> Run:
    return lambda state: _result(
        integrate(case.gate, *state, rtol=rtol, atol=rtol * 1e-3, horizon=HORIZON, max_steps=100_000)
    )


def _exact(case: Case) -> Run:
    return lambda state: _result(solve(case.gate, *state, horizon=HORIZON))


def _result(flow: Flow) -> Result:
    return flow.time, np.stack(flow.state)


def _error(times: np.ndarray, reference: np.ndarray) -> float:
    return float(np.quantile(np.abs(times - reference) / (1 + reference), 0.99))
