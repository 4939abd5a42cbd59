"""`python -m benchmarks.estimators`: bias, noise and cost of every estimator of D on a real network.

A small residual network is trained on the digits with its gates on at random. Ten of its gates (units of two blocks,
all layers) then take θ; the others stay on. Two questions:

1. Statistics of the normalisations frozen, so that samples do not touch one another. Losses and slopes of every image
   under all 1024 masks are tabulated; D is exact, and estimators see batches drawn from the table.
2. Batch statistics, as in training. The truth is Σ_b E[L(ξ_b=1) − L(ξ_b=0)] of the batch's mean loss L, by flipping
   every mask of a batch in turn; `direct` counts only the flipped sample's own loss.
"""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from benchmarks.estimator_subject import FREE, Subject, flip_all, tabulate
from training.estimators import (
    ESTIMATORS,
    Estimate,
    Sums,
    all_masks,
    difference_of,
    estimator,
    exact_difference,
    mask_probabilities,
    trapezoid_of,
)
from training.gating.gates import Gates
from training.networks import ResNet
from training.runtime.atomic_files import write_json
from training.runtime.environment import environment


@dataclass(frozen=True)
class Settings:
    """Measure the estimators of D against enumeration."""

    epochs: int = 15
    """Of training, with every gate on with probability 0.8."""
    images: int = 240
    """The data set of the comparison: so many training images."""
    batch: int = 64
    """Samples in a batch."""
    replicates: int = 2000
    """Batches that each estimator sees, ≥ 100."""
    flips: int = 12
    """Batches (of 32) whose every mask is flipped, ≥ 2; 0 leaves question 2 out."""
    thetas: tuple[float, ...] = (0.9, 0.5, 0.1)
    """θ of the free gates."""
    seed: int = 0
    """Of everything."""
    output: Path = Path(__file__).parent / "results" / "estimators.json"
    """Result file."""


STEPS = 50  # of an interval of the tracker
Draw = tuple[Tensor, Tensor, Tensor, Tensor]  # masks, gradients, losses, θ
Method = Callable[[Draw, Any], Tensor]  # a batch and the images in it → D̂


def plain(name: str) -> Method:
    call = estimator(name)
    return lambda draw, image: call(*draw).value


def given_on(subject: Subject, level: float) -> dict[str, Method]:
    """Return θ_branch times the estimate from the samples in which a unit's branch is on; branches as they are."""

    def method(of: Callable[[Sums], Estimate]) -> Method:
        def found(draw: Draw, image: Any) -> Tensor:
            masks, gradients, losses, _ = draw
            where = (masks[:, subject.branch] > 0) | (subject.branch < 0)
            return of(Sums.of(masks, gradients, losses, where)).value * torch.where(subject.branch < 0, 1.0, level)

        return found

    return {
        f"{name}, branch on": method(of) for name, of in (("trapezoid", trapezoid_of), ("difference", difference_of))
    }


def less_open(losses: Tensor, slopes: Tensor) -> dict[str, Method]:
    """Return each sample's loss with all gates on, and its slopes there, as control variates: a second pass."""
    call = estimator("difference")

    def with_losses(draw: Draw, image: Any) -> Tensor:
        return call(draw[0], draw[1], draw[2] - losses[image], draw[3]).value

    def with_slopes(draw: Draw, image: Any) -> Tensor:
        about = losses[image] + (slopes[image] * (draw[0] - draw[3])).sum(1)
        # A gate's own term has to be given back: over all images, where the table knows its mean.
        return call(draw[0], draw[1], draw[2] - about, draw[3]).value + slopes.mean(0)

    return {"difference, less open loss": with_losses, "difference, less open loss and slopes": with_slopes}


