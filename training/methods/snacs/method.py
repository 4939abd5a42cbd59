"""SNACS: kernels between consecutive layers leave a trained network at once, by how much they connect; then retraining.

After Ganesh et al., "Slimming Neural Networks using Adaptive Connectivity Scores" (arXiv 2006.12463), read from its
abstract and from what is known of the released code. Where these leave something open, the files named here say what
this project's reading is:

1. every kernel's score on real activations, a number of images of each class (`scores`, `layers`);
2. critical filters keep all their kernels (`sensitivity`);
3. every layer has its own upper limit, from a classifier of its activations (`limits`);
4. the lowest scores of the whole network go, no layer's beyond its limit (`within`);
5. they are held at zero in retraining (`kernel_masks`), and filters that are left without use leave the network; their
   constant outputs leave with them, which retraining makes up for.

Its result has both: what of the parameters the kernels leave, and the structure that is really smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from training.engine.method import Method, RunContext
from training.errors import InputError
from training.gating.removal import Shrunk
from training.methods.after_training import AfterTraining, PrunesOnce
from training.methods.snacs.kernel_masks import KernelMasks, unused
from training.methods.snacs.layers import Pair, layers_of
from training.methods.snacs.limits import GRID, kept_at, upper_limits
from training.methods.snacs.samples import images_of_each_class
from training.methods.snacs.scores import check_scale, information, normalised, scaled
from training.methods.snacs.sensitivity import critical_count, critical_units, protected_kernels

__all__ = ["Choice", "Snacs", "within"]


@dataclass(frozen=True)
class Snacs(AfterTraining):
    """Settings of SNACS.

    Attributes:
        share: of the kernels that the layers' limits let go, in (0, 1]. At 1, the default, every layer goes to its
            limit: then scores rank kernels within a layer, and how they compare between layers plays no part.
        per_class: images of each class whose activations are looked at, ≥ 2.
        scale: of the information by the kernel's weights: gaussian (the default, an option of the released code: it
            lowers the score of strong kernels), magnitude or none; see `scores`.
        protect: share of every layer's filters that are critical, in [0, 1); 0: none.
        drop: what a layer's classifier may lose of its range of accuracies, in [0, 1].

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "snacs"
    share: float = 1.0
    per_class: int = 250
    scale: str = "gaussian"
    protect: float = 0.1
    drop: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise InputError(f"share must be in (0, 1]; got {self.share}")
        if self.per_class < 2:
            raise InputError(f"per_class must be ≥ 2; got {self.per_class}")
        check_scale(self.scale)
        if not 0 <= self.protect < 1:
            raise InputError(f"protect must be in [0, 1); got {self.protect}")
        if not 0 <= self.drop <= 1:
            raise InputError(f"drop must be in [0, 1]; got {self.drop}")

    def build(self, context: RunContext) -> Method:
        """Return what masks, learns and removes; see the top of the file.

        Raises:
            InputError: for a network of fewer than three layers, or with layers whose kernels do not join one filter
                with one other, and for settings with which no kernel can go, whatever the training.
        """
        return _KernelPruner(context, self)


@dataclass(frozen=True)
class Choice:
    """What was decided about the layers, in order of execution.

    Attributes:
        names: of the layers.
        scores: of every kernel. [layer][child, parent]
        protected: kernels of critical filters. [layer][child, parent]
        limits: upper limits, in per cent of the layer's kernels. [layer]
        kept: kernels that stay. [layer][child, parent]
        spared: which units are critical, group after group. [unit]
    """

    names: list[str]
    scores: list[np.ndarray]
    protected: list[np.ndarray]
    limits: list[int]
    kept: list[np.ndarray]
    spared: np.ndarray


