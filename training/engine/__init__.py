"""One training run, from its settings to its last checkpoint. A step is made in `training.engine.loop`."""

from training.engine.build import network_of
from training.engine.callbacks import Callback
from training.engine.config import PRESETS, PruneSettings, RunConfig, preset
from training.engine.gate_learner import GateLearner
from training.engine.journal import Journal
from training.engine.loop import Training, evaluate
from training.engine.method import Method, NoPruning, RunContext
from training.engine.optimizer import ProjectedSGD, read_constants, weight_optimizer
from training.engine.position import Trained
from training.engine.pruning_method import PruningMethod
from training.engine.view.live_view import LiveView

__all__ = [
    "PRESETS",
    "Callback",
    "GateLearner",
    "Journal",
    "LiveView",
    "Method",
    "NoPruning",
    "ProjectedSGD",
    "PruneSettings",
    "PruningMethod",
    "RunConfig",
    "RunContext",
    "Trained",
    "Training",
    "evaluate",
    "network_of",
    "preset",
    "read_constants",
    "weight_optimizer",
]
