"""Dynamic channel masking: remaining ratios are learned beside the weights, then what they leave out is removed.

After the abstract of arXiv 2010.12021: a remaining ratio for each convolution that is searched, a dynamic mask that
turns it into channels, weights and ratios optimised alternately, a loss that trades accuracy against FLOPs. The paper's
formulas are not at hand. This project's reading, in three phases of a run of T steps:

1. Up to step `first`·T the weights are trained.
2. Up to step `last`·T weights and ratios take turns: of each `every` steps the last moves the ratios, the others the
   weights. A batch is used by one of the two, so that in each epoch ratios are judged on images that the weights have
   not yet met in it. Both see the masks of `training.methods.channel_masking.dynamic_mask`, in which channels are
   ranked by the L1 norm of their filters, anew whenever the ratios move. What the ratios r descend on is

       mean ℓ(w, m(r)) + strength·(C(r) − goal)²,

   C the share of the multiply–accumulates (`Structure.macs`); the goal falls from 1 to the target over the first half
   of the phase, linearly, so that accuracy has a say in what goes from the first channel on.
3. The ratios become whole numbers of channels that meet the target (`training.methods.whole_units`), the channels of
   lowest norm leave physically, and the rest of the run trains what is left.

A ratio belongs to a group of gated units: where a shortcut fixes a convolution's channels, there is none. Masked
channels cost as much as others until phase 3, and are counted so; a ratio's step counts as a training step. In it no
weight and no momentum moves; running statistics of normalisations, which are no weights, follow every forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.certificates.record import Record
from training.data.source import Source, batch_count
from training.engine.config import RunConfig
from training.engine.method import Method, RunContext
from training.engine.optimizer import ProjectedSGD
from training.engine.pruning_method import PruningMethod
from training.errors import InputError
from training.gating.removal import Shrunk
from training.gating.sites import Gated
from training.methods.amount import TOLERANCE, check_fraction, missed, off_target
from training.methods.channel_masking.dynamic_mask import channel_mask, places, share_at
from training.methods.criteria import lowest, scores
from training.methods.whole_units import nearest_units, whole_units

__all__ = ["ChannelMasking"]


@dataclass(frozen=True)
class ChannelMasking:
    """Settings of dynamic channel masking.

    Attributes:
        share: target: of the full network's multiply–accumulates that stays, in (0, 1).
        tolerance: how far the network may end from the target, relative to it, in (0, 1).
        first, last: when ratios start and stop being learned, as shares of the run; 0 ≤ first < last < 1.
        every: of so many steps the last moves the ratios, ≥ 2.
        ratio_lr: learning rate of the ratios, > 0; follows the weights' schedule.
        strength: of the FLOPs term, > 0, nats.

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "channel-masking"
    share: float = 0.5
    tolerance: float = TOLERANCE
    first: float = 0.1
    last: float = 0.6
    every: int = 4
    ratio_lr: float = 0.03
    strength: float = 20.0

    def __post_init__(self) -> None:
        check_fraction("share", self.share)
        check_fraction("tolerance", self.tolerance)
        if not 0 <= self.first < self.last < 1:
            raise InputError(f"first and last must be 0 ≤ first < last < 1; got {self.first} and {self.last}")
        if self.every < 2:
            raise InputError(f"every must be ≥ 2, so that weights have steps too; got {self.every}")
        for name in ("ratio_lr", "strength"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be > 0 and finite; got {getattr(self, name)}")

    def run_config(self, config: RunConfig, source: Source) -> RunConfig:
        """Return the settings as they are: all phases share the run's epochs."""
        return config

    def build(self, context: RunContext) -> Method:
        """Return what masks, learns and removes; see the top of the file.

        Raises:
            InputError: for a network without gated units, a target that no architecture of it meets, or a run in which
                no step would move the ratios.
        """
        return _RatioLearner(context, self)


class _RatioLearner(PruningMethod):
    """θ of a unit is its mask, which no one else reads: so the checkpoint holds it, and an evaluation rounds it.

    Attributes:
        ratios: what remains of each group, in [1/n, 1]. [group]
        begin, end: first step of the second and of the third phase.
    """

    def __init__(self, context: RunContext, settings: ChannelMasking) -> None:
        config, network = context.config, context.network
        if isinstance(network, Gated) and not network.unit_groups():
            raise InputError(f"network must have gated units, whose ratios can be learned; {config.network} has none")
        super().__init__(context)
        self.settings = settings
        self._sizes = torch.tensor(self.gates.sizes[: len(self.gates.groups)], device=config.device)
        self.ratios = nn.Parameter(torch.ones(len(self._sizes), dtype=torch.double, device=config.device))
        self._descent = ProjectedSGD(self.ratios, settings.ratio_lr)
        whole_units(np.ones(len(self._sizes)), self.full, settings.share, settings.tolerance)  # is there an answer?
        steps = batch_count(self.source, config.batch) * config.epochs
        self.begin, self.end = round(settings.first * steps), round(settings.last * steps)
        if self.end - self.begin < settings.every or self.end >= steps:
            raise InputError(
                f"first and last must leave ≥ {settings.every} steps between them, and one behind, of the run's "
                f"{steps}; got {settings.first} and {settings.last}, steps {self.begin} to {self.end}"
            )
        self._step = 0  # the one being done

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the same as without pruning; the loop asks here first, so that `before_step` knows the step."""
        self._step = step
        return super().lr_factor(step, steps)

    def moves_ratios(self, step: int) -> bool:
        """Return whether a step moves the ratios; otherwise it moves the weights.

        Args:
            step: number of steps done before it.
        """
        return self.begin <= step < self.end and (step - self.begin) % self.settings.every == self.settings.every - 1

    def goal(self, step: int) -> float:
        """Return the share of the operations that the ratios are drawn to: from 1 to the target in half the phase.

        Args:
            step: number of steps done before it.
        """
        done = 2 * (step - self.begin) / (self.end - self.begin)
        return 1 - (1 - self.settings.share) * min(1.0, done)

    def before_step(self, batch: int) -> None:
        """Set the masks of the second phase: of the ratios, with a way back to them where they move; else kept."""
        if not self.begin <= self._step < self.end:
            self.gates.open()
        elif self.moves_ratios(self._step):
            self._rank()
            self.gates.put(self._masks()[None])
        else:
            self.gates.put(self.gates.theta.detach()[None])

    def after_backward(
        self,
        losses: Float[Tensor, " share"],
        step: int,
        factor: float,
        forward: Callable[[], Float[Tensor, " share"]] | None = None,
    ) -> Record | None:
        """Move the ratios in a step of theirs, and take the weights' gradients away.

        Raises:
            InputError: if the loss has diverged.
        """
        if not self.moves_ratios(step):
            return None
        for parameter in self.network.parameters():
            parameter.grad = None  # momentum SGD then leaves the weight as it is, and its momentum
        slope = self.ratios.grad
        assert slope is not None  # the masks were made of the ratios
        self.ranks.average([slope])
        (share_at(self.ratios, self.full) - self.goal(step)).square().mul(self.settings.strength).backward()
        self._descent.lr = self.settings.ratio_lr * factor
        try:
            self._descent.step(slope)
        except FloatingPointError:
            raise InputError(f"the loss diverged at step {step + 1}: lower lr = {self.config.lr}") from None
        self.ratios.grad = None
        with torch.no_grad():
            self.ratios.copy_(torch.maximum(self.ratios, 1 / self._sizes))  # a channel stays
            self.gates.theta.copy_(self._masks())
        return None

    def select_removals(self, step: int) -> Bool[np.ndarray, " gate"] | None:
        """Return at the end of the second phase what the ratios leave out.

        That the target can be met is known from the start. Should the search for an architecture near the ratios come
        to its limit first, the nearest that it found is taken, and the run says how far off it is.
        """
        if step != self.end:
            return None
        sizes = np.array(self.gates.sizes[: len(self.gates.groups)])
        chosen = self.settings
        stay = nearest_units(self.ratios.detach().cpu().numpy(), self.full, chosen.share, chosen.tolerance)
        return lowest(self._scores(), self.gates, sizes - stay)

    def before_evaluation(self) -> None:
        """Round the masks: a channel is on where its mask is ≥ ½."""
        self.gates.decide()

    def after_removal(self, shrunk: Shrunk) -> None:
        """Switch everything on that is left."""
        super().after_removal(shrunk)
        if len(shrunk.removed):
            with torch.no_grad():
                self.gates.theta.fill_(1)

    def removal_note(self) -> str:
        """Return how far off the target the network is, where it missed it."""
        return missed(self.settings.share, self.structure, self.settings.tolerance)

    def counts(self) -> dict[str, float | int]:
        """Return also how far the network, as it is, is from the target, relative to it."""
        return super().counts() | {"off_target": off_target(self.settings.share, self.structure)}

    def _scores(self) -> Float[np.ndarray, " unit"]:
        return scores("l1", self.network, self.gates, self.source, seed=self.config.seed, images=1)

    def _rank(self) -> None:
        """Put the channels in order by the weights as they are now."""
        place = places(self._scores(), self.gates.sizes[: len(self.gates.groups)])
        self._place = torch.as_tensor(place, device=self.config.device)

    def _masks(self) -> Float[Tensor, " gate"]:
        """Of all gates; branches are on."""
        units = channel_mask(self.ratios, self._place, self._sizes)
        return torch.cat([units, units.new_ones(len(self.gates.residual))]).to(self.gates.theta.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return also the ratios; the masks are θ, and the ranking is made of the weights."""
        return super().state_dict() | {"ratios": self.ratios.detach()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the ratios too; see `PruningMethod.restore`."""
        super().restore(state)
        with torch.no_grad():
            self.ratios.copy_(state["ratios"])
