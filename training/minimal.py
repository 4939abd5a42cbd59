"""The whole method in one file: a network learns which of its parts to keep; certificates say which will not come back.

    python -m training.minimal [--seed N]            # a minute on one core; prints the table of rules

**Gates.** Each unit and each residual branch of a network is multiplied by a mask ξ ~ Ber(θ), drawn anew for every
sample. The probabilities θ are learned together with the weights W, on the objective

    J(W, Θ) = E_ξ[ loss(W, ξ) ] + (λ/2) ‖W‖² + R(Θ),        R(Θ) = ν · expected complexity  (α: layers against units)

J is affine in each θ, so at its minima every gate is on or off: a smaller network. Its slope in θ is D + κ, where
D = E[loss | ξ=1] − E[loss | ξ=0] is what the gate is worth (negative: it helps) and κ = ∂R/∂θ what it costs.

**Dynamics.** Let w be the weights behind a gate, ρ = ‖w‖. At w = 0 a gate does nothing, so the gain −D is at most some
η·ρ, with a *coupling* η. SGD then stays below the ODE  ρ' = ηθ − λρ,  θ' = r(ηρ − κ),  which has a domain of
attraction around zero. A gate inside is *certified*: while η bounds its coupling, it goes to zero. `dynamics` derives
and checks the regions: `LinearGate`, its invariant box, and `BilinearGate` for units, with gain at most η·ρ_in·ρ_out.

**Experiment.** Measure the couplings as training goes, certify, but remove nothing: a *shadow run*. Afterwards hold
against each rule, certificates and plain thresholds on θ, what became of the gates that it would have removed.

Same draws in the same order as `python -m training validate --preset digits`, so the same table (but for its last two
columns) from far fewer lines. Only there: removal, checkpoints, other networks, whether the assumptions held.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynamics import BilinearGate, LinearGate
from dynamics.models.complexity import Layer, Structure
from training.certificates.fates import ALIVE, DEAD, REVIVED
from training.data.data_sets import batches, load_digits, test_batches
from training.engine.config import RunConfig, preset
from training.engine.optimizer import cosine, rate_of
from training.evidence.audit import Row, as_text
from training.runtime.progress import Progress
from training.runtime.random_streams import stream


class Block(nn.Module):
    """y = relu( shortcut(x) + ξ_branch · norm2(conv2( ξ_units · relu(norm1(conv1(x))) )) )."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x: Tensor, units: Tensor, branch: Tensor) -> Tensor:
        """`units` [batch or 1, channel] and `branch` [batch or 1, 1] are the masks."""
        hidden = F.relu(self.norm1(self.conv1(x))) * units[:, :, None, None]
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))  # new channels: zeros
        return F.relu(shortcut + self.norm2(self.conv2(hidden)) * branch[:, :, None, None])


