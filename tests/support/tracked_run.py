"""A run as a tracker records it, of a tiny network with made-up slopes."""

import dataclasses

import numpy as np
import torch
import xarray as xr

from training.certificates.constants import Constants
from training.certificates.record import Record
from training.certificates.tracker import Tracker, TrackerSettings
from training.engine.optimizer import cosine
from training.estimators import Sums
from training.evidence.runs import ShadowRun
from training.gating.gates import Gates
from training.networks import ResNet

DECAY, RATE, COST = 0.01, 0.5, 0.02
LR, MOMENTUM = 0.1, 0.9
STEP = LR / (1 - MOMENTUM)


def tracked(seed, factor, records=8, every=2):
    """A run as a tracker records it, in double precision; θ wanders, a share of it to zero."""
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    gates = Gates(ResNet(8, 1, channels=1), 0.9)
    settings = TrackerSettings(window=2 * every, every=every, factor=factor)
    tracker = Tracker(gates, settings)
    cost = torch.tensor(draw.random(len(gates.theta)) * COST + 1e-4)
    cost[0] = 0.0
    found = []
    for step in range(records * every):
        with torch.no_grad():
            theta = draw.random(len(gates.theta)) * draw.integers(0, 2, len(gates.theta))
            gates.theta.copy_(torch.tensor(theta))
            for branch in gates.residual:
                branch.norm.weight.copy_(torch.tensor(draw.normal(size=tuple(branch.norm.weight.shape))))
        now = Constants(DECAY, RATE, STEP * cosine(step, records * every))
        record = tracker.observe(_batch(gates, draw), cost, lambda now=now: now)
        if record is not None:
            found.append(record)
    names = [field.name for field in dataclasses.fields(Record) if field.name != "step"]
    history = xr.Dataset(
        {name: (("step", "gate"), np.stack([getattr(record, name) for record in found])) for name in names},
        coords={
            "step": [record.step for record in found],
            "is_branch": ("gate", gates.is_branch.numpy()),
            "parent": ("gate", gates.parent.numpy()),
            "gate": [f"g{i}" for i in range(len(gates.theta))],
        },
    )
    time = np.array([float(record.step) for record in found])
    return ShadowRun("tracked", history, time, records * every, 0, factor, DECAY, RATE, _settings(seed, every))


def _settings(seed, every):
    return {"seed": seed, "lr": LR, "momentum": MOMENTUM, "tracker": {"every": every}}


def _batch(gates, draw, size=64):
    """Random masks, and slopes of very different size from gate to gate."""
    count = len(gates.theta)
    gates.sampled = (torch.tensor(draw.random((size, count))) < gates.theta.detach()).double()
    slopes = draw.normal(size=(size, count)) * 10.0 ** draw.uniform(-4, 0, count)
    return Sums.of(gates.sampled, torch.tensor(slopes / size), torch.zeros(size), gates.informative())
