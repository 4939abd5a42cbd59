"""Small real runs on the digits, made once a session for all tests that only read them."""

import fcntl
from dataclasses import replace
from pathlib import Path

from training.certificates.tracker import TrackerSettings
from training.engine.config import PruneSettings, RunConfig
from training.experiments.validate import validate

#: Three epochs of 44 steps; strong pressure and fast gates, so that gates die within them.
SHADOW = RunConfig(
    network="resnet8",
    width=2,
    nu=3.0,
    alpha=0.2,
    gate_lr=2.0,
    epochs=3,
    batch=32,
    hold=20,
    tracker=TrackerSettings(warmup=20, window=20, every=5, probe_every=2),
)
ALONE = replace(SHADOW, ungated=False)

#: Name → settings. The others are without the ungated network, which makes them no other kind of run.
RUNS = {
    "shadow": SHADOW,
    "seed1": replace(ALONE, seed=1),
    "weak": replace(ALONE, nu=0.1),
    "prune": replace(ALONE, mode="prune", prune=PruneSettings(rule="half-plane, escape ≤ 0.5", every=10)),
}


def finished(name: str, root: Path) -> Path:
    """Return the folder of a run below `root`, made by the first process that asks for it; the others wait."""
    folder = root / name
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = validate(replace(RUNS[name], out=root / "unfinished" / name))
            assert made is not None
            made.rename(folder)
    return folder
