"""The gates of a training run: masks are drawn, θ moves, couplings are measured, what is off for good leaves.

One step, with ξ ~ Ber(θ) per sample and D̂ from the estimator:

    θ ← clip(θ − lr_θ (D̂ + κ), 0, 1)

In shadow mode gates at θ = 0 are probed now and then (`training.estimators.dead_gate_probes`), which changes nothing
else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.certificates.record import Record
from training.certificates.rules import removable
from training.certificates.tracker import Tracker
from training.engine.loss_watch import LossWatch
from training.engine.method import RunContext
from training.engine.optimizer import ProjectedSGD, check_optimizer, read_constants
from training.engine.pruning_method import PruningMethod
from training.errors import InputError
from training.estimators import Sums, estimator
from training.estimators.dead_gate_probes import probe
from training.gating.multiples import in_multiples
from training.gating.removal import Shrunk
from training.runtime.random_streams import stream

__all__ = ["GateLearner"]


class GateLearner(PruningMethod):
    """The gates of one run and everything that follows them.

    Args:
        context: what it acts on; the optimizer is plain momentum SGD. Where several processes train together, each has
            a learner that does the same.

    Attributes:
        tracker: what measures the couplings.

    Raises:
        InputError: for an optimizer that the theory does not cover.
    """

    makes_records = True

    def __init__(self, context: RunContext) -> None:
        super().__init__(context, context.config.theta_start)
        config = self.config
        check_optimizer(self.optimizer, self.network)
        self.tracker = Tracker(self.gates, config.tracker)
        self._watch = LossWatch()
        self._estimator = estimator(config.estimator, self.gates.is_branch.to(config.device))
        self._rho = self._norms()
        self._descent = ProjectedSGD(self.gates.theta, config.gate_lr)
        self._masks = stream("masks", config.seed, config.device)
        self._probes = stream("probes", config.seed, config.device)
        self._record: Record | None = None  # of the last step, if it had one

    def before_step(self, batch: int) -> None:
        """Draw the masks of a step, for a batch of all processes."""
        self.gates.sample(batch, self._masks, self.ranks.share)

    def after_forward(self, losses: Tensor) -> None:
        """Watch the losses, so that a backward pass of anything but their mean is refused.

        Raises:
            InputError: for losses that are not one a sample.
        """
        assert self.gates.sampled is not None  # drawn by `before_step`
        self._watch.attach(losses, len(self.gates.sampled))

    def after_backward(
        self,
        losses: Float[Tensor, " share"],
        step: int,
        factor: float,
        forward: Callable[[], Float[Tensor, " share"]] | None = None,
    ) -> Record | None:
        """Move θ and measure, after the backward pass of the mean of `losses` and before the weights move.

        Args:
            losses: of this process's samples.
            step: number of steps done before this one.
            factor: of the learning rate's schedule, in [0, 1].
            forward: computes the losses again, with the masks then in place; without it nothing is probed.

        Returns:
            A record of all gates there were at first, at the end of each of the tracker's intervals.

        Raises:
            InputError: if the loss has diverged, was not the mean of the losses, or the optimizer is not covered.
        """
        self._watch.check(values=step % self.config.tracker.every == 0)
        cost = self.costs()
        masks, gradients, losses = seen = self._whole_batch(losses)
        sums = Sums.of(masks, gradients, losses, self.gates.informative(masks))
        if len(self.gates.theta):
            difference = self._estimator.for_step(masks, gradients, losses, self.gates.theta.detach(), sums)
        else:
            difference = gradients.sum(0)  # everything was removed
        every = self.config.tracker.probe_every if self.config.mode == "shadow" else 0
        if forward is not None and every and step % every == 0:
            probe(self.network, self.gates, *seen, forward, self.tracker.probes, self._probes, self.ranks)
        gate_lr = self.config.gate_lr * factor
        record = self._record = self.tracker.observe(
            sums, cost, partial(read_constants, self.optimizer, gate_lr), len(losses)
        )
        self._descent.lr = gate_lr if step >= self.config.hold else 0.0
        try:
            self._descent.step(difference + cost)  # a held step too: it looks at every value
        except FloatingPointError:
            raise InputError(f"the loss diverged at step {step + 1}: lower lr = {self.config.lr}") from None
        if record is not None:
            rho, self._rho = self._rho, self._norms()
            self._estimator.follow(self._rho / rho)
        return record.spread(self.gates.origin.cpu().numpy(), self.gates.total) if record is not None else None

    def _norms(self) -> Float[Tensor, " gate"]:
        return self.gates.weight_norms()[1].clone()

    def _whole_batch(
        self, losses: Float[Tensor, " share"]
    ) -> tuple[Float[Tensor, "batch gate"], Float[Tensor, "batch gate"], Float[Tensor, " batch"]]:
        """Masks, ∂(mean loss)/∂ξ and losses of the samples of all processes, which so make the same of them."""
        masks = self.gates.sampled
        assert masks is not None  # drawn by `sample`
        gradients = masks.grad if len(self.gates.theta) else torch.zeros_like(masks)
        assert gradients is not None  # there was a backward pass
        if self.ranks.size == 1:
            return masks.detach(), gradients, losses
        # A process's gradients are of the sum of all processes' mean losses; that of the whole batch is their mean.
        whole = self.ranks.gather(torch.cat([masks.detach(), gradients / self.ranks.size, losses[:, None]], 1))
        gates = masks.shape[1]
        return whole[:, :gates], whole[:, gates:-1], whole[:, -1]

    def costs(self) -> Float[Tensor, " gate"]:
        """Return κ of the gates that are there, nats of mean loss: ∂R/∂θ. A method with other prices overrides it."""
        theta = self.gates.theta.detach()
        return self.structure.costs(theta, self.config.nu, self.config.alpha, self.config.beta)

    def select_removals(self, step: int) -> Bool[np.ndarray, " gate"] | None:
        """Return in prune mode what the rule allows, at its steps after the warm-up."""
        record, config = self._record, self.config
        if config.mode != "prune" or record is None:
            return None
        if record.step < config.tracker.warmup or record.step % config.prune.every:
            return None
        going = removable(config.prune.rule, record, self.gates.is_branch.cpu().numpy())
        return in_multiples(going, self.gates, config.prune.multiple)

    def before_evaluation(self) -> None:
        """Set the masks of the deterministic network: a gate is on where θ ≥ ½."""
        self.gates.decide()

    def after_removal(self, shrunk: Shrunk) -> None:
        """Take from the tracker and the estimator what the network lost."""
        super().after_removal(shrunk)
        if len(shrunk.removed):
            self.tracker.keep(shrunk.kept, shrunk.rho_in, shrunk.rho)
            kept = torch.as_tensor(shrunk.kept, device=self.gates.theta.device)
            self._rho = self._norms()
            self._estimator.keep(kept)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the gates; the network's and the optimizer's states are kept beside it."""
        return super().state_dict() | {
            "tracker": self.tracker.state_dict(),
            "masks": self._masks.get_state(),
            "probes": self._probes.get_state(),
            "rho": self._rho,
            "estimator": self._estimator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the tracker, the random streams and the estimator too; see `PruningMethod.restore`."""
        super().restore(state)
        self.tracker.load_state_dict(state["tracker"])
        self._masks.set_state(state["masks"].cpu())
        self._probes.set_state(state["probes"].cpu())
        self._rho = state["rho"].to(self._rho.device)
        if state["estimator"] is not None:
            self._estimator.state = state["estimator"].to(self._rho.device)
