"""Chains of layers find their own gates: plain networks, and residual ones put together from parts.

A `Chain` is an `nn.Sequential` whose gates are found by position. Put a `GateSite` behind a layer's activation to gate
its units, and a `Residual` where a branch is to be gated:

    x → conv → norm → relu → GateSite → conv → …          units of the first convolution
    x → Residual(Chain(…, norm)) → relu → …               y = shortcut(x) + ξ · branch(x)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from training.errors import InputError
from training.gating.sites import Branch, GateSite, Norm, UnitGroup, Weighted

__all__ = ["Chain", "Residual"]

#: What may stand between a site and the layer that reads its units: each maps zero to zero, channel by channel.
_KEEPS_ZERO = (
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Identity, nn.Dropout, nn.Flatten),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)


class Residual(nn.Module):
    """y = shortcut(x) + ξ · branch(x).

    Args:
        branch: ends in a batch normalisation, whose scale and shift are the weights of the branch's gate. Its output
            has the shortcut's shape.
        shortcut: by default x itself.

    Attributes:
        removed: whether the branch is gone and the block is its shortcut.

    Raises:
        InputError: for a branch that does not end in a batch normalisation.
    """

    def __init__(self, branch: Chain, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        if not len(branch) or not isinstance(branch[-1], Norm):
            end = type(branch[-1]).__name__ if len(branch) else "nothing"
            raise InputError(f"branch must end in a batch normalisation; got {end}")
        self.branch = branch
        self.site = GateSite(1)
        self.shortcut = shortcut if shortcut is not None else nn.Identity()
        self.removed = False

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of the shortcut's shape, from x [batch, channels, ...]."""
        if self.removed:
            return self.shortcut(x)
        return self.shortcut(x) + self.site(self.branch(x))

    def remove_branch(self) -> None:
        """Remove the branch for good; what is left is the shortcut."""
        del self.branch, self.site
        self.removed = True


class Chain(nn.Sequential):
    """Modules one after the other, with gates where sites and residual blocks stand.

    A group is named after its site, a branch after its residual block: "units1", "section2", "section2.units3" where
    the modules are named so (by an ordered dictionary, as in `nn.Sequential`), otherwise by their places.

    Example:
        >>> from training.gating.gates import Gates
        >>> net = Chain(nn.Linear(4, 3), nn.ReLU(), GateSite(3), nn.Linear(3, 2))
        >>> [(group.name, group.site.count) for group in net.unit_groups()], len(Gates(net).theta)
        ([('2', 3)], 3)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return what `nn.Sequential` would; where there are masks, a ReLU and the site behind it are one operation."""
        rest: list[nn.Module] = [*self]
        while rest:
            part, *rest = rest
            site = rest[0] if rest else None
            if isinstance(part, nn.ReLU) and isinstance(site, GateSite) and site.mask is not None:
                x, rest = site.relu(x), rest[1:]
            else:
                x = part(x)
        return x

    def unit_groups(self) -> Sequence[UnitGroup]:
        """Return the units gated by the sites of this chain and of the branches in it, in order of execution.

        Raises:
            InputError: for a site without a layer before or behind it, or with something in between that stops a
                unit from being removed.
        """
        return list(_groups(self, "", None))

    def branches(self) -> Sequence[Branch]:
        """Return the branches of the residual blocks of this chain, in order of execution."""
        return [
            Branch(name, block.site, _last_norm(block), block, block.shortcut)
            for name, block in self.named_children()
            if isinstance(block, Residual) and not block.removed
        ]


def _last_norm(block: Residual) -> Norm:
    norm = block.branch[-1]
    assert isinstance(norm, Norm)  # looked at when the block was made
    return norm


def _groups(chain: Chain, prefix: str, branch: str | None) -> Iterator[UnitGroup]:
    """Yield the groups of a chain that lies in `branch`, with `prefix` before their names."""
    parts = list(chain.named_children())
    for at, (name, part) in enumerate(parts):
        if isinstance(part, GateSite):
            before = [module for _, module in reversed(parts[:at])]
            yield _group(prefix + name, part, before, [module for _, module in parts[at + 1 :]], branch)
        elif isinstance(part, Residual) and not part.removed:
            if branch is not None:
                raise InputError(f"residual block {prefix + name!r} must not lie in another's branch")
            yield from _groups(part.branch, f"{name}.", name)


def _group(
    name: str, site: GateSite, before: Sequence[nn.Module], behind: Sequence[nn.Module], branch: str | None
) -> UnitGroup:
    """Return the group of one site, from the modules before it, nearest first, and those behind it."""
    norm: Norm | None = None
    producer: Weighted | None = None
    for module in before:
        if isinstance(module, Weighted):
            producer = module
            break
        if isinstance(module, Norm) and norm is None:
            norm = module
        elif isinstance(module, Residual | Chain | GateSite | Norm):
            break
    consumer = next((module for module in behind if not isinstance(module, _KEEPS_ZERO)), None)
    if producer is None or not isinstance(consumer, Weighted):
        found = "nothing" if consumer is None else type(consumer).__name__
        raise InputError(
            f"site {name!r} must stand between two layers, its units read by a convolution or dense layer (activation, "
            f"pooling and flattening may come first); got {'no layer before' if producer is None else found}"
        )
    return UnitGroup(name, site, producer, norm, consumer, branch)
