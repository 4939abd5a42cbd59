"""The one interface between a pruning method and the training loop.

In every step the loop calls these hooks of the run's method, in this order:

    lr_factor(step, steps)      share of the learning rate that this step has
    before_step(batch)          before the forward pass: set masks at the gate sites
    after_forward(losses)       before the backward pass: see the losses with their graph
    after_backward(losses, …)   after the backward pass, before the weights move: score, learn, change gradients
    after_step()                after the weights moved: hold them to a constraint
    select_removals(step)       between two steps: which gates leave the network for good; None: none

and before an evaluation `before_evaluation()`, which sets the masks of the network that is judged. It stores
`state_dict()` in every checkpoint, so that a resumed run is the run that was not interrupted. A method overrides what
it does: `Method` itself does nothing and has no gates, which is training without pruning (`NoPruning`). Methods with
gates derive from `training.engine.pruning_method.PruningMethod`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

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
from training.gating.removal import Shrunk
from training.runtime.process_group import ALONE, Ranks

__all__ = ["Method", "MethodMaker", "NoPruning", "RunContext"]


class RunContext(NamedTuple):
    """The parts of a run that a method acts on; made by the loop before the first step.

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
    """The hooks of a run, none of which does anything, and the complexity of its network.

    Where several processes train together, each has a method that does the same.

    Args:
        context: what the method acts on.

    Attributes:
        config, network, optimizer, source, ranks: of the context.
        shape: of one image (channels, height, width).
        gates: what may leave and is still there; None for a method without gates.
        full: complexity of the network before any removal.
        structure: complexity of the network as it is.
        makes_records: whether `after_backward` returns records for the run's histories.
        choosing_flops: floating-point operations spent on choosing what leaves since the loop last counted them.
    """

    makes_records: ClassVar[bool] = False
    gates: Gates | None = None

    def __init__(self, context: RunContext) -> None:
        self.config, self.network, self.optimizer, self.source, self.ranks = context
        self.shape = tuple(self.source.shape)
        self.full = self.structure = structure_of(self.network, self.shape)
        self.choosing_flops = 0

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the share of the learning rate at a step, in [0, 1]: a cosine over the run.

        Args:
            step: steps done.
            steps: of the whole run.
        """
        return cosine(step, steps)

    def before_step(self, batch: int) -> None:
        """Set the masks of a step at the gate sites, before the forward pass.

        Args:
            batch: samples, of all processes together.
        """

    def after_forward(self, losses: Tensor) -> None:
        """See the losses of a step with their graph, before the backward pass of their mean.

        Args:
            losses: of this process's samples.
        """

    def after_backward(
        self,
        losses: Float[Tensor, " share"],
        step: int,
        factor: float,
        forward: Callable[[], Float[Tensor, " share"]] | None = None,
    ) -> Record | None:
        """Read the gradients of the mean of `losses`, and change them if wanted, before the weights move by them.

        Args:
            losses: of this process's samples.
            step: number of steps done before this one.
            factor: of the learning rate's schedule.
            forward: computes the losses again, with the masks then in place.

        Returns:
            A record for the run's histories, if one is due.
        """
        return None

    def after_step(self) -> None:
        """Hold the weights, which have just moved, to the method's constraints."""

    def select_removals(self, step: int) -> Bool[np.ndarray, " gate"] | None:
        """Return which gates leave now; None: none.

        Args:
            step: number of steps done.
        """
        return None

    def remove(self, going: Bool[np.ndarray, " gate"]) -> Shrunk:
        """Remove gates for good; asked for only where `select_removals` selected some.

        Raises:
            TypeError: by a method without gates.
        """
        raise TypeError(f"{type(self).__name__} has no gates to remove")

    def removal_note(self) -> str:
        """Return what a run adds to its note of a removal: of a target that was missed; or nothing."""
        return ""

    def before_evaluation(self) -> None:
        """Set the masks of the network that is evaluated."""

    def count_forward(self, images: int, macs: int | None = None) -> None:
        """Count images sent through the network as spent on choosing what leaves.

        Args:
            images: sent through the network; where all processes look at the same ones, they count once.
            macs: multiply–accumulates of one image, by default those of the network as it is.
        """
        self.choosing_flops += forward_flops(self.structure.total_macs if macs is None else macs, images)

    def take_choosing_flops(self) -> int:
        """Return what choosing has cost since this was last called; the loop calls it whenever gates may leave."""
        flops, self.choosing_flops = self.choosing_flops, 0
        return flops

    def counts(self) -> dict[str, float | int]:
        """Return how much of the network is on, by name; nothing for a network without gates."""
        return {}

    def shared_tensors(self) -> Sequence[Tensor]:
        """Return the tensors that must be equal in all processes at the end of an epoch, beside the weights."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the method; the network's and optimizer's states are kept beside it."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the state of a checkpoint, before the states of the weights and the optimizer are loaded.

        Args:
            state: what `state_dict` gave.
        """


class NoPruning(Method):
    """Training without pruning."""


#: Makes the method of a run from what it acts on; a method's class is one.
MethodMaker: TypeAlias = Callable[[RunContext], Method]
