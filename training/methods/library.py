"""Magnitude pruning after training through the library torch-pruning, then retraining: its users' choice today.

The library looks at a copy of the trained network and says which filters it would remove: L2 magnitude over all layers
together, coupled weights included (its `MagnitudePruner`, after Fang et al., DepGraph, 2023). What it names leaves by
`training.gating.removal`, as for every other method, so that the optimizer, the counts and resuming are the same; the
outputs of the two pruned networks are compared on the spot. FLOPs are counted by this package's polynomial.

The library takes a ratio of channels. As it rises, channels go one by one in the order of their importance; a layer
whose channels would all go stays whole, so what is left does not always fall. Of all that the order can give the
nearest to the target is taken. How near that is depends on the trained weights, and is known only after training: a
step is one unit, so in a small network it may miss by more than other methods. The run then says by how much, and its
counts hold it (`off_target`).

Only gated units are offered to it. It could also prune the channels of residual streams, which no method here touches;
for the CIFAR networks' zero-padded shortcuts its graph is wrong (1.6.1 fails with an index out of range).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.engine.method import Method, RunContext
from training.errors import InputError, first_line
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.methods.after_training import AfterTraining, PrunesOnce
from training.methods.amount import TOLERANCE, check_fraction, missed, off_target
from training.methods.whole_units import whole_units

__all__ = ["Library"]


@dataclass(frozen=True)
class Library(AfterTraining):
    """Settings of pruning by the library.

    Attributes:
        share: of the network's multiply–accumulates that stays, in (0, 1).
            The nearest that the library's ranking of the trained filters can give is taken; see the top of the file.

    Raises:
        InputError: for a setting out of range.
    """

    name: ClassVar[str] = "torch-pruning"
    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("share", self.share)

    def build(self, context: RunContext) -> Method:
        """Return what removes the library's choice between the phases.

        Raises:
            InputError: without the library, for a network that it does not prune rightly, or a target that no choice
                of units meets within `amount.TOLERANCE`, whatever the ranking.
        """
        return _LibraryPruner(context, self)


class _LibraryPruner(PrunesOnce):
    def __init__(self, context: RunContext, settings: Library) -> None:
        if find_spec("torch_pruning") is None:
            raise InputError("method torch-pruning needs the library: pip install -e '.[compare]' in the clone")
        super().__init__(context, settings)
        self.settings = settings
        if not self.gates.units:
            raise InputError("network must have gated units for torch-pruning to remove; got none")
        whole_units(np.ones(len(self.full.units)), self.full, settings.share)  # could any choice of units do?
        # Whether the library can handle the network, and goes by its ranking, shows before it is trained.
        count = max(1, self.gates.units // 2)
        if (self._named(_ratio(count, self.gates.units)) != self._lowest()[count - 1]).any():
            raise InputError(
                f"network {self.config.network} is not pruned by torch-pruning in the order of its ranking"
            )

    def choose(self) -> Bool[np.ndarray, " gate"]:
        """Return the choice at the library's ratio whose result is nearest to the target; of two as near, the lower."""
        target = self.settings.share * self.full.full_macs
        off = [
            abs(float(self.structure.macs(1.0 - going)) - target) if going.any() else np.inf for going in self._lowest()
        ]
        return self._named(_ratio(int(np.argmin(off)) + 1, self.gates.units))

    def removal_note(self) -> str:
        """Return how far off the target the network is, where it missed it."""
        return missed(self.settings.share, self.structure, TOLERANCE)

    def counts(self) -> dict[str, float | int]:
        """Return also how far the network, as it is, is from the target, relative to it."""
        return super().counts() | {"off_target": off_target(self.settings.share, self.structure)}

    def _lowest(self) -> list[Bool[np.ndarray, " gate"]]:
        """What leaves as the library's ratio rises: the lowest unit, the two lowest, …; no layer is emptied. [unit]"""
        self.gates.open()
        images = torch.zeros(1, *self.shape, device=self.config.device)
        with self._handled():
            values = importances(copy.deepcopy(self.network), images)
        found = []
        for threshold in np.sort(values):
            going = np.zeros(len(self.gates.theta), bool)
            going[: len(values)] = values <= threshold
            for part in np.split(going[: len(values)], np.cumsum(self.gates.sizes[: len(self.gates.groups)])[:-1]):
                part &= not part.all()
            found.append(going)
        return found

    @contextmanager
    def _handled(self) -> Iterator[None]:
        """Name the network if the library fails."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = first_line(error)
            raise InputError(f"network {self.config.network} cannot be handled by torch-pruning: {reason}") from error

    def _named(self, ratio: float) -> Bool[np.ndarray, " gate"]:
        """What the library would remove at a ratio of channels; the two pruned networks are compared."""
        self.gates.open()
        pruned = copy.deepcopy(self.network)
        images = torch.zeros(1, *self.shape, device=self.config.device)
        with self._handled():
            going = named(pruned, images, ratio)
            alike = _alike(self.network, pruned, going, self.shape)
        if not alike:
            raise InputError(f"network {self.config.network} is not pruned rightly by torch-pruning: outputs differ")
        return going


def named(network: nn.Module, example: Tensor, ratio: float) -> Bool[np.ndarray, " gate"]:
    """Return what torch-pruning's magnitude pruner removes from a network, in place, of its gated units.

    Args:
        network: gated, without masks.
        example: images that it takes.
        ratio: of all gated channels, in (0, 1).

    Returns:
        Which gates its choice is. [gate]
    """
    pruner, first = _pruner(network, example, ratio)
    gates = Gates(network)  # type: ignore[arg-type]
    going = np.zeros(len(gates.theta), bool)
    for group in list(pruner.step(interactive=True)):
        root = group[0]
        going[first[root.dep.target.module] + np.array(root.idxs, int)] = True  # there may be none
        group.prune()
    return going


def importances(network: nn.Module, example: Tensor) -> Float[np.ndarray, " unit"]:
    """Return what torch-pruning ranks all gated units by, group after group; see `named`."""
    pruner, first = _pruner(network, example, 0.5)
    values = np.zeros(Gates(network).units)  # type: ignore[arg-type]
    for group in pruner.DG.get_all_groups(
        ignored_layers=pruner.ignored_layers, root_module_types=pruner.root_module_types
    ):
        start, found = first[group[0].dep.target.module], pruner.estimate_importance(group).double().cpu().numpy()
        values[start : start + len(found)] = found
    return values


def _pruner(network: nn.Module, example: Tensor, ratio: float) -> tuple[Any, dict[nn.Module, int]]:
    """The library's pruner, and the place of each layer's first unit among the gates."""
    import torch_pruning

    gates = Gates(network)  # type: ignore[arg-type]
    starts = np.cumsum([0, *gates.sizes[: len(gates.groups)]])
    first: dict[nn.Module, int] = {g.producer: int(start) for g, start in zip(gates.groups, starts, strict=False)}
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    pruner = torch_pruning.pruner.MagnitudePruner(
        network.eval(),
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=ratio,
        ignored_layers=[layer for layer in layers if layer not in first],
    )
    return pruner, first


def _ratio(count: int, units: int) -> float:
    """The ratio of channels at which the library takes so many of them, which rounds up."""
    return (count - 0.5) / units


@torch.no_grad()
def _alike(network: nn.Module, pruned: nn.Module, going: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether removing the library's choice here gives the network that the library has made of it."""
    own = copy.deepcopy(network)
    parameter = next(own.parameters())
    shrink(own, None, Gates(own).to(parameter.device), going)  # type: ignore[arg-type]
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)).to(parameter)
    ours, theirs = own.eval()(images), pruned.eval()(images)
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(ours.abs().max()))
