"""The position of a run, and its end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Position", "Trained"]


@dataclass(frozen=True)
class Trained:
    """The end of a training run.

    Attributes:
        accuracy: on the test set after the last epoch, in [0, 1].
        loss: mean training loss of the last epoch, nats.
        seconds: wall time of training, evaluation left out.
        processor_seconds: the same of the processor, all threads of this process (`training.runtime.stopwatch`).
        steps: optimizer steps.
        flops: spent in training, of the network as it was at each step: forward and backward
            (`dynamics.models.complexity.training_flops`). And on choosing what leaves: images that a method sends
            through the network to look at their activations, forward only (`forward_flops`). Not counted: what is
            computed from weights and activations (scores, estimates, classifiers), the few images by which a removal
            is checked, and evaluation.
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
    """The progress of a run. Everything here is in its checkpoints.

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

    @property
    def trained(self) -> Trained:
        """The result, once all epochs are done."""
        return Trained(
            accuracy=self.accuracy,
            loss=self.mean,
            seconds=self.seconds,
            processor_seconds=self.processor_seconds,
            steps=self.step,
            flops=self.flops,
            flops_full=self.flops_full,
        )
