"""The training loop, the same for a gated and an ungated network, from any step on.

One step:

    loss = mean ℓ(w, ξ);   w ← momentum SGD on ∇loss + λw

What else happens in a step, what leaves the network between two steps, and the learning rate's schedule, are up to the
run's `training.engine.method`: by default the gates' own (`training.engine.gate_learner`). Several processes may train
together (`training.runtime.process_group`): then each runs this loop on its share of every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynamics.models.complexity import training_flops
from training.certificates.record import Record
from training.data.data_sets import Source, batch_count, batches, test_batches
from training.engine.config import RunConfig, fingerprint
from training.engine.gate_learner import GateLearner
from training.engine.method import Method, MethodMaker, RunContext
from training.engine.optimizer import cosine, weight_optimizer
from training.errors import InputError
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.runtime.process_group import ALONE, Ranks
from training.runtime.progress import Progress
from training.runtime.random_streams import stream
from training.runtime.stopwatch import Stopwatch
from training.runtime.sync_batch_norm import synchronise

__all__ = ["Hooks", "Trained", "Training", "evaluate"]


class Hooks:
    """What a run tells the world: nothing, unless a subclass (`training.engine.journal`) writes it down."""

    def log(self, **values: object) -> None:
        """Scalars, with their step: after each epoch; and what is removed, by its place among the gates at first."""

    def record(self, record: Record) -> None:
        """A record of the tracker, in the columns of all gates there were at first."""

    def save(self, training: Training, last: bool) -> None:
        """Called between steps, and at the end with `last`: the moments at which the state may be taken."""


@dataclass(frozen=True)
class Trained:
    """What a training run ended with.

    Attributes:
        accuracy: on the test set after the last epoch, in [0, 1].
        loss: mean training loss of the last epoch, nats.
        seconds: wall time of training, evaluation left out.
        processor_seconds: the same of the processor, all threads of this process (`training.runtime.stopwatch`).
        steps: optimizer steps.
        flops: spent in training, of the network as it was at each step: forward and backward
            (`dynamics.models.complexity.training_flops`). And on choosing what leaves: images that a method sends
            through the network to look at their activations, forward only (`forward_flops`). Not counted: what is
            computed from weights and activations (scores, estimates, classifiers), the few images by which a removal is
            checked, and evaluation.
        flops_full: what the full network would have spent.
    """

    accuracy: float
    loss: float
    seconds: float
    processor_seconds: float
    steps: int
    flops: int
    flops_full: int


@dataclass
class Position:
    """How far a run is. Everything here is in its checkpoints.

    Attributes:
        step: steps done.
        epoch: epochs done.
        batch: batches done in the epoch.
        loss: sum of the epoch's losses.
        seconds, processor_seconds, flops, flops_full: as in `Trained`.
        accuracy: after the last whole epoch.
        mean: training loss of the last whole epoch.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    flops: int = 0
    flops_full: int = 0
    accuracy: float = 0.0
    mean: float = 0.0


