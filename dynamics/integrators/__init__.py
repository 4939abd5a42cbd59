"""Integrators of trajectories: many states at once, one path exactly, and SGD beside them."""

from dynamics.integrators.batched_flow import Flow, integrate
from dynamics.integrators.event_driven import Path, projected_path
from dynamics.integrators.exact_linear import solve
from dynamics.integrators.fate import Fate
from dynamics.integrators.sgd import fit_order, sgd_paths, sup_distance

__all__ = ["Fate", "Flow", "Path", "fit_order", "integrate", "projected_path", "sgd_paths", "solve", "sup_distance"]
