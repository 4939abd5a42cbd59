"""Integrators of trajectories: many states at once, one path exactly, and SGD beside them."""

from dynamics.integrators.batched_flow import Fate, Flow, integrate
from dynamics.integrators.event_driven import Path, projected_path
from dynamics.integrators.sgd import sgd_paths

__all__ = ["Fate", "Flow", "Path", "integrate", "projected_path", "sgd_paths"]
