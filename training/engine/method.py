"""What a pruning system does while a network trains: the one interface between a system and the training loop.

The loop asks, at every step, in this order:

    factor(step, steps)   what share of the learning rate this step has
    sample(batch)         before the forward pass: set masks at the gate sites
    learn(losses, …)      after the backward pass, before the weights move: score, learn, touch gradients
    stepped()             after the weights moved: hold them to a constraint
    leaving(step)         which gates leave the network now, for good; None: none
    decide()              before an evaluation: set the masks of the network that is judged

and stores `state_dict()` in every checkpoint, so that a run that goes on is the run that was not interrupted. A system
overrides what it does; the class itself does nothing, which is training without pruning. Removal, counts and the
shapes in a checkpoint are the same for all systems, and are here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dynamics.models.complexity import forward_flops
from training.certificates.record import Record
from training.data.source import Source
from training.engine.config import RunConfig
from training.engine.optimizer import cosine
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import Shrunk, restore, shrink
from training.runtime.process_group import ALONE, Ranks

__all__ = ["Method", "MethodMaker", "RunContext"]


class RunContext(NamedTuple):
    """What a method acts on: made by the loop, before the first step.

    Attributes:
        config: settings of the run.
        network: gated, on its device, nothing removed from it yet.
        optimizer: of its weights.
        source: the data.
        ranks: the processes that train together.
    """

    config: RunConfig
    network: nn.Module
    optimizer: torch.optim.Optimizer
    source: Source
    ranks: Ranks = ALONE


class Method:
    """Training without pruning, and what every system that prunes shares.

    Where several processes train together, each has a method that does the same.

    Args:
        config: settings.
        network: gated, on its device, nothing removed from it yet.
        optimizer: of the network's weights.
        shape: of one image (channels, height, width).
        ranks: the processes that train together.
        start: θ of every gate at the start; 1 where gates only say what is there and what may leave.

    Attributes:
        network, optimizer: as given; both lose what `remove` removes.
        gates: what may leave, and is still there.
        full: the complexity of the network before any removal.
        structure: of the network as it is.
        choosing_flops: spent on choosing what leaves since the loop last counted it: images sent through the network,
            forward only, beside those of the training steps.
    """

    def __init__(
        self,
        config: RunConfig,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        shape: Sequence[int],
        ranks: Ranks = ALONE,
        start: float = 1.0,
    ) -> None:
        self.config, self.network, self.optimizer = config, network, optimizer
        self.shape, self.ranks = tuple(shape), ranks
        self.gates = Gates(network, start).to(config.device)  # type: ignore[arg-type]
        self.full = self.structure = structure_of(network, self.shape)
        self.choosing_flops = 0

    def factor(self, step: int, steps: int) -> float:
        """The schedule's factor of the learning rate at a step, in [0, 1]; a cosine over the run.

        Args:
            step: steps done.
            steps: of the whole run.
        """
        return cosine(step, steps)

    def sample(self, batch: int) -> None:
        """Set the masks of a step at the gate sites.

        Args:
            batch: samples, of all processes together.
        """

    def learn(
        self,
        losses: Float[Tensor, " share"],
        step: int,
        factor: float,
        forward: Callable[[], Float[Tensor, " share"]] | None = None,
    ) -> Record | None:
        """Look at the gradients of the mean of `losses`; they may be changed before the weights move by them.

        Args:
            losses: of this process's samples.
            step: number of steps done before this one.
            factor: of the learning rate's schedule.
            forward: computes the losses again, with the masks then in place.

        Returns:
            A record for the run's histories, if one is due.
        """
        return None

    def stepped(self) -> None:
        """Hold the weights, which have just moved, to the method's constraints."""

    def leaving(self, step: int) -> Bool[np.ndarray, " gate"] | None:
        """Which gates leave now.

        Args:
            step: number of steps done.
        """
        return None

    def looked(self, images: int, macs: int | None = None) -> None:
        """Count a look at images as spent on choosing.

        Args:
            images: sent through the network; where all processes look at the same ones, they count once.
            macs: multiply–accumulates of one image, by default those of the network as it is.
        """
        self.choosing_flops += forward_flops(self.structure.total_macs if macs is None else macs, images)

    def spent(self) -> int:
        """What choosing has cost since this was last asked; the loop asks whenever gates may leave, and counts it."""
        flops, self.choosing_flops = self.choosing_flops, 0
        return flops

    def decide(self) -> None:
        """Set the masks of the network that is evaluated."""
        self.gates.open()

    def remove(self, going: np.ndarray) -> Shrunk:
        """Remove gates for good, with all that follows them; see `training.gating.dependents` for what goes along.

        Args:
            going: which go, bool; the same in all processes. [gate]

        Raises:
            RanksDifferError: if it is not.
        """
        self.ranks.check_equal("θ and the gates to be removed", self.gates.theta, torch.as_tensor(going))
        shrunk = shrink(self.network, self.optimizer, self.gates, going)
        self.follow(shrunk)
        return shrunk

    def follow(self, shrunk: Shrunk) -> None:
        """Bring what depends on the gates in step with a removal."""
        if len(shrunk.removed):
            self.structure = structure_of(self.network, self.shape, self.full)

    def remark(self) -> str:
        """What the run is to say when gates have left, behind their number: of a target that was missed; or nothing."""
        return ""

    def counts(self) -> dict[str, float | int]:
        """How much of the network is on: MACs and parameters of the deterministic network, against the full one."""
        decided = self.gates.decided().double().cpu().numpy()
        layer = self.structure.is_branch
        return {
            "units_on": int(decided[~layer].sum()),
            "layers_on": int(decided[layer].sum()),
            "units_left": int((~layer).sum()),
            "layers_left": int(layer.sum()),
            "macs": float(self.structure.macs(decided)),
            "macs_full": float(self.full.full_macs),
            "parameters": float(self.structure.parameters(decided)),
            "parameters_full": float(self.full.full_parameters),
        }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of the method; the network's and the optimizer's states are kept beside it."""
        return {"theta": self.gates.theta.detach(), "origin": self.gates.origin, "total": self.gates.total}

    def restore(self, state: dict[str, Any]) -> None:
        """Give a full network the shapes that the saved one had, and take over the method's state.

        The weights' and the optimizer's states can be loaded only after this.

        Raises:
            KeyError: for the state of another method.
            ValueError: for the state of a network with another number of gates.
        """
        if state["total"] != self.gates.total:
            raise ValueError(f"total must be {self.gates.total} gates, as this network has; got {state['total']}")
        self.follow(restore(self.network, self.optimizer, self.gates, state["origin"]))
        with torch.no_grad():
            self.gates.theta.copy_(state["theta"])


#: Makes what acts in a run; None: the plain network is trained, at no cost for gates.
MethodMaker: TypeAlias = Callable[[RunContext], Method | None]