class Network(nn.Module):
    """A small residual network. Its gates in one vector: the units, block after block, then the branches."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        each = (depth - 2) // 6  # blocks in each of three stages, the channels doubling from one to the next
        self.sizes = [width * 2 ** (i // each) for i in range(3 * each)]
        pairs = zip([width, *self.sizes], self.sizes, strict=False)
        self.blocks = [Block(inputs, outputs, stride=outputs // inputs) for inputs, outputs in pairs]
        self.registered, self.linear = nn.Sequential(*self.blocks), nn.Linear(self.sizes[-1], 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        units, layers = sum(self.sizes), torch.arange(len(self.sizes))
        self.is_branch = torch.arange(units + len(layers)) >= units
        self.parent = units + torch.cat([layers.repeat_interleave(torch.tensor(self.sizes)), layers])  # its branch

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Images [batch, 1, 8, 8] and masks [batch or 1, gate] → logits."""
        *units, branches = masks.split([*self.sizes, len(self.sizes)], dim=1)
        x = F.relu(self.norm(self.conv(images)))
        for block, on, branch in zip(self.blocks, units, branches.split(1, dim=1), strict=True):
            x = block(x, on, branch)
        return self.linear(x.mean((2, 3)))

    @torch.no_grad()
    def weight_norms(self) -> tuple[Tensor, Tensor]:
        """ρ_in and ρ [gate]: of a unit, its scale and shift, and its fan-out; of a branch only ρ, scale and shift."""
        rho_in = [torch.hypot(block.norm1.weight, block.norm1.bias) for block in self.blocks]
        rho = [block.conv2.weight.transpose(0, 1).flatten(1).norm(dim=1) for block in self.blocks]
        rho += [torch.cat([block.norm2.weight, block.norm2.bias]).norm()[None] for block in self.blocks]
        return torch.cat([*rho_in, torch.full((len(self.blocks),), math.nan)]), torch.cat(rho)

    def structure(self, pixels: int = 64) -> Structure:
        """What each layer costs a pair of input and output. From it come the complexity of Θ, and every gate's κ."""
        layers = [Layer("conv", 1, self.conv.out_channels, macs=9 * pixels, weights=9, per_output=2)]
        for i, (inputs, size) in enumerate(zip([layers[0].outputs, *self.sizes], self.sizes, strict=False)):
            pixels //= self.blocks[i].stride ** 2
            layers.append(Layer(f"first{i}", inputs, f"units{i}", 9 * pixels, 9, 2, f"branch{i}"))
            layers.append(Layer(f"second{i}", f"units{i}", size, 9 * pixels, 9, 2, f"branch{i}"))
        layers.append(Layer("linear", self.sizes[-1], 10, macs=1, weights=1, per_output=1))
        units = {f"units{i}": size for i, size in enumerate(self.sizes)}
        return Structure(layers, units, [f"branch{i}" for i in range(len(self.sizes))])


def sides(masks: Tensor, values: Tensor, acting: Tensor) -> tuple[Tensor, Tensor]:
    """Number and mean of the values over the samples with ξ = 0, and with ξ = 1: two of [side, gate]."""
    weights = torch.stack([1 - masks, masks]) * acting  # [side, batch, gate]
    count = weights.sum(1)
    return count, (weights * values).sum(1) / count.clamp_min(1)


class Difference:
    """D̂ for a step of θ. Slopes ∂loss/∂ξ are quiet; their bias changes slowly: it is measured over the last steps.

    The mean slope is off by (mean ξ − ½) · curvature, curvature = slope at ξ=1 − slope at ξ=0. The rest is what the
    difference in mean losses, unbiased but noisy, says beyond that: for layers only, whose losses are less quadratic.
    """

    def __init__(self, is_branch: Tensor) -> None:
        self.is_branch, self.past = is_branch, torch.zeros(3, len(is_branch), dtype=torch.double)

    def __call__(self, count: Tensor, slope: Tensor, loss: Tensor, batch: int) -> Tensor:
        """D̂ [gate], from number, mean slope and mean loss of each side. Where nothing acts it is 0."""
        acting = count.sum(0).clamp_min(1)
        weight = count.prod(0) / acting  # this step's information; none where one side is empty
        fresh = torch.stack([slope[1] - slope[0], loss[1] - loss[0] - slope.mean(0), torch.ones_like(weight)])
        self.past = 0.99 * self.past + weight * fresh
        curvature, rest = (self.past[:2] / self.past[2]).nan_to_num(nan=0.0)
        mean = (count * slope).sum(0) / acting - (count[1] / acting - 0.5) * curvature + rest * self.is_branch
        return mean * count.sum(0) / batch

    def follow(self, ratio: Tensor) -> None:
        """The corrections are of second order in the gates' weights: scale them as these change their norm."""
        self.past[:2] *= ratio.double().square()


