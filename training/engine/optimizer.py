"""Matched SGD: momentum SGD for the weights, projected SGD for the gates, on one clock.

The ODE's time advances by lr/(1 − momentum) a step. A gate moves by its own learning rate, so that

    r = gate_lr · (1 − momentum) / lr.

Both learning rates follow the same schedule, hence r is constant over a run.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.certificates.constants import Constants
from training.errors import InputError

__all__ = [
    "ProjectedSGD",
    "check_optimizer",
    "cosine",
    "cosine_sum",
    "effective_step",
    "rate_of",
    "read_constants",
    "weight_optimizer",
]


def weight_optimizer(
    name: str, network: nn.Module, *, lr: float, momentum: float, decay: float
) -> torch.optim.Optimizer:
    """Return the optimizer for the weights.

    Args:
        name: "sgd"; the theory covers no other.
        network: whose parameters are trained, every one with the same decay λ, as in the objective.
        lr: > 0.
        momentum: in [0, 1).
        decay: λ ≥ 0.

    Raises:
        InputError: for an optimizer the theory does not cover.
    """
    if name != "sgd":
        raise InputError(f"optimizer {name!r} is not covered by the theory (its ODE is that of momentum SGD): use sgd")
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=decay)


def check_optimizer(optimizer: torch.optim.Optimizer, network: nn.Module) -> None:
    """Refuse an optimizer that the theory does not cover, or that does not move every weight of the network.

    Args:
        optimizer: of the weights.
        network: whose gates are learned.

    Raises:
        InputError: if the optimizer is not plain momentum SGD with one setting for all parameters, or lacks some.
    """
    _settings(optimizer)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = [name for name, parameter in network.named_parameters() if id(parameter) not in held]
    if missing:
        raise InputError(f"optimizer must have all weights of the network; without {', '.join(missing[:3])}")


def read_constants(optimizer: torch.optim.Optimizer, gate_lr: float) -> Constants:
    """Return λ, r and h as the optimizer has them now.

    Args:
        optimizer: of the weights; its learning rate may follow a schedule.
        gate_lr: the gates' learning rate at the same moment, > 0.

    Raises:
        InputError: if the optimizer is not plain momentum SGD with one setting for all parameters, or its learning rate
            is 0, where the ODE's clock stands still.
    """
    lr, momentum, decay = _settings(optimizer)
    if not 0 < lr < math.inf:
        raise InputError(f"lr of the optimizer must be > 0 and finite when couplings are judged; got {lr}")
    return Constants(decay=decay, rate=rate_of(gate_lr, lr=lr, momentum=momentum), step=effective_step(lr, momentum))


def _settings(optimizer: torch.optim.Optimizer) -> tuple[float, float, float]:
    """Return learning rate, momentum and decay."""
    if type(optimizer) is not torch.optim.SGD:
        raise InputError(f"optimizer {type(optimizer).__name__} is not covered by the theory: use torch.optim.SGD")
    settings = {
        tuple(group[key] for key in ("lr", "momentum", "weight_decay", "dampening", "nesterov", "maximize"))
        for group in optimizer.param_groups
    }
    if len(settings) != 1:
        raise InputError("the theory needs one learning rate, momentum and decay for all parameters")
    lr, momentum, decay, dampening, nesterov, maximize = settings.pop()
    if dampening or nesterov or maximize:
        raise InputError("SGD with dampening, nesterov or maximize is not covered by the theory")
    return float(lr), float(momentum), float(decay)


def rate_of(gate_lr: float, *, lr: float, momentum: float) -> float:
    """Return r = gate_lr / (lr / (1 − momentum)), from the settings of momentum SGD.

    Example:
        >>> round(rate_of(0.5, lr=0.1, momentum=0.9), 6)
        0.5
    """
    return gate_lr / effective_step(lr, momentum)


def effective_step(lr: float, momentum: float) -> float:
    """Return h = lr/(1 − momentum), by which one step of momentum SGD advances the ODE's time."""
    return lr / (1 - momentum)


class ProjectedSGD:
    """Projected SGD on the gates: θ ← clip(θ − lr·(D̂ + κ), 0, 1).

    Args:
        theta: the probabilities, [gate]; updated in place.
        lr: gate learning rate, > 0.
    """

    def __init__(self, theta: nn.Parameter, lr: float) -> None:
        self.theta, self.lr = theta, lr

    @torch.no_grad()
    def step(self, slope: Float[Tensor, " gate"]) -> None:
        """Make one step against `slope` = D̂ + κ.

        Raises:
            FloatingPointError: if a slope is not finite; θ is left as it was.
        """
        if not bool(torch.isfinite(slope).all()):
            raise FloatingPointError("a gate's slope is not finite: the loss has diverged; lower the learning rate")
        self.theta.sub_(slope, alpha=self.lr).clamp_(0, 1)


def cosine(step: int, steps: int) -> float:
    """Schedule factor from 1 at step 0 to 0 after the last step.

    Example:
        >>> [round(cosine(k, 4), 3) for k in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return (1 + math.cos(math.pi * step / steps)) / 2


def cosine_sum(first: int, steps: int) -> float:
    """Return the sum of `cosine` from step `first` to the last, in closed form: a run may be of any length.

    Example:
        >>> round(cosine_sum(1, 4), 12) == round(sum(cosine(k, 4) for k in range(1, 4)), 12)
        True
    """
    half = math.pi / (2 * steps)
    left = max(steps - first, 0)
    return left / 2 + math.sin(left * half) * math.cos((first + steps - 1) * half) / (2 * math.sin(half))
