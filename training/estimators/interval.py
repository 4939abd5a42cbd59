"""Estimates over many steps take each step as a stratum, so that a falling loss is no effect of a gate.

Pooled over steps in which both θ and the mean loss change, a plain difference in means is biased (samples with ξ = 1
come from other times than those with ξ = 0). So each step t counts with weight w_t = n₁n₀/n, its share in the
information on the gate:

    D̂ = Σ_t w_t D̂_t / Σ_t w_t.

This is least squares with one mean a step. w_t depends on the masks only, hence D̂ is an unbiased estimate of the same
mean of the D_t; a step in which all ξ of a gate are equal has weight 0 and says nothing, as it should. All quantities
are sums: intervals of different processes add up (`all_reduce`), each process's batch being a stratum.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from training.estimators.protocol import Estimate
from training.estimators.sums import Sums

__all__ = ["LEAST_SAMPLES", "Interval"]

LEAST_SAMPLES = 32  # of a side (ξ = 0 or 1); fewer tell nothing of its mean


@dataclass(eq=False)
class Interval:
    """Running sums over steps, float64. Start with `Interval.empty`.

    Attributes:
        steps: strata taken in, [] (a tensor, so that it is reduced with the rest).
        count: samples a side, [side, gate].
        slope: sum of slopes a side.
        slope_square: sum of squared slopes a side.
        weight: Σ w, w = n₁n₀/n, [gate].
        loss_difference: Σ w·(difference in mean loss).
        slopes: Σ w·(mean slope), [side, gate].
        spread: Σ w²/n, [side, gate]: the variance of a side's weighted mean, in units of one sample's.
        freedom: Σ (n − 1) over the strata that have weight, [side, gate].
        loss_residual: Σ (ℓ − mean of its side and stratum)², [side, gate].
        slope_residual: the same for slopes.
    """

    steps: Float[Tensor, ""]
    count: Float[Tensor, "side gate"]
    slope: Float[Tensor, "side gate"]
    slope_square: Float[Tensor, "side gate"]
    weight: Float[Tensor, " gate"]
    loss_difference: Float[Tensor, " gate"]
    slopes: Float[Tensor, "side gate"]
    spread: Float[Tensor, "side gate"]
    freedom: Float[Tensor, "side gate"]
    loss_residual: Float[Tensor, "side gate"]
    slope_residual: Float[Tensor, "side gate"]

    @classmethod
    def empty(cls, gates: int, device: torch.device | str = "cpu") -> Interval:
        """Return the sums of no step, for `gates` ≥ 0 gates.

        Raises:
            ValueError: for a negative number of gates.
        """
        if gates < 0:
            raise ValueError(f"gates must be ≥ 0; got {gates}")
        sides, flat = (torch.zeros(*shape, dtype=torch.float64, device=device) for shape in ((2, gates), (gates,)))
        one_sided = {"weight", "loss_difference"}
        given = {f.name: (flat if f.name in one_sided else sides).clone() for f in fields(cls) if f.name != "steps"}
        return cls(steps=flat.new_zeros(()), **given)

    def add(self, sums: Sums) -> None:
        """Take in one step (or one process's part of it) as a stratum.

        Raises:
            ValueError: for another number of gates.
        """
        if sums.count.shape != self.count.shape:
            raise ValueError(f"sums must have {self.count.shape[1]} gates; got {sums.count.shape[1]}")
        weight = sums.information
        counts = sums.count.clamp_min(1)
        losses, slopes = sums.loss / counts, sums.slope / counts
        self.steps += 1
        self.count += sums.count
        self.slope += sums.slope
        self.slope_square += sums.slope_square
        self.weight += weight
        self.loss_difference += weight * (losses[1] - losses[0])
        self.slopes += weight * slopes
        self.spread += weight.square() / counts
        self.freedom += torch.where(sums.both, sums.count - 1, 0.0)
        self.loss_residual += torch.where(sums.both, sums.loss_residual, 0.0)
        self.slope_residual += torch.where(sums.both, sums.slope_residual, 0.0)

    def __add__(self, other: Interval) -> Interval:
        return Interval(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def keep(self, kept: Int[Tensor, " left"]) -> None:
        """Follow a removal: `kept` is the former index of every gate that is left."""
        for f in fields(self):
            if f.name != "steps":
                setattr(self, f.name, getattr(self, f.name)[..., kept])

    def all_reduce(self) -> None:
        """Add up over all processes of torch.distributed, in place, in one message."""
        flat = torch.cat([getattr(self, f.name).flatten() for f in fields(self)])
        torch.distributed.all_reduce(flat)
        start = 0
        for f in fields(self):
            old = getattr(self, f.name)
            setattr(self, f.name, flat[start : start + old.numel()].view_as(old).clone())
            start += old.numel()

    def difference(self) -> Estimate:
        """Return the weighted mean of the steps' differences in means; NaN where no step had both sides.

        The error pools the variance within side and step over the interval. It has few degrees of freedom, `freedom`,
        where a side rarely had two samples in a step; NaN where it never had.
        """
        return Estimate(self.loss_difference / self.weight, self._error(self.loss_residual))

    def trapezoid(self) -> Estimate:
        """Return the weighted mean of the steps' trapezoids; first-order, biased, where no step had both sides."""
        value, error = self.slopes.mean(0) / self.weight, self._error(self.slope_residual) / 2
        one_sided, known = self.first_order(), self.weight > 0
        assert one_sided.error is not None
        return Estimate(torch.where(known, value, one_sided.value), torch.where(known, error, one_sided.error))

    def first_order(self) -> Estimate:
        """Return the mean slope over all samples; its error takes samples as independent, the mean as constant."""
        return Estimate.of_mean(self.count.sum(0), self.slope.sum(0), self.slope_square.sum(0))

    def sides(self) -> Float[Tensor, "side gate"]:
        """Return the mean slope at ξ = 0 and at ξ = 1, each over all its samples; NaN where there are none.

        Where the loss is convex along a gate D lies between them. The mean at ξ = 1 is ⟨∇_w D, w⟩ of weights w that
        enter as ξ·w, whatever the loss.
        """
        return self.slope / self.count

    def _error(self, residual: Tensor) -> Tensor:
        """Return the error of a difference of the sides' weighted means; NaN where a side's variance is unknown."""
        variance = residual / self.freedom  # 0/0 = NaN: no freedom, no variance
        return (variance * self.spread).sum(0).sqrt() / self.weight