@dataclass
class Training:
    """A training run: a network, what trains it, and how far it is.

    Args:
        config: settings; `seed` fixes the order of the data, the augmentation and the masks.
        network: trained in place, on its device.
        dataset: gives its batches on the same device.
        gated: whether its gates learn, or the plain network is trained.
        method: makes what acts instead of these two.
        ranks: the processes that train together; with more than one, the network's normalisations are synchronised.

    Attributes:
        at: how far the run is.
        optimizer: of the weights.
        learner: what acts: of the gates, None for the plain network.

    Raises:
        InputError: for settings that the theory does not cover, or a batch that ranks cannot share.
        RanksDifferError: if the processes do not start from the same weights.
    """

    config: RunConfig
    network: nn.Module
    dataset: Source
    gated: bool = True
    at: Position = field(default_factory=Position)
    ranks: Ranks = ALONE
    method: MethodMaker | None = None

    def __post_init__(self) -> None:
        config = self.config
        self.ranks.check_batch(config.batch)
        self.ranks.check_equal("weights at the start", *self.network.state_dict().values())
        if self.ranks.size > 1:
            synchronise(self.network)  # before it is compiled
        self.optimizer = weight_optimizer(
            config.optimizer, self.network, lr=config.lr, momentum=config.momentum, decay=config.decay
        )
        self.learner: Method | None = None
        if self.method is not None:
            self.learner = self.method(RunContext(config, self.network, self.optimizer, self.dataset, self.ranks))
        elif self.gated:
            self.learner = GateLearner(config, self.network, self.optimizer, self.dataset.shape, self.ranks)
        full = self.learner.full if self.learner else structure_of(self.network, self.dataset.shape)
        self._macs_full = full.full_macs
        self._order = stream("order", config.seed)
        self._epoch_order = self._order.get_state()  # as it was when the epoch began
        self._each = batch_count(self.dataset, config.batch)
        self._compile()
        self._total = torch.zeros((), device=config.device, dtype=torch.float64)

    def _compile(self) -> None:
        """At the start and after each removal, whose shapes need code of their own: prune in few, large steps."""
        self._forward: Callable[[Tensor], Tensor] = self.network
        if self.config.compile:
            torch.compiler.reset()  # otherwise torch gives up after eight versions of one function
            self._forward = torch.compile(self.network)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self._each

    def run(self, progress: Progress, hooks: Hooks) -> Trained:
        """Train to the end, from wherever the run is.

        Raises:
            InputError: if the loss diverges, in a gated run at the very step.
        """
        while self.at.epoch < self.config.epochs:
            self._epoch(progress, hooks)
        hooks.save(self, True)
        at = self.at
        return Trained(at.accuracy, at.mean, at.seconds, at.processor_seconds, at.step, at.flops, at.flops_full)

    def _epoch(self, progress: Progress, hooks: Hooks) -> None:
        self.network.train()
        self._epoch_order = self._order.get_state()
        watch, share = Stopwatch(), self.ranks.share
        for images, labels in batches(
            self.dataset, self.config.batch, self._order, skip=self.at.batch, channels_last=True, share=share
        ):
            record = self._step(images, labels)
            if record is not None:
                hooks.record(record)
            self._remove(progress, hooks)
            self._spent(watch)
            progress.advance()
            hooks.save(self, False)
            watch.lap()
        self._end_epoch(progress, hooks)

    def _spent(self, watch: Stopwatch) -> None:
        """Count what the lap took as time of training."""
        wall, processor = watch.lap()
        self.at.seconds += wall
        self.at.processor_seconds += processor

    def _step(self, images: Tensor, labels: Tensor) -> Record | None:
        schedule = self.learner.factor if self.learner is not None else cosine
        factor = schedule(self.at.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * factor
        if self.learner is not None:
            self.learner.sample(self.config.batch)

        def forward() -> Tensor:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                return F.cross_entropy(self._forward(images), labels, reduction="none")

        losses = forward()
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        losses = losses.detach()
        loss = losses.mean()
        self.ranks.average([loss, *(p.grad for p in self.network.parameters() if p.grad is not None)])
        record = self.learner.learn(losses, self.at.step, factor, forward) if self.learner is not None else None
        self.optimizer.step()
        if self.learner is not None:
            self.learner.stepped()
        self._total += loss
        self.at.flops += training_flops(self._macs(), self.config.batch)
        self.at.flops_full += training_flops(self._macs_full, self.config.batch)
        self.at.step += 1
        self.at.batch += 1
        return record

    def _macs(self) -> int:
        """Of one image through the network as it is now."""
        return self.learner.structure.total_macs if self.learner is not None else self._macs_full

    def _remove(self, progress: Progress, hooks: Hooks) -> None:
        """Let go what is to leave now."""
        learner = self.learner
        if learner is None:
            return
        going = learner.leaving(self.at.step)
        self.at.flops += learner.spent()
        if going is None:
            return
        origin = learner.gates.origin.cpu().numpy()
        gone = learner.remove(going).removed
        if len(gone):
            self._compile()
            left = learner.structure.total_macs
            hooks.log(step=self.at.step, removed=origin[gone].tolist(), macs_left=left)
            share = 100 * left / self._macs_full
            progress.note(
                f"step {self.at.step}: {len(gone)} gates removed, {share:.1f}% of the MACs left{learner.remark()}"
            )

    def _end_epoch(self, progress: Progress, hooks: Hooks) -> None:
        at, watch = self.at, Stopwatch()
        mean = float(self._total) / self._each  # waits for the device
        self._spent(watch)
        at.epoch, at.batch, at.mean = at.epoch + 1, 0, mean
        self._epoch_order = self._order.get_state()  # of the next epoch, should a longer run take this one up
        self._total.zero_()
        if not mean < float("inf"):
            raise InputError(f"the loss is {mean} after epoch {at.epoch}: lower lr = {self.config.lr}")
        gates = self.learner.gates if self.learner is not None else None
        self.ranks.check_equal(
            "weights and θ", *self.network.parameters(), *([gates.theta] if gates is not None else [])
        )
        if self.learner is not None:
            self.learner.decide()
        at.accuracy = evaluate(self.network, self.dataset, self.config.batch, None, self.ranks)
        counts = self.learner.counts() if self.learner is not None else {}
        hooks.log(
            epoch=at.epoch,
            step=at.step,
            loss=mean,
            accuracy=at.accuracy,
            seconds=round(at.seconds, 2),
            flops=at.flops,
            flops_full=at.flops_full,
            **counts,
        )
        progress.note(f"epoch {at.epoch}/{self.config.epochs}  loss {mean:.3f}  accuracy {100 * at.accuracy:.2f}%")

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, as tensors and plain values; valid between two steps."""
        self.at.loss = float(self._total)
        return {
            "settings": fingerprint(self.config),
            "position": asdict(self.at),
            "order": self._epoch_order,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gates": self.learner.state_dict() if self.learner is not None else None,
            "random": torch.get_rng_state(),
        }

    def take_over(self, state: dict[str, Any], progress: Progress, hooks: Hooks) -> None:
        """Begin where a run of the plain network ended, whose settings are those of this run's first epochs.

        What is to leave after them then leaves at once, so that the rest is what it would be had this run, which must
        be new, trained the network itself.

        Args:
            state: the other run's last (`state_dict`).
            progress: set to its step.
            hooks: told what leaves.

        Raises:
            ValueError: if that run's settings differ by more than the number of epochs.
        """
        first = replace(self.config, epochs=state["position"]["epoch"])
        if self.learner is None or state["settings"] != fingerprint(first):
            raise ValueError("only the end of a plain run of the same settings can be taken over, to be pruned")
        own = {"settings": fingerprint(self.config), "gates": self.learner.state_dict()}
        self.load_state_dict(state | own)
        progress.begin_at(self.at.step)
        watch = Stopwatch()
        self._remove(progress, hooks)
        self._spent(watch)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where a saved run was; this one must be new, with the same settings, network and data.

        On a CPU with the same number of threads the rest of the run is then the same, bit for bit.

        Raises:
            KeyError, RuntimeError, ValueError: for a state of another kind of run.
        """
        if state["settings"] != fingerprint(self.config):
            raise ValueError("its settings are not those in config.json")
        if self.learner is not None:
            self.learner.restore(state["gates"])
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.at = Position(**state["position"])
        self._total.fill_(self.at.loss)
        self._order.set_state(state["order"])
        torch.set_rng_state(state["random"])


@torch.no_grad()
def evaluate(network: nn.Module, dataset: Source, batch: int, gates: Gates | None, ranks: Ranks = ALONE) -> float:
    """Test accuracy in [0, 1]; with gates, of the deterministic network (`Gates.decided`)."""
    network.eval()
    if gates is not None:
        gates.decide()
    own = sum(
        int((network(images).argmax(1) == labels).sum())
        for images, labels in test_batches(dataset, batch, channels_last=True, share=ranks.share)
    )
    right = torch.tensor(own, device=ranks.device)
    ranks.sum([right])
    return int(right) / len(dataset.test_labels)