def within(
    scores: Sequence[Float[np.ndarray, " _"]],
    orders: Sequence[Int[np.ndarray, " _"]],
    limits: Sequence[int],
    share: float,
) -> list[Int[np.ndarray, " _"]]:
    """Return which kernels of each layer go: the lowest scores of all, none beyond its layer's limit.

    Args:
        scores: of each layer's kernels.
        orders: of each layer, the kernels that may go, lowest score first.
        limits: of each layer, in per cent of its kernels.
        share: of what the limits let go, rounded down to whole kernels.

    Example:
        >>> scores = [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.15, 0.9])]
        >>> [gone.tolist() for gone in within(scores, [np.arange(4), np.arange(2)], [75, 50], 0.5)]
        [[0], [0]]
    """
    allowed = [order[: len(score) * limit // 100] for score, order, limit in zip(scores, orders, limits, strict=True)]
    layer = np.repeat(np.arange(len(allowed)), [len(kernels) for kernels in allowed])
    values = np.concatenate([score[kernels] for score, kernels in zip(scores, allowed, strict=True)])
    first = np.argsort(values, kind="stable")[: int(share * len(values))]  # within a layer the order's own
    taken = np.bincount(layer[first], minlength=len(allowed))
    return [kernels[:count] for kernels, count in zip(allowed, taken, strict=True)]


def _check_some_can_go(pairs: Sequence[Pair], settings: Snacs) -> None:
    """Refuse what leaves every kernel where it is even if each layer's limit is the highest there is."""
    most = 0
    for pair in pairs:
        parents = pair.parents - critical_count(pair.parents, settings.protect)
        children = pair.children - (critical_count(pair.children, settings.protect) if pair.target is not None else 0)
        most += min(parents * children, pair.parents * pair.children * GRID[-1] // 100)
    if most == 0:
        raise InputError(f"protect must leave kernels that may go; got {settings.protect}, and none is left")
    if int(settings.share * most) == 0:
        raise InputError(
            f"share must be ≥ 1/{most}, so that a kernel goes: no more than {most} can, in this network and with "
            f"protect {settings.protect}; got {settings.share}"
        )


class _KernelPruner(PrunesOnce):
    """Chooses between the phases, holds the kernels from then on."""

    def __init__(self, context: RunContext, settings: Snacs) -> None:
        super().__init__(context, settings)
        self.settings = settings
        # Whether the network and the data can be handled shows now, before any training.
        pairs = layers_of(self.network, self.gates, self.structure)[1:-1]
        images_of_each_class(self.source, 1, self.config.seed)
        self._kernels = sum(pair.children * pair.parents for pair in pairs)
        _check_some_can_go(pairs, settings)
        self.masks: KernelMasks | None = None  # until kernels are pruned

    def choose(self) -> Bool[np.ndarray, " gate"]:
        """Return which kernels stay; what leaves is the units that they leave without use."""
        choice = self.look()
        kept = {name: torch.from_numpy(mask) for name, mask in zip(choice.names, choice.kept, strict=True)}
        self.ranks.check_equal("kernels that stay", *kept.values())
        self.masks = KernelMasks(self.network, kept)
        layers = [self.network.get_submodule(name) for name in choice.names]
        return unused(self.gates, dict(zip(layers, choice.kept, strict=True)), choice.spared)  # type: ignore[arg-type]

    def look(self) -> Choice:
        """Decide about every kernel of the network as it is; nothing is changed."""
        chosen, seed = self.settings, self.config.seed
        layers = layers_of(self.network, self.gates, self.structure)
        pairs = layers[1:-1]
        images, labels = images_of_each_class(self.source, chosen.per_class, seed)
        weights = normalised(layers)
        units = {group.name: critical_units(group, layers, weights, chosen.protect) for group in self.gates.groups}
        found = information(self.network, self.gates, pairs, images)
        scores, protected, orders = [], [], []
        for pair, weight, nats in zip(pairs, weights[1:-1], found, strict=True):
            score = scaled(nats, weight, chosen.scale)
            stay = protected_kernels(pair, weight, units, chosen.protect)
            order = np.lexsort((weight.ravel(), score.ravel()))  # of equal scores the weakest first
            scores.append(score)
            protected.append(stay)
            orders.append(order[~stay.ravel()[order]])
        limits = upper_limits(self.network, self.gates, pairs, orders, images, labels, chosen.drop)
        self._count(pairs, orders, len(images))
        kept = []
        for score, gone in zip(scores, within([s.ravel() for s in scores], orders, limits, chosen.share), strict=True):
            mask = np.ones(score.size, bool)
            mask[gone] = False
            kept.append(mask.reshape(score.shape))
        spared = np.concatenate([np.zeros(0, bool), *(units[group.name] for group in self.gates.groups)])
        return Choice([pair.name for pair in pairs], scores, protected, limits, kept, spared)

    def _count(self, pairs: list[Pair], orders: Sequence[Int[np.ndarray, " _"]], images: int) -> None:
        """Two looks of the whole network, for scores and for limits; and each layer again at every share of its own."""
        self.count_forward(2 * images)
        macs = {layer.name: layer.macs for layer in self.structure.layers}  # of one kernel
        for pair, order in zip(pairs, orders, strict=True):
            shares = {int(kept_at(order, (pair.children, pair.parents), percent).sum()) for percent in GRID}
            self.count_forward(len(shares) * images, macs[pair.name] * pair.children * pair.parents)

    def after_step(self) -> None:
        """Hold pruned kernels at zero."""
        if self.masks is not None:
            self.masks.hold(self.optimizer)

    def remove(self, going: np.ndarray) -> Shrunk:
        """Prune the kernels, then as for every method; their masks lose the same rows and columns."""
        if self.masks is not None:
            self.masks.hold(self.optimizer)
        groups, sizes = self.gates.groups, self.gates.sizes
        shrunk = super().remove(going)
        stay = torch.zeros(sum(sizes), dtype=torch.bool)
        stay[torch.from_numpy(shrunk.kept)] = True
        if self.masks is not None:
            self.masks.follow(groups, [part.nonzero().flatten() for part in stay.split(sizes)[: len(groups)]])
        return shrunk

    def counts(self) -> dict[str, float | int]:
        """Return also the kernels that are on, and how many parameters they leave of the structure's."""
        counts = super().counts()
        kernels = self.masks.counts() if self.masks is not None else {"kernels_on": self._kernels, "weights_held": 0}
        return counts | {
            "kernels_on": kernels["kernels_on"],
            "kernels_full": self._kernels,
            "parameters_masked": counts["parameters"] - kernels["weights_held"],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return also the kernels' masks."""
        return super().state_dict() | {"kernels": self.masks.kept if self.masks is not None else None}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the kernels' masks too; see `PruningMethod.restore`."""
        kernels = state["kernels"]
        super().restore(state)
        self.masks = KernelMasks(self.network, kernels) if kernels is not None else None
