"""The training loop, the same for every method, from any step on.

One step:

    loss = mean ℓ(w, ξ);   w ← momentum SGD on ∇loss + λw

What else happens in a step, what leaves the network between two steps, and the learning rate's schedule, are up to the
run's `training.engine.method`. Several processes may train together (`training.runtime.process_group`): then each runs
this loop on its share of every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dynamics.models.complexity import training_flops
from training.certificates.record import Record
from training.data.batches import batches, test_batches
from training.data.source import Source, batch_count
from training.engine.callbacks import Callback
from training.engine.config import RunConfig, fingerprint
from training.engine.method import MethodMaker, NoPruning, RunContext
from training.engine.optimizer import weight_optimizer
from training.engine.position import Position, Trained
from training.errors import InputError
from training.runtime.process_group import ALONE, Ranks
from training.runtime.progress import Progress
from training.runtime.random_streams import stream
from training.runtime.stopwatch import Stopwatch
from training.runtime.sync_batch_norm import synchronise

__all__ = ["Training", "evaluate"]


@dataclass
class Training:
    """A training run: a network, what trains it, and how far it is.

    Args:
        config: settings; `seed` fixes the order of the data, the augmentation and the masks.
        network: trained in place, on its device.
        dataset: gives its batches on the same device.
        make_method: makes what acts beside the weights' optimizer; by default the network is trained as it is.
        ranks: the processes that train together; with more than one, the network's normalisations are synchronised.

    Attributes:
        at: how far the run is.
        optimizer: of the weights.
        method: what acts.

    Raises:
        InputError: for settings that the theory does not cover, or a batch that ranks cannot share.
        RanksDifferError: if the processes do not start from the same weights.
    """

    config: RunConfig
    network: nn.Module
    dataset: Source
    make_method: MethodMaker = NoPruning
    at: Position = field(default_factory=Position)
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        config = self.config
        self.ranks.check_batch(config.batch)
        self.ranks.check_equal("weights at the start", *self.network.state_dict().values())
        if self.ranks.size > 1:
            synchronise(self.network)  # before it is compiled
        self.optimizer = weight_optimizer(
            config.optimizer, self.network, lr=config.lr, momentum=config.momentum, decay=config.decay
        )
        self.method = self.make_method(RunContext(config, self.network, self.optimizer, self.dataset, self.ranks))
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

    def run(self, progress: Progress, callback: Callback) -> Trained:
        """Train to the end, from wherever the run is.

        Args:
            progress: advanced with every step.
            callback: told what happens.

        Raises:
            InputError: if the loss diverges, in a gated run at the very step.
        """
        while self.at.epoch < self.config.epochs:
            self._epoch(progress, callback)
        callback.save(self, True)
        return self.at.trained

    def _epoch(self, progress: Progress, callback: Callback) -> None:
        self.network.train()
        self._epoch_order = self._order.get_state()
        watch, share = Stopwatch(), self.ranks.share
        for images, labels in batches(
            self.dataset, self.config.batch, self._order, skip=self.at.batch, channels_last=True, share=share
        ):
            record = self._step(images, labels)
            if record is not None:
                callback.record(record)
            self._remove(progress, callback)
            self._count_time(watch)
            progress.advance()
            callback.save(self, False)
            watch.lap()
        self._end_epoch(progress, callback)

    def _step(self, images: Tensor, labels: Tensor) -> Record | None:
        """Make one step, in five phases, and count it."""
        # 1. The step's learning rate, and its masks.
        factor = self.method.lr_factor(self.at.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * factor
        self.method.before_step(self.config.batch)
        # 2. Forward and backward.
        forward = partial(self._losses, images, labels)
        losses = forward()
        self.method.after_forward(losses)
        loss = self._backward(losses)
        # 3. The method reads the gradients, and may change them.
        record = self.method.after_backward(losses.detach(), self.at.step, factor, forward)
        # 4. The weights move.
        self.optimizer.step()
        # 5. The method holds them to its constraints.
        self.method.after_step()
        self._count_step(loss)
        return record

    def _losses(self, images: Tensor, labels: Tensor) -> Float[Tensor, " share"]:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            return F.cross_entropy(self._forward(images), labels, reduction="none")

    def _backward(self, losses: Float[Tensor, " share"]) -> Tensor:
        """Set the gradients of the mean loss over all processes, and return this mean."""
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        loss = losses.detach().mean()
        self.ranks.average([loss, *(p.grad for p in self.network.parameters() if p.grad is not None)])
        return loss

    def _count_step(self, loss: Tensor) -> None:
        batch, at = self.config.batch, self.at
        self._total += loss
        at.flops += training_flops(self.method.structure.total_macs, batch)
        at.flops_full += training_flops(self.method.full.full_macs, batch)
        at.step += 1
        at.batch += 1

    def _count_time(self, watch: Stopwatch) -> None:
        """Count what the lap took as time of training."""
        wall, processor = watch.lap()
        self.at.seconds += wall
        self.at.processor_seconds += processor

    def _remove(self, progress: Progress, callback: Callback) -> None:
        """Remove what is to leave now."""
        method = self.method
        going = method.select_removals(self.at.step)
        self.at.flops += method.take_choosing_flops()
        if going is None:
            return
        assert method.gates is not None  # only gates can be selected
        origin = method.gates.origin.cpu().numpy()
        gone = method.remove(going).removed
        if len(gone):
            self._compile()
            left = method.structure.total_macs
            callback.log(step=self.at.step, removed=origin[gone].tolist(), macs_left=left)
            share = 100 * left / method.full.full_macs
            progress.note(
                f"step {self.at.step}: {len(gone)} gates removed, {share:.1f}% of the MACs left{method.removal_note()}"
            )

    def _end_epoch(self, progress: Progress, callback: Callback) -> None:
        at, watch = self.at, Stopwatch()
        mean = float(self._total) / self._each  # waits for the device
        self._count_time(watch)
        at.epoch, at.batch, at.mean = at.epoch + 1, 0, mean
        self._epoch_order = self._order.get_state()  # of the next epoch, should a longer run take this one up
        self._total.zero_()
        if not mean < float("inf"):
            raise InputError(f"the loss is {mean} after epoch {at.epoch}: lower lr = {self.config.lr}")
        self.ranks.check_equal("weights and θ", *self.network.parameters(), *self.method.shared_tensors())
        self.method.before_evaluation()
        at.accuracy = evaluate(self.network, self.dataset, self.config.batch, self.ranks)
        callback.log(
            epoch=at.epoch,
            step=at.step,
            loss=mean,
            accuracy=at.accuracy,
            seconds=round(at.seconds, 2),
            flops=at.flops,
            flops_full=at.flops_full,
            **self.method.counts(),
        )
        progress.note(
            f"epoch {at.epoch}/{self.config.epochs}  loss {mean:.3f}  accuracy {100 * at.accuracy:.2f}%  "
            f"{progress.times()}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on, as tensors and plain values; valid between two steps."""
        self.at.loss = float(self._total)
        return {
            "settings": fingerprint(self.config),
            "position": asdict(self.at),
            "order": self._epoch_order,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gates": self.method.state_dict(),
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where a saved run was; this one must be new, with the same settings, network and data.

        On a CPU with the same number of threads the rest of the run is then the same, bit for bit.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: for a state of another kind of run.
        """
        if state["settings"] != fingerprint(self.config):
            raise ValueError("its settings are not those in config.json")
        self.method.restore(state["gates"] or {})  # None in checkpoints of earlier versions, without gates
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.at = Position(**state["position"])
        self._total.fill_(self.at.loss)
        self._order.set_state(state["order"])
        torch.set_rng_state(state["random"])

    def take_over(self, state: dict[str, Any], progress: Progress, callback: Callback) -> None:
        """Begin where a run of the plain network ended, whose settings are those of this run's first epochs.

        What is to leave after them then leaves at once, so that the rest is what it would be had this run, which must
        be new, trained the network itself.

        Args:
            state: the other run's last (`state_dict`).
            progress: set to its step.
            callback: told what leaves.

        Raises:
            ValueError: if that run's settings differ by more than the number of epochs.
        """
        first = replace(self.config, epochs=state["position"]["epoch"])
        if isinstance(self.method, NoPruning) or state["settings"] != fingerprint(first):
            raise ValueError("only the end of a plain run of the same settings can be taken over, to be pruned")
        own = {"settings": fingerprint(self.config), "gates": self.method.state_dict()}
        self.load_state_dict(state | own)
        progress.begin_at(self.at.step)
        watch = Stopwatch()
        self._remove(progress, callback)
        self._count_time(watch)


@torch.no_grad()
def evaluate(network: nn.Module, dataset: Source, batch: int, ranks: Ranks = ALONE) -> float:
    """Return the test accuracy of a network with the masks that are in place, in [0, 1].

    Args:
        network: put in evaluation mode.
        dataset: whose test set is used.
        batch: images at a time, of all processes together.
        ranks: the processes that share the work.
    """
    network.eval()
    own = sum(
        int((network(images).argmax(1) == labels).sum())
        for images, labels in test_batches(dataset, batch, channels_last=True, share=ranks.share)
    )
    right = torch.tensor(own, device=ranks.device)
    ranks.sum([right])
    return int(right) / len(dataset.test_labels)