def frozen(subject: Subject, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Question 1."""
    losses, slopes = tabulate(subject)
    table = {}
    for level in settings.thetas:
        theta = torch.full((FREE,), level, dtype=torch.float64)
        truth = exact_difference(losses.mean(1), theta)
        weight = mask_probabilities(theta)[:, None] * all_masks(FREE)
        on = (weight * slopes.mean(1)).sum(0) / theta
        whole = (mask_probabilities(theta)[:, None] * slopes.mean(1)).sum(0)
        off = (whole - theta * on) / (1 - theta)

        def draws(theta: Tensor = theta) -> Iterator[tuple[Draw, Tensor]]:
            generator = torch.Generator().manual_seed(settings.seed)
            places = 2 ** torch.arange(FREE - 1, -1, -1)
            for _ in range(settings.replicates):
                masks = (torch.rand(settings.batch, FREE, generator=generator, dtype=torch.float64) < theta).long()
                at, image = masks @ places, torch.randint(losses.shape[1], (settings.batch,), generator=generator)
                yield (masks.double(), slopes[at, image] / settings.batch, losses[at, image], theta), image

        methods = {name: plain(name) for name in ESTIMATORS}
        methods |= given_on(subject, level)
        methods |= less_open(losses[-1], slopes[-1])
        rows = compare(methods, draws, truth, subject.layer)
        exact = {"first-order": whole - truth, "trapezoid": (on + off) / 2 - truth}
        for row in rows:
            chosen = subject.layer if row["kind"] == "layers" else ~subject.layer
            if row["estimator"] in exact:
                row["exact bias"] = rms(exact[row["estimator"]][chosen])
        sides = {
            kind: {
                "rms D": rms(truth[chosen]),
                "rms curvature": rms((on - off)[chosen]),
                "D between the sides": int(((off <= truth) & (truth <= on))[chosen].sum()),
                "gates": int(chosen.sum()),
            }
            for kind, chosen in (("units", ~subject.layer), ("layers", subject.layer))
        }
        table[str(level)] = {"rows": rows, "sides": sides, "D": truth.tolist()}
        show(f"statistics frozen, θ = {level}", rows, sides, say)
    return table


def batch_statistics(subject: Subject, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Question 2."""
    subject.network.train()
    size, table = 32, {}
    for level in settings.thetas[:2]:
        theta = torch.full((FREE,), level, dtype=torch.float64)
        generator = torch.Generator().manual_seed(settings.seed)

        def one(theta: Tensor = theta, generator: torch.Generator = generator) -> tuple[Tensor, Tensor]:
            image = torch.randint(len(subject.images), (size,), generator=generator)
            return image, (torch.rand(size, FREE, generator=generator, dtype=torch.float64) < theta).double()

        totals, directs = [], []
        for _ in range(settings.flips):
            total, direct = flip_all(subject, *one())
            totals.append(total)
            directs.append(direct)
        truth, direct = torch.stack(totals), torch.stack(directs)

        def draws(theta: Tensor = theta, one: Callable[[], tuple[Tensor, Tensor]] = one) -> Iterator[tuple[Draw, None]]:
            for _ in range(settings.replicates):
                image, free = one()
                loss, masks = subject.run(subject.images[image], subject.labels[image], free)
                yield (free, subject.slopes(loss, masks).double() / size, loss.detach().double(), theta), None

        names = ("first-order", "trapezoid", "curvature", "corrected", "difference", "control")
        methods = {name: plain(name) for name in names}
        rows = compare(methods, draws, truth.mean(0), subject.layer, direct.mean(0))
        sides = {
            kind: {
                "rms D": rms(truth.mean(0)[chosen]),
                "rms direct": rms(direct.mean(0)[chosen]),
                "standard error": rms(truth.std(0)[chosen]) / math.sqrt(settings.flips),
                "gates": int(chosen.sum()),
            }
            for kind, chosen in (("units", ~subject.layer), ("layers", subject.layer))
        }
        table[str(level)] = {"rows": rows, "sides": sides, "D": truth.mean(0).tolist(), "batch": size}
        show(f"batch statistics, θ = {level}", rows, sides, say)
    return table


def compare(
    methods: dict[str, Method],
    draws: Callable[[], Iterator[tuple[Draw, Any]]],
    truth: Tensor,
    layer: Tensor,
    direct: Tensor | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each estimator and kind of gate: RMS over gates of bias, its standard error, deviation."""
    found: dict[str, list[Tensor]] = {name: [] for name in methods}
    for draw, image in draws():
        for name, method in methods.items():
            found[name].append(method(draw, image))
    rows = []
    for name, values in found.items():
        stacked = torch.stack(values)
        known = ~stacked.isnan()
        deviation = (torch.where(known, stacked - stacked.nanmean(0), 0.0).square().sum(0) / (known.sum(0) - 1)).sqrt()
        # Means over intervals as they come: those that remember carry their noise from step to step.
        interval = stacked[: len(stacked) // STEPS * STEPS].view(-1, STEPS, FREE).nanmean(1)
        mean, late = interval.nanmean(0), (interval - truth).square().nanmean(0).sqrt()
        spread = (interval - mean).square().nanmean(0).sqrt()
        for kind, chosen in (("units", ~layer), ("layers", layer)):
            row = {
                "estimator": name,
                "kind": kind,
                "bias": rms((mean - truth)[chosen]),
                "standard error of bias": rms(spread[chosen]) / math.sqrt(len(interval) - 1),
                "mean bias": float((mean - truth)[chosen].mean()),
                "deviation": rms(deviation[chosen]),
                f"error of a mean over {STEPS} steps": rms(late[chosen]),
                "no information": float(1 - known[:, chosen].double().mean()),
            }
            if direct is not None:
                row["bias against direct"] = rms((mean - direct)[chosen])
            rows.append(row)
    return rows


def costs(subject: Subject, say: Callable[[str], None]) -> dict[str, Any]:
    """Microseconds a call for ResNet-20's 345 gates and a batch of 128, on this machine; the least of 30 turns."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.full((345,), 0.8)
    masks = (torch.rand(128, 345, generator=generator) < theta).float()
    draw = masks, torch.randn(128, 345, generator=generator), torch.rand(128, generator=generator), theta
    methods: dict[str, Callable[[], Any]] = {"gradient.sum(0), as in Gates.difference": lambda: draw[1].sum(0)}
    methods |= {name: functools.partial(estimator(name), *draw) for name in ESTIMATORS}
    least = dict.fromkeys(methods, math.inf)
    for _ in range(30):
        for name, method in methods.items():
            start = time.perf_counter()
            method()
            least[name] = min(least[name], time.perf_counter() - start)
    network = ResNet(20, 16)
    gates, images = Gates(network), torch.randn(128, 3, 32, 32)
    step = math.inf
    for _ in range(3):
        gates.sample(128)
        start = time.perf_counter()
        F.cross_entropy(network(images), torch.zeros(128, dtype=torch.long)).backward()
        step = min(step, time.perf_counter() - start)
    for name, seconds in least.items():
        say(f"{name:42s} {1e6 * seconds:8.0f} µs  {100 * seconds / step:6.3f}% of forward and backward")
    return {
        "microseconds": {name: 1e6 * seconds for name, seconds in least.items()},
        "forward and backward of ResNet-20, batch 128, microseconds": 1e6 * step,
    }


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def show(title: str, rows: list[dict[str, Any]], sides: dict[str, Any], say: Callable[[str], None]) -> None:
    say(f"\n{title}")
    for kind, facts in sides.items():
        say(f"  {kind}: " + ", ".join(f"{name} {value:.4g}" for name, value in facts.items()))
    say(f"  {'estimator':52s} {'kind':7s} {'bias':>9s} {'±':>8s} {'deviation':>9s} {'50 steps':>9s}  in units of rms D")
    for row in rows:
        unit = sides[row["kind"]]["rms D"]
        names = ("bias", "standard error of bias", "deviation", f"error of a mean over {STEPS} steps")
        values = [row[name] for name in names]
        extra = f"  exact bias {row['exact bias'] / unit:.4f}" if "exact bias" in row else ""
        if "bias against direct" in row:
            extra += f"  against the direct effect {row['bias against direct'] / unit:.4f}"
        say(f"  {row['estimator']:52s} {row['kind']:7s} " + " ".join(f"{v / unit:9.4f}" for v in values) + extra)


def main() -> int:
    settings = tyro.cli(Settings, prog="python -m benchmarks.estimators")
    if min(settings.epochs, settings.images, settings.replicates - 99, settings.batch - 1) < 1 or (
        settings.flips < 2 and settings.flips != 0
    ):
        print("error: epochs and images must be ≥ 1, batch ≥ 2, replicates ≥ 100, flips 0 or ≥ 2", file=sys.stderr)
        return 2

    def say(line: str) -> None:
        print(line, flush=True)

    about = environment()
    subject = Subject(settings.epochs, settings.images, settings.seed)
    subject.network.eval()
    subject.gates.open()
    right = float((subject.network(subject.images).argmax(1) == subject.labels).double().mean())
    say(f"network trained; all gates on it gets {100 * right:.1f}% of the images right")
    result: dict[str, Any] = {"about": about, "settings": {k: v for k, v in vars(settings).items() if k != "output"}}
    result |= {"data": subject.data.provenance, "network": "ResNet-8, width 4", "accuracy, all gates on": right}
    result["cost"] = costs(subject, say)
    result["statistics frozen"] = frozen(subject, settings, say)
    if settings.flips:
        result["batch statistics"] = batch_statistics(subject, settings, say)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(settings.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
