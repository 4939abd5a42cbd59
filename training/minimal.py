"""The whole method in one file: a network learns which of its parts to keep; certificates say which will not come back.

    python -m training.minimal [--seed N]            # a minute on one core; prints the table of rules

**Gates.** Each unit and each residual branch of a network is multiplied by a mask ξ ~ Ber(θ), drawn anew for every
sample. The probabilities θ are learned together with the weights W, on the objective

    J(W, Θ) = E_ξ[ loss(W, ξ) ] + (λ/2) ‖W‖² + R(Θ),        R(Θ) = ν · expected complexity  (α: branches against units)

J is affine in each θ, so at its minima every gate is on or off: a smaller network. Its slope in θ is D + κ, where
D = E[loss | ξ=1] − E[loss | ξ=0] is what the gate is worth (negative: it helps) and κ = ∂R/∂θ what it costs.

**Dynamics.** Let w be the weights behind a gate, ρ = ‖w‖. At w = 0 a gate does nothing, so the gain −D is at most some
η·ρ, with a *coupling* η. SGD then stays below the ODE  ρ' = ηθ − λρ,  θ' = r(ηρ − κ),  which has a domain of
attraction around zero. A gate inside is *certified*: while η bounds its coupling, it goes to zero. `dynamics` derives
and checks the regions: `LinearGate`, its invariant box, and `BilinearGate` for units, with gain at most η·ρ_in·ρ_out.

**Experiment.** Measure the couplings as training goes, certify, but remove nothing: a *shadow run*. Afterwards hold
against each rule, certificates and plain thresholds on θ, what became of the gates that it would have removed.

`train` is the algorithm, and each function that it calls one of its equations. The draws are those of `python -m
training validate --preset digits`, in the same order, so the table is the same (but for its last two columns) from far
fewer lines. Only there: removal, checkpoints, other networks, whether the assumptions held.
"""

import argparse
import math
import statistics
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynamics import BilinearGate, LinearGate
from dynamics.models.complexity import Layer, Structure
from training.certificates.fates import ALIVE, DEAD, REVIVED
from training.data import Dataset, load_digits, test_batches
from training.data.batches import batches
from training.engine.config import RunConfig, preset
from training.engine.optimizer import cosine, rate_of
from training.estimators import LEAST_SAMPLES
from training.evidence.audit import Row, as_text
from training.runtime.progress import Progress
from training.runtime.random_streams import stream


