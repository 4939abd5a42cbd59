"""Magnitude pruning after training through the library torch-pruning, then retraining: its users' choice today.

The library looks at a copy of the trained network and says which filters it would remove: L2 magnitude over all layers
together, coupled weights included (its `MagnitudePruner`, after Fang et al., DepGraph, 2023). What it names leaves by
`training.shrink`, as for every other system, so that the optimizer, the counts and resuming are the same; the outputs
of the two pruned networks are compared on the spot. FLOPs are counted by this package's polynomial, and the library's
ratio is searched for the target.

Only gated units are offered to it. It could also prune the channels of residual streams, which no system here touches;
for the CIFAR networks' zero-padded shortcuts its graph is wrong (1.6.1 fails with an index out of range).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from training.errors import InputError
from training.gates import Gates
from training.method import Method, Setting
from training.methods.after_training import AfterTraining, PrunesOnce
from training.methods.amount import check_fraction
from training.shrink import shrink

__all__ = ["Library"]


@dataclass(frozen=True)
class Library(AfterTraining):
    """Settings.

    Attributes:
        share: of the network's multiply–accumulates that stays, in (0, 1).
            The library takes a ratio of channels; the one that comes nearest is used.

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "torch-pruning"
    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("share", self.share)

    def method(self, setting: Setting) -> Method:
        """Removes between the phases.

        Raises:
            InputError: without the library, for a network that it does not prune rightly, or one whose gated units
                are too small a part of it for the target.
        """
        return _Removes(setting, self)


class _Removes(PrunesOnce):
    def __init__(self, setting: Setting, settings: Library) -> None:
        if find_spec("torch_pruning") is None:
            raise InputError("method torch-pruning needs the library: pip install 'pruning-dynamics[compare]'")
        super().__init__(setting, settings)
        self.settings = settings
        if not self.gates.units:
            raise InputError("network must have gated units for torch-pruning to remove; got none")
        # One unit a group stays: what no ratio can go below, known before any training.
        least = np.ones(self.full.gates)
        for where in self.full.unit_slices.values():
            least[where.start + 1 : where.stop] = 0
        floor = float(self.full.macs(least)) / self.full.full_macs
        if settings.share < floor:
            raise InputError(
                f"share must be ≥ {floor:.4f}, what is left with one unit in every group; got {settings.share}"
            )
        self._named(0.5)  # whether the library can handle the network shows before it is trained

    def choose(self) -> Bool[np.ndarray, " gate"]:
        """By the ratio of the library whose result is nearest to the target."""
        target = self.settings.share * self.full.full_macs
        tried: dict[float, tuple[float, np.ndarray]] = {}
        low, high = 0.0, 1.0
        for _ in range(14):  # the library's ratio is of channels; what is left falls as it rises
            ratio = (low + high) / 2
            going = self._named(ratio)
            left = float(self.structure.macs(1.0 - going))
            tried[ratio] = abs(left - target), going
            low, high = (ratio, high) if left > target else (low, ratio)
        return min(tried.values(), key=lambda found: found[0])[1]

    def _named(self, ratio: float) -> Bool[np.ndarray, " gate"]:
        """What the library would remove at a ratio of channels; the two pruned networks are compared."""
        self.gates.open()
        pruned = copy.deepcopy(self.network)
        images = torch.zeros(1, *self.shape, device=self.config.device)
        try:
            going = named(pruned, images, ratio)
            alike = _alike(self.network, pruned, going, self.shape)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"network {self.config.network} cannot be handled by torch-pruning: {reason}") from error
        if not alike:
            raise InputError(f"network {self.config.network} is not pruned rightly by torch-pruning: outputs differ")
        return going


def named(network: nn.Module, example: Tensor, ratio: float) -> Bool[np.ndarray, " gate"]:
    """What torch-pruning's magnitude pruner removes from a network, in place, of its gated units.

    Args:
        network: gated, without masks.
        example: images that it takes.
        ratio: of all gated channels, in (0, 1).

    Returns:
        Which gates its choice is. [gate]
    """
    import torch_pruning

    gates = Gates(network)  # type: ignore[arg-type]
    starts = np.cumsum([0, *gates.sizes[: len(gates.groups)]])
    first = {group.producer: int(start) for group, start in zip(gates.groups, starts, strict=False)}
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    pruner: Any = torch_pruning.pruner.MagnitudePruner(
        network.eval(),
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=ratio,
        ignored_layers=[layer for layer in layers if layer not in first],
    )
    going = np.zeros(len(gates.theta), bool)
    for group in list(pruner.step(interactive=True)):
        root = group[0]
        going[first[root.dep.target.module] + np.array(root.idxs)] = True
        group.prune()
    return going


@torch.no_grad()
def _alike(network: nn.Module, pruned: nn.Module, going: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether removing the library's choice here gives the network that the library has made of it."""
    own = copy.deepcopy(network)
    parameter = next(own.parameters())
    shrink(own, None, Gates(own).to(parameter.device), going)  # type: ignore[arg-type]
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    ours, theirs = own.eval()(images), pruned.eval()(images)
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(ours.abs().max()))
