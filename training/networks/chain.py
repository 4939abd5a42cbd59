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
from training.gating.channelwise import keeps_channels_apart, keeps_zero
from training.gating.sites import Branch, GateSite, Norm, UnitGroup, Weighted

__all__ = ["Chain", "Residual"]


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

    Between a layer and its site, and between the site and the layer that reads its units, may stand what
    `training.gating.channelwise` lists; before the site one batch normalisation besides.

    Example:
        >>> from training.gating.gates import Gates
        >>> net = Chain(nn.Linear(4, 3), nn.ReLU(), GateSite(3), nn.Linear(3, 2))
        >>> [(group.name, group.site.count) for group in net.unit_groups()], len(Gates(net).theta)
        ([('2', 3)], 3)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return what `nn.Sequential` would; where there are masks, a ReLU and the site behind it are one operation.

        Raises:
            InputError: for masks of a dense layer's units where it reads more than one vector a sample: its units lie
                along the last dimension, a site's along the second.
        """
        rest: list[nn.Module] = [*self]
        made: nn.Module | None = None
        while rest:
            part, *rest = rest
            site = part if isinstance(part, GateSite) else rest[0] if isinstance(part, nn.ReLU) and rest else None
            if not isinstance(site, GateSite) or site.mask is None:
                x = part(x)
                made = part if isinstance(part, Weighted) else made
                continue
            if isinstance(made, nn.Linear) and x.dim() != 2:
                raise InputError(
                    f"site of {site.count} units must get the [batch, units] of the dense layer before it; got "
                    f"{list(x.shape)}: along its second dimension lie no units"
                )
            x, rest = (site(x), rest) if part is site else (site.relu(x), rest[1:])
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
    parts = [(name, part) for name, part in chain._modules.items() if part is not None]  # a part used twice, twice
    for at, (name, part) in enumerate(parts):
        if isinstance(part, GateSite):
            yield _group(prefix + name, part, parts[:at][::-1], parts[at + 1 :], branch)
        elif isinstance(part, Residual) and not part.removed:
            if branch is not None:
                raise InputError(f"residual block {prefix + name!r} must not lie in another's branch")
            yield from _groups(part.branch, f"{name}.", name)


def _group(
    name: str,
    site: GateSite,
    before: Sequence[tuple[str, nn.Module]],
    behind: Sequence[tuple[str, nn.Module]],
    branch: str | None,
) -> UnitGroup:
    """Return the group of one site, from the named modules before it, nearest first, and those behind it."""
    norm: Norm | None = None
    producer: Weighted | None = None
    found = "no layer before"
    for place, module in before:
        if isinstance(module, Weighted):
            producer = module
            break
        if isinstance(module, Norm) and norm is None:
            norm = module
        elif not keeps_channels_apart(module):
            found = f"{_shown(module)} before it, at {place!r}"
            break
    if producer is None:
        raise InputError(_REFUSED.format(name=name, found=found))
    flat = not isinstance(producer, nn.Conv2d) or any(isinstance(module, nn.Flatten) for _, module in before)
    for place, module in behind:
        if isinstance(module, nn.Linear) and not flat:
            found = f"a dense layer at {place!r} that reads an image's last dimension, without nn.Flatten() before it"
            raise InputError(_REFUSED.format(name=name, found=found))
        if isinstance(module, Weighted):
            return UnitGroup(name, site, producer, norm, module, branch)
        if not keeps_zero(module):
            raise InputError(_REFUSED.format(name=name, found=f"{_shown(module)} behind it, at {place!r}"))
        flat = flat or isinstance(module, nn.Flatten)
    raise InputError(_REFUSED.format(name=name, found="nothing behind"))


#: What a refusal says.
_REFUSED = (
    "site {name!r} must stand between two layers, its units read by a convolution or dense layer, with nothing between "
    "that mixes channels or has entries for each (but a BatchNorm), and nothing behind the site that turns zero into "
    "something; got {found}"
)


def _shown(module: nn.Module) -> str:
    """Return a module as one line: its arguments, or its class where these are long."""
    text = repr(module)
    return text if "\n" not in text else type(module).__name__