class Block(nn.Module):
    """y = relu( shortcut(x) + ξ_branch · norm2(conv2( ξ_units · relu(norm1(conv1(x))) )) )."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.new_channels = outputs - inputs

    def forward(self, x: Tensor, units: Tensor, branch: Tensor) -> Tensor:
        """Return y; `units` [batch or 1, channel] and `branch` [batch or 1, 1] are the masks."""
        hidden = F.relu(self.norm1(self.conv1(x))) * units[:, :, None, None]
        output = self.norm2(self.conv2(hidden)) * branch[:, :, None, None]
        zeros = (0, 0, 0, 0, self.new_channels // 2, self.new_channels - self.new_channels // 2)  # for new channels
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], zeros)
        return F.relu(shortcut + output)


class Network(nn.Module):
    """A small residual network. Its gates in one vector: the units, block after block, then the branches."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        blocks_per_stage = (depth - 2) // 6  # in three stages, the channels doubling from one to the next
        self.sizes = [width * 2 ** (i // blocks_per_stage) for i in range(3 * blocks_per_stage)]  # units of each block
        self.conv = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = [Block(old, new, stride=new // old) for old, new in pairwise([width, *self.sizes])]
        self.registered = nn.ModuleList(self.blocks)  # a plain list's parameters would not be the network's
        self.linear = nn.Linear(self.sizes[-1], 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        units = sum(self.sizes)
        branches = torch.arange(len(self.sizes))
        self.is_branch = torch.arange(units + len(branches)) >= units  # [gate]
        self.parent = units + torch.cat([branches.repeat_interleave(torch.tensor(self.sizes)), branches])  # its branch

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Return the logits [batch, 10] of images [batch, 1, 8, 8] under masks [batch or 1, gate]."""
        *units, branches = masks.split([*self.sizes, len(self.sizes)], dim=1)
        x = F.relu(self.norm(self.conv(images)))
        for block, unit_masks, branch_mask in zip(self.blocks, units, branches.split(1, dim=1), strict=True):
            x = block(x, unit_masks, branch_mask)
        return self.linear(x.mean((2, 3)))

    @torch.no_grad()
    def weight_norms(self) -> tuple[Tensor, Tensor]:
        """Return ρ_in and ρ [gate]: of a unit, its scale and shift, and its fan-out; a branch has only ρ, no ρ_in."""
        scale_and_shift = [torch.hypot(block.norm1.weight, block.norm1.bias) for block in self.blocks]
        fan_out = [block.conv2.weight.transpose(0, 1).flatten(1).norm(dim=1) for block in self.blocks]
        branches = [torch.cat([block.norm2.weight, block.norm2.bias]).norm()[None] for block in self.blocks]
        return torch.cat([*scale_and_shift, torch.full((len(branches),), math.nan)]), torch.cat([*fan_out, *branches])

    def structure(self, pixels: int = 64) -> Structure:
        """Return what each layer costs a pair of input and output: the complexity of Θ, and κ, come from it."""
        inputs = self.conv.out_channels
        layers = [Layer("conv", 1, inputs, macs=9 * pixels, weights=9, per_output=2)]
        for i, size in enumerate(self.sizes):
            pixels //= self.blocks[i].stride ** 2
            layers.append(Layer(f"first{i}", inputs, f"units{i}", 9 * pixels, 9, 2, f"branch{i}"))
            layers.append(Layer(f"second{i}", f"units{i}", size, 9 * pixels, 9, 2, f"branch{i}"))
            inputs = size
        layers.append(Layer("linear", inputs, 10, macs=1, weights=1, per_output=1))
        units = {f"units{i}": size for i, size in enumerate(self.sizes)}
        return Structure(layers, units, [f"branch{i}" for i in range(len(self.sizes))])


class Sides(NamedTuple):
    """The samples of one batch on the two sides of each gate, ξ = 0 and ξ = 1. All [side, gate]."""

    samples: Tensor  # their number
    slope: Tensor  # their mean ∂loss/∂ξ
    loss: Tensor  # their mean loss


class Record(NamedTuple):
    """What is noted at the end of an interval of steps."""

    step: int
    theta: Tensor  # before the step, [gate]
    flagged: dict[str, Tensor]  # rule → which gates it would remove, [gate]


def sample_masks(theta: Tensor, batch: int, coins: torch.Generator) -> Tensor:
    """Return masks ξ ~ Ber(θ) [batch, gate], one for each sample and gate, ready to take a gradient."""
    return (torch.rand(batch, len(theta), generator=coins) < theta).float().requires_grad_()


def split_by_mask(masks: Tensor, slopes: Tensor, losses: Tensor, acting: Tensor) -> Sides:
    """Return number and means of the samples with ξ = 0, and with ξ = 1; only where a gate is acting [batch, gate]."""
    members = torch.stack([1 - masks, masks]) * acting  # [side, batch, gate]
    samples = members.sum(1)
    slope = (members * slopes).sum(1) / samples.clamp_min(1)
    loss = (members * losses[:, None]).sum(1) / samples.clamp_min(1)
    return Sides(samples, slope, loss)


def information(samples: Tensor) -> Tensor:
    """Return n₀n₁/(n₀ + n₁), the weight of a comparison of the two sides; 0 where one is empty."""
    return samples.prod(-2) / samples.sum(-2).clamp_min(1)


def update_corrections(past: Tensor, sides: Sides) -> Tensor:
    """Return weighted sums [3, gate] over the last steps of a gate's curvature, of its rest, and of the weights.

    The curvature is slope at ξ=1 − slope at ξ=0. The rest is what the difference in mean losses, an unbiased but noisy
    estimate of D, says beyond the mean of these two slopes.
    """
    curvature = sides.slope[1] - sides.slope[0]
    rest = sides.loss[1] - sides.loss[0] - sides.slope.mean(0)
    return 0.99 * past + information(sides.samples) * torch.stack([curvature, rest, torch.ones_like(rest)])


def estimate_difference(sides: Sides, corrections: Tensor, is_branch: Tensor, batch: int) -> Tensor:
    """Return D̂ [gate]: the mean slope of this step, which is quiet, less its bias as measured over the last steps.

    D̂ = mean slope − (mean ξ − ½) · curvature  (+ rest, for branches, along which losses are far from quadratic)
    """
    curvature, rest = (corrections[:2] / corrections[2]).nan_to_num(nan=0.0)
    acting = sides.samples.sum(0)
    mean_slope = (sides.samples * sides.slope).sum(0) / acting.clamp_min(1)
    mean_mask = sides.samples[1] / acting.clamp_min(1)
    unbiased = mean_slope - (mean_mask - 0.5) * curvature + rest * is_branch
    return unbiased * acting / batch  # a unit does nothing to samples whose branch is off


def move_theta(theta: Tensor, slope: Tensor, rate: float) -> Tensor:
    """Return clip(θ − rate · (D̂ + κ), 0, 1) [gate], a step of projected gradient descent."""
    return theta.sub(slope, alpha=rate).clamp(0, 1)


def measure_pull(seen: list[Sides], is_branch: Tensor) -> Tensor:
    """Return how strongly the loss held each gate up in an interval of steps [gate]; the coupling is η̂ = pull/ρ.

        pull = max( −D, −slope at ξ=1, −slope at ξ=0, 0 ),  ∞ where ξ=0 was hardly seen

    Bounds are asked for D and for ⟨∇_w D, w⟩ = slope at ξ=1; the slope at ξ=0 says what becomes of D as w shrinks.
    """
    samples, slope, loss = (torch.stack(parts) for parts in zip(*seen, strict=True))  # [step, side, gate]
    weight = information(samples)  # compare within each step, then average: the loss falls meanwhile
    by_losses = (weight * (loss[:, 1] - loss[:, 0])).sum(0)
    by_slopes = (weight * slope.mean(1)).sum(0)
    difference = torch.where(is_branch, by_losses, by_slopes) / weight.sum(0)
    enough = samples.sum(0) >= LEAST_SAMPLES  # [side, gate]
    difference = torch.where(enough.all(0), difference, math.nan)
    slope_off, slope_on = torch.where(enough, (samples * slope).sum(0) / samples.sum(0), math.nan)
    lowest = torch.stack([difference, slope_off, slope_on]).nan_to_num(nan=0.0).amin(0)
    return torch.where(slope_off.isnan(), math.inf, -lowest.clamp_max(0))


def certify(config: RunConfig, network: Network, theta: Tensor, cost: Tensor, coupling: Tensor) -> dict[str, Tensor]:
    """Return which gates lie in each domain of attraction of zero [gate]; coupling: bounds on η, [2, gate]."""
    linear, bilinear = coupling
    rho_in, rho = (norm.double() for norm in network.weight_norms())
    state = theta.double()
    rate = rate_of(config.gate_lr, lr=config.lr, momentum=config.momentum)  # r
    gate = LinearGate(decay=config.decay, coupling=linear, cost=cost, rate=rate)
    unit = ~network.is_branch
    product = BilinearGate(decay=config.decay, coupling=bilinear[unit], cost=cost[unit], rate=rate)
    by_rho = gate.certified(rho, state)
    by_both = by_rho.clone()  # branches have no second norm
    by_both[unit] = product.certified(rho_in[unit], rho[unit], state[unit])
    return {"box": gate.in_box(rho, state), "half-plane": by_rho, "bilinear": by_both}


def flag(certified: dict[str, Tensor], theta: Tensor, cost: Tensor, parent: Tensor) -> dict[str, Tensor]:
    """Return which gates [gate] each rule would remove now; a unit that costs something goes with its branch."""
    rules = certified | {f"θ < {level:g}": theta < level for level in (0.5, 0.1, 0.05, 0.01)}
    return {rule: own | (own[parent] & (cost > 0)) for rule, own in rules.items()}


def train(config: RunConfig, data: Dataset) -> tuple[Network, Tensor, list[Record]]:
    """Return the trained network, the last θ, and a record at the end of every interval of steps."""
    torch.manual_seed(config.seed)
    order, coins = stream("order", config.seed), stream("masks", config.seed)
    network = Network(config.width or 16, depth=int(config.network.removeprefix("resnet")))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), config.lr, config.momentum, weight_decay=config.decay)
    is_branch, parent = network.is_branch, network.parent
    theta = torch.full(is_branch.shape, config.theta_start)
    cost = network.structure().costs(theta, config.nu, config.alpha, config.beta)  # κ; here θ does not change it
    corrections = torch.zeros(3, len(theta), dtype=torch.double)
    rho = network.weight_norms()[1]
    window = math.ceil(config.tracker.window / config.tracker.every)  # in intervals
    seen, couplings, records = [], [], []  # `seen`: of the interval under way

    steps = config.epochs * (len(data.train_labels) // config.batch)
    progress = Progress("training", steps)
    epochs = (batches(data, config.batch, order, channels_last=True) for _ in range(config.epochs))
    for step, (images, labels) in enumerate(chain.from_iterable(epochs), start=1):
        schedule = cosine(step - 1, steps)
        masks = sample_masks(theta, config.batch, coins)
        losses = F.cross_entropy(network(images, masks), labels, reduction="none")
        optimizer.zero_grad()
        losses.mean().backward()

        # θ moves by D̂ + κ, after some steps of standing still.
        assert masks.grad is not None  # ∂(mean loss)/∂ξ
        xi = masks.detach().double()
        acting = (xi[:, parent] > 0) | is_branch  # a unit acts only where its branch is on
        sides = split_by_mask(xi, masks.grad.double() * config.batch, losses.detach().double(), acting)
        corrections = update_corrections(corrections, sides)
        slope = estimate_difference(sides, corrections, is_branch, config.batch).float() + cost
        before = theta
        theta = move_theta(theta, slope, config.gate_lr * schedule if step > config.hold else 0.0)

        # At the end of an interval: measure η, certify, and note what each rule would remove.
        seen.append(sides)
        if step % config.tracker.every == 0:
            last_rho = rho
            rho_in, rho = network.weight_norms()
            coupling = measure_pull(seen, is_branch) / rho.double()
            couplings.append(torch.stack([coupling, coupling / rho_in.double()]))  # of the linear, the bilinear bound
            bound = config.tracker.factor * torch.stack(couplings[-window:]).amax(0)  # of the last intervals, m-fold
            certified = certify(config, network, before, cost.double(), bound)
            records.append(Record(step, before, flag(certified, before, cost, parent)))
            corrections[:2] *= (rho / last_rho).double().square()  # they are of second order in w
            seen.clear()

        optimizer.param_groups[0]["lr"] = config.lr * schedule
        optimizer.step()  # W moves by momentum SGD
        progress.advance()
    return network, theta, records


def judge(rule: str, steps: list[int], flagged: Tensor, paths: Tensor) -> Row:
    """Return a line of the table, from flags and θ [record, gate]: what became of the gates a rule would remove."""
    counts = {"caught": 0, "wrong": 0, "undecided": 0}
    leads, leaning = [], 0
    for gate in flagged.any(0).nonzero().flatten().tolist():
        path = paths[:, gate]
        first = int(flagged[:, gate].nonzero()[0])
        fate = judge_path(path, first)
        counts[fate] += 1
        if fate == "caught":
            above = (path > DEAD).nonzero()
            death = int(above[-1]) + 1 if len(above) else 0  # the record from which θ stays at zero
            leads.append(float(steps[death] - steps[first]))
        elif fate == "undecided":
            leaning += int(path[-1] > 0.5)
    sizes = {"gates": paths.shape[1], "dead": int((paths[-1] <= DEAD).sum()), "flagged": sum(counts.values())}
    return Row(rule, **sizes, **counts, leaning=leaning, lead=statistics.median(leads) if leads else None)


def judge_path(path: Tensor, first: int) -> str:
    """Return the fate of a gate flagged at record `first`: wrong if it ended alive, or came back from zero later."""
    low = (path <= DEAD).tolist()
    high = (path > REVIVED).tolist()
    extremes = [i for i in range(len(path)) if low[i] or high[i]]
    returns = [later for earlier, later in pairwise(extremes) if low[earlier] and high[later]]
    if path[-1] >= ALIVE or any(i > first for i in returns):
        return "wrong"
    return "caught" if low[-1] else "undecided"


@torch.no_grad()
def decide(network: Network, theta: Tensor, data: Dataset) -> dict[str, float]:
    """Return accuracy on the test images and relative size, in [0, 1], of what was found: gates on where θ ≥ ½."""
    on, parent = theta >= 0.5, network.parent
    units_left = torch.zeros_like(theta).index_add(0, parent, (on & ~network.is_branch).float())
    on = on & (units_left[parent] > 0)  # no branch without units
    on = (on & on[parent]).float()  # no unit without its branch
    network.eval()
    right = sum(int((network(x, on[None]).argmax(1) == labels).sum()) for x, labels in test_batches(data))
    structure = network.structure()
    return {"accuracy": right / len(data.test_labels), "macs": float(structure.macs(on) / structure.full_macs)}


def shadow_run(config: RunConfig) -> dict[str, Any]:
    """Train on the digits; return the table's rows for units and branches, accuracy and size found, paths of θ."""
    data = load_digits()
    network, theta, records = train(config, data)
    steps = [record.step for record in records]
    paths = torch.stack([record.theta for record in records])
    late = torch.tensor(steps)[:, None] >= config.tracker.warmup  # before it no rule may flag
    branch, unit = network.is_branch, ~network.is_branch
    rules = {rule: torch.stack([record.flagged[rule] for record in records]) & late for rule in records[0].flagged}
    units = [judge(rule, steps, flags[:, unit], paths[:, unit]) for rule, flags in rules.items()]
    del rules["bilinear"]  # a branch has no second norm
    branches = [judge(rule, steps, flags[:, branch], paths[:, branch]) for rule, flags in rules.items()]
    return {"units": units, "layers": branches, "theta": paths} | decide(network, theta, data)


def config_with_seed(text: str) -> RunConfig:
    """Return the settings of the digits with the seed that a user typed."""
    try:
        return replace(preset("digits"), seed=int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2⁶³ − 2; got {text!r}") from None


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m training.minimal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=config_with_seed, default="0", dest="config")
    result = shadow_run(parser.parse_args().config)
    print("Units:", as_text(result["units"]), "Layers:", as_text(result["layers"]), sep="\n\n", end="\n\n")
    print(f"Test accuracy {result['accuracy']:.2%} with {result['macs']:.1%} of the multiply–accumulates.")
