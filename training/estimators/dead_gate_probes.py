"""Probes measure D of gates at θ = 0, which no step samples at ξ=1: would such a gate come back?

Once in a while, between a step's backward pass and the step itself, the same batch goes through the network once more,
without a graph. Each sample turns on one gate drawn from those at θ = 0 (a unit only where its branch is on in that
sample; the units of a branch that is off come with the branch), all other masks stay. The step has already given the
sample's loss without that gate, so that each sample is its own control: D̂ is a mean of *paired* differences, free of
the spread of losses between samples. A dead gate comes back, in the ODE, exactly if D < −κ.

**Slopes as control variate.** The backward pass has given each sample's slope ∂ℓ/∂ξ at ξ=0, for all samples, and D is
that plus what is of second order in w. So each difference d is reduced by its own sample's slope less the batch's mean
slope; over a random choice of samples that has mean zero, whatever the slopes are. On ResNet-8 and CIFAR-10 the
standard deviation of d falls to a third for units, by a sixth for branches.

**Statistics of the batch.** The second pass has other batch statistics than the first, through the gates turned on in
the *other* samples, and that moves all losses alike. So the first quarter of the batch (its order is random) turns
nothing on, and the mean change there is subtracted. What remains is the direct effect of a sample's mask on its own
loss, as in `training.estimators.trials`.

**Training is untouched**: the pass has no graph, what it does to the network's buffers and to torch's random state is
undone, and its choices come from a random generator of its own. No backward pass: w of a gate at θ = 0 follows
w' = −λw whatever the gradient, only D decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from training.estimators import Estimate
from training.gating.gates import Gates
from training.runtime.process_group import ALONE, Ranks

__all__ = ["LEAST_BATCH", "ProbeSums", "choose", "probe", "undisturbed"]

_CONTROLS = 4  # one sample in so many turns nothing on
LEAST_BATCH = 2 * _CONTROLS  # smaller ones have not two controls, and are not probed


@dataclass(eq=False)
class ProbeSums:
    """Sums over the probes of an interval, [gate], float64.

    d is a paired difference, less the mean of the controls, less the sample's slope from the batch's mean slope.

    Attributes:
        count: samples that turned the gate on.
        total: Σ d.
        square: Σ d².
        shared: Σ over passes of (samples on)² · variance of the two means that all d of a pass share.
    """

    count: Float[Tensor, " gate"]
    total: Float[Tensor, " gate"]
    square: Float[Tensor, " gate"]
    shared: Float[Tensor, " gate"]

    @classmethod
    def empty(cls, gates: int, device: torch.device | str = "cpu") -> ProbeSums:
        """Return sums of zeros for `gates` gates."""
        return cls(*torch.zeros(len(fields(cls)), gates, dtype=torch.float64, device=device))

    def add(
        self,
        chosen: Bool[Tensor, "batch gate"],
        change: Float[Tensor, " batch"],
        slopes: Float[Tensor, "batch gate"],
        informative: Bool[Tensor, "batch gate"],
    ) -> None:
        """Take in one pass.

        Args:
            chosen: which gate each sample turned on; samples without any are the controls, at least two.
            change: loss with it less loss without.
            slopes: ∂(sample's loss)/∂ξ in the step.
            informative: in which samples a gate acts, the chosen ones and others.
        """
        on, acts, controls = chosen.double(), informative.double(), (~chosen.any(1)).double()
        mean, variance = _mean(controls[:, None], change.double()[:, None])
        level, spread = _mean(acts, slopes.double())
        change = (change.double() - mean)[:, None] - (slopes.double() - level)  # [batch, gate]
        count = on.sum(0)
        self.count += count
        self.total += (change * on).sum(0)
        self.square += (change.square() * on).sum(0)
        self.shared += count.square() * (variance + spread)

    def estimate(self) -> Estimate:
        """Return D̂ and its standard error; NaN without a sample, the error also with one only.

        The error takes the two means as independent of the rest: right where slopes foretell the differences, too
        large where they do not.
        """
        spread = (self.square - self.total.square() / self.count).clamp_min(0) / (self.count - 1)
        error = torch.where(self.count > 1, (spread / self.count + self.shared / self.count.square()).sqrt(), torch.nan)
        return Estimate(self.total / self.count, error)

    def keep(self, kept: Int[Tensor, " left"]) -> None:
        """Follow a removal: `kept` is the former index of every gate that is left."""
        for name, value in asdict(self).items():
            setattr(self, name, value[kept])


def _mean(weight: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over the samples that count, and its variance, 0 where fewer than two do."""
    number = weight.sum(0)
    mean = (weight * values).sum(0) / number.clamp_min(1)
    residual = (weight * (values - mean).square()).sum(0)
    return mean, residual / (number - 1).clamp_min(1) / number.clamp_min(1)


def choose(
    theta: Float[Tensor, " gate"],
    informative: Bool[Tensor, "batch gate"],
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "batch gate"]:
    """Draw the gate that each sample turns on: one of those at θ = 0 that act in it, with equal chances, or none.

    Args:
        theta: θ.
        informative: in which samples a gate acts, `Gates.informative`.
        generator: of the draws.
    """
    able = informative & (theta == 0)
    able[: -(-len(able) // _CONTROLS)] = False
    draws = torch.rand(able.shape, generator=generator, device=theta.device)
    best = torch.where(able, draws, -1.0).argmax(1)
    return nn.functional.one_hot(best, able.shape[1]).bool() & able


def probe(
    network: nn.Module,
    gates: Gates,
    masks: Float[Tensor, "batch gate"],
    gradients: Float[Tensor, "batch gate"],
    losses: Float[Tensor, " batch"],
    forward: Callable[[], Tensor],
    sums: ProbeSums,
    generator: torch.Generator | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Make one pass, if any gate is at θ = 0; masks, buffers, gradients and random states end as they were.

    Args:
        network: in training mode.
        gates: with the masks of the step in place.
        masks, gradients, losses: of the step, of all processes: ξ, ∂(mean loss)/∂ξ and the samples' losses.
        forward: computes the losses of this process's samples with the masks in place, the same way.
        sums: take in what is seen.
        generator: of the choice of gates; in the same state in every process.
        ranks: the processes.
    """
    if len(losses) < LEAST_BATCH or not bool((gates.theta == 0).any()):
        return
    informative = gates.informative(masks)
    chosen = choose(gates.theta.detach(), informative, generator)
    own = ranks.share.of(len(losses))
    try:
        with torch.no_grad(), undisturbed(network):
            gates.put(torch.where(chosen, 1.0, masks)[own])
            changed = ranks.gather(forward())
    finally:
        gates.put(gates.sampled)
    sums.add(chosen, changed - losses, gradients * len(losses), informative)


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Undo what happens inside to the network's buffers (running statistics) and to torch's random state."""
    buffers = list(network.buffers())
    saved = [buffer.clone() for buffer in buffers]
    devices = {buffer.device.index for buffer in buffers if buffer.is_cuda}
    with torch.random.fork_rng(devices=sorted(device or 0 for device in devices)):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in zip(buffers, saved, strict=True):
                    buffer.copy_(value)
