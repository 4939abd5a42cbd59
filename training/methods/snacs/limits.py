"""Up to which share each layer can be pruned: where a classifier no longer tells the classes apart by its filters.

For each layer by itself: a linear support-vector classifier is fit on its filters' activations, then scored on those of
the same layer with the lowest-scored 1, 3, …, 97% of its kernels gone and all else whole. The limit is the largest
share whose accuracy is at least max − 0.7 (max − min) over these shares.

The grid and the rule are those of SNACS's released code (read, not copied); the abstract of arXiv 2006.12463 speaks of
"operating constraints that jointly define the upper pruning percentage limits". The classifier here is scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from training.gating.gates import Gates
from training.methods.snacs.layers import Pair, watch

__all__ = ["GRID", "kept_at", "largest", "upper_limits"]

#: Shares that are tried, in per cent.
GRID = range(1, 98, 2)


def kept_at(order: Int[np.ndarray, " candidate"], shape: tuple[int, int], percent: int) -> Bool[np.ndarray, "c p"]:
    """Return which kernels of a layer are left at a share: the first ones of an order go, never more than the share.

    Args:
        order: flat indices of the kernels that may go, those that go first in front.
        shape: children and parents.
        percent: share of all the layer's kernels, rounded down to whole ones.

    Example:
        >>> kept_at(np.array([3, 0]), (2, 2), 49)
        array([[ True,  True],
               [ True, False]])
    """
    children, parents = shape
    kept = np.ones(children * parents, bool)
    kept[order[: children * parents * percent // 100]] = False
    return kept.reshape(shape)


def largest(accuracies: Sequence[float], drop: float = 0.7) -> int:
    """Return the largest share of the grid whose accuracy is still at least max − drop·(max − min), in per cent.

    Example:
        >>> largest([0.9] * 10 + [0.5] * 5 + [0.1] * 34)
        29
        >>> largest([0.9] * 49)
        97
    """
    values = np.array(accuracies)
    above = values - values.min()  # so that a drop of 0 or 1 is met exactly, whatever the rounding
    enough = above >= (1 - drop) * above.max()
    return GRID[int(np.flatnonzero(enough)[-1])]


def upper_limits(
    network: nn.Module,
    gates: Gates,
    pairs: list[Pair],
    orders: Sequence[Int[np.ndarray, " _"]],
    images: Float[Tensor, "image c h w"],
    labels: Int[Tensor, " image"],
    drop: float = 0.7,
) -> list[int]:
    """Return the limit of each layer, in per cent of its kernels.

    Args:
        network: gated, trained; left as it was.
        gates: of the network.
        pairs: the layers.
        orders: for each of them, as in `kept_at`.
        images: on the network's device.
        labels: of the images.
        drop: how much of the range of accuracies may be lost, in [0, 1].
    """
    whole: dict[str, list[Tensor]] = {pair.name: [] for pair in pairs}
    masks = {
        pair.name: _distinct([kept_at(order, (pair.children, pair.parents), percent) for percent in GRID])
        for pair, order in zip(pairs, orders, strict=True)
    }
    pruned: dict[str, list[list[Tensor]]] = {name: [[] for _ in distinct] for name, (distinct, _) in masks.items()}

    def look(pair: Pair, inputs: Tensor, outputs: Tensor) -> None:
        whole[pair.name].append(pair.made(outputs).cpu())
        for into, kept in zip(pruned[pair.name], masks[pair.name][0], strict=True):
            with pair.without(torch.from_numpy(kept).to(inputs.device)):
                into.append(pair.made(pair.layer.forward(inputs)).cpu())  # not a call: that would be watched again

    watch(network, gates, pairs, images, look)
    limits, of = [], labels.cpu().numpy()
    for pair in pairs:
        distinct = _accuracies(torch.cat(whole[pair.name]), [torch.cat(parts) for parts in pruned[pair.name]], of)
        limits.append(largest([distinct[place] for place in masks[pair.name][1]], drop))
    return limits


def _distinct(masks: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Masks of growing shares without repetitions (a small layer has fewer kernels than shares), and where each is."""
    distinct = [masks[0]]
    places = []
    for mask in masks:
        if (mask != distinct[-1]).any():
            distinct.append(mask)
        places.append(len(distinct) - 1)
    return distinct, places


def _accuracies(whole: Tensor, pruned: Sequence[Tensor], labels: np.ndarray) -> list[float]:
    """Accuracy on each of some activations, of a classifier that was fit on the first."""
    from sklearn.pipeline import make_pipeline  # here: a second of imports
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    # The primal problem is solved by Newton's method, without random numbers.
    classifier = make_pipeline(StandardScaler(), LinearSVC(dual=False, tol=1e-3))
    classifier.fit(whole.double().numpy(), labels)
    return [float(classifier.score(activations.double().numpy(), labels)) for activations in pruned]