def pull(seen: Sequence[tuple[Tensor, Tensor, Tensor]], is_branch: Tensor) -> Tensor:
    """How strongly the loss held each gate up in an interval: the largest of −D, −slope at ξ=1 and −slope at ξ=0.

    D ≥ −pull and ⟨∇_w D, w⟩ = slope at ξ=1 ≥ −pull are what the theory asks for; the slope at ξ=0 says what becomes
    of D as w shrinks. `seen`: of each step, count, mean slope and mean loss of each side. ∞ where ξ=0 was hardly seen.
    """
    count, slope, loss = (torch.stack(parts) for parts in zip(*seen, strict=True))  # [step, side, gate]
    weight = count.prod(1) / count.sum(1).clamp_min(1)  # compare within each step, then average by information
    by_losses, by_slopes = (weight * (loss[:, 1] - loss[:, 0])).sum(0), (weight * slope.mean(1)).sum(0)
    difference = torch.where(is_branch, by_losses, by_slopes) / weight.sum(0)
    enough = count.sum(0) >= 32
    off, on = torch.where(enough, (count * slope).sum(0) / count.sum(0), math.nan)
    strongest = torch.stack([torch.where(enough.all(0), difference, math.nan), off, on]).nan_to_num(nan=0.0).amin(0)
    return torch.where(off.isnan(), math.inf, -strongest.clamp_max(0))


def flags(s: RunConfig, network: Network, theta: Tensor, cost: Tensor, window: Sequence[Tensor]) -> dict[str, Tensor]:
    """Which gates [gate] each rule would remove now. `window`: η̂ of the last intervals, [bound, gate] each."""
    unit, state, (rho_in, rho) = ~network.is_branch, theta.double(), (n.double() for n in network.weight_norms())
    linear, bilinear = s.tracker.factor * torch.stack([*window]).amax(0)  # the bounds on η
    ode = {"decay": s.decay, "rate": rate_of(s.gate_lr, lr=s.lr, momentum=s.momentum)}  # λ and r
    gate = LinearGate(coupling=linear, cost=cost, **ode)
    product = BilinearGate(coupling=bilinear[unit], cost=cost[unit], **ode)
    found = {"box": gate.in_box(rho, state), "half-plane": gate.certified(rho, state)}
    found["bilinear"] = found["half-plane"].clone()  # for branches, which have no second norm
    found["bilinear"][unit] = product.certified(rho_in[unit], rho[unit], state[unit])
    found |= {f"θ < {level:g}": theta < level for level in (0.5, 0.1, 0.05, 0.01)}
    with_branch = (cost > 0)[None] & torch.stack([*found.values()])[:, network.parent]
    return dict(zip(found, torch.stack([*found.values()]) | with_branch, strict=True))


def judge(rule: str, steps: Sequence[int], flagged: Tensor, paths: Tensor) -> Row:
    """A line of the table, from flags and θ [record, gate]: what became of the gates that the rule would remove."""
    leads, wrong, undecided = [], 0, []
    for flag, path in zip(flagged[:, flagged.any(0)].T.tolist(), paths[:, flagged.any(0)].T, strict=True):
        first, low, high = flag.index(True), (path <= DEAD).tolist(), (path > REVIVED).tolist()
        ends = [i for i in range(len(low)) if low[i] or high[i]]
        if path[-1] >= ALIVE or any(low[a] and high[b] and b > first for a, b in pairwise(ends)):
            wrong += 1  # ended alive, or came back from zero after the flag
        elif low[-1]:  # caught, and dead since the record after the last that was not low
            died = max((i + 1 for i, is_low in enumerate(low) if not is_low), default=0)
            leads.append(float(steps[died] - steps[first]))
        else:
            undecided.append(bool(path[-1] > 0.5))
    counts = {"gates": paths.shape[1], "dead": int((paths[-1] <= DEAD).sum()), "flagged": int(flagged.any(0).sum())}
    counts |= {"caught": len(leads), "wrong": wrong, "undecided": len(undecided), "leaning": sum(undecided)}
    return Row(rule, **counts, lead=statistics.median(leads) if leads else None)


def shadow_run(s: RunConfig) -> dict[str, Any]:
    """Train on the digits; the table's rows for units and layers, accuracy and size of what was found, paths of θ."""
    data, order, coins, _ = load_digits(), stream("order", s.seed), stream("masks", s.seed), torch.manual_seed(s.seed)
    network = Network(s.width or 16, int(s.network.removeprefix("resnet")))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    is_branch, structure = network.is_branch, network.structure()
    theta = torch.full(is_branch.shape, s.theta_start)
    cost = structure.costs(theta, s.nu, s.alpha, s.beta)  # κ; constant: no two groups of units meet in a basic block
    optimizer = torch.optim.SGD(network.parameters(), s.lr, s.momentum, weight_decay=s.decay)
    worth, rho, seen, etas, records = Difference(is_branch), network.weight_norms()[1], [], [], []
    step, total = 0, s.epochs * (len(data.train_labels) // s.batch)
    progress, window = Progress("training", total), -(-s.tracker.window // s.tracker.every)  # in intervals
    while step < total:
        for images, labels in batches(data, s.batch, order, channels_last=True):
            step, schedule = step + 1, cosine(step, total)
            masks = (torch.rand(s.batch, len(theta), generator=coins) < theta).float().requires_grad_()
            losses = F.cross_entropy(network(images, masks), labels, reduction="none")
            optimizer.zero_grad()
            losses.mean().backward()
            assert masks.grad is not None  # ∂(mean loss)/∂ξ
            xi, slopes, loss = masks.detach().double(), masks.grad.double() * s.batch, losses.detach().double()[:, None]
            acting = (xi[:, network.parent] > 0) | is_branch  # a unit acts only where its branch is on
            seen.append((*sides(xi, slopes, acting), sides(xi, loss, acting)[1]))
            before, slope = theta.clone(), worth(*seen[-1], s.batch).float() + cost
            # θ ← clip(θ − lr_θ (D̂ + κ), 0, 1), after some steps of standing still; W by momentum SGD, below
            theta.sub_(slope, alpha=s.gate_lr * schedule if step > s.hold else 0.0).clamp_(0, 1)
            if step % s.tracker.every == 0:
                last, (rho_in, rho) = rho, network.weight_norms()
                eta = pull(seen, is_branch) / rho.double()
                etas.append(torch.stack([eta, eta / rho_in.double()]))  # of the linear and of the bilinear bound
                records.append((step, before, flags(s, network, before, cost.double(), etas[-window:])))
                worth.follow(rho / last)
                seen.clear()
            optimizer.param_groups[0]["lr"] = s.lr * schedule
            optimizer.step()
            progress.advance()

    steps, thetas, marked = zip(*records, strict=True)
    paths, late = torch.stack(thetas), torch.tensor(steps)[:, None] >= s.tracker.warmup  # before it no rule may flag
    flagged = {rule: torch.stack([each[rule] for each in marked]) & late for rule in marked[0]}
    units = [judge(rule, steps, flag[:, ~is_branch], paths[:, ~is_branch]) for rule, flag in flagged.items()]
    del flagged["bilinear"]  # a branch has no second norm
    layers = [judge(rule, steps, flag[:, is_branch], paths[:, is_branch]) for rule, flag in flagged.items()]
    on, parent = theta >= 0.5, network.parent  # the network that was found: every gate on or off
    on &= torch.zeros_like(theta).index_add(0, parent, (on & ~is_branch).float())[parent] > 0  # no branch without units
    on &= on[parent]  # no unit without its branch
    with torch.no_grad():
        right = sum(int((network.eval()(x, on[None].float()).argmax(1) == y).sum()) for x, y in test_batches(data))
    found = {"units": units, "layers": layers, "theta": paths, "accuracy": right / len(data.test_labels)}
    return found | {"macs": float(structure.macs(on.float()) / structure.full_macs)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m training.minimal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=lambda text: replace(preset("digits"), seed=int(text)), default="0", dest="s")
    result = shadow_run(parser.parse_args().s)
    print("Units:", as_text(result["units"]), "Layers:", as_text(result["layers"]), sep="\n\n", end="\n\n")
    print(f"Test accuracy {result['accuracy']:.2%} with {result['macs']:.1%} of the multiply–accumulates.")
