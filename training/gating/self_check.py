"""A network is tried on copies before anything relies on its gates: masked and removed must be the same.

On two copies some units of every group, and then the branches, are masked in the one and removed from the other. Both
must give the same outputs in evaluation, and in a training step the same outputs, gradients, statistics, weights and
optimizer state, momentum included: to remove and then step is to step and then remove. Where that fails, the group or
branch is named, and the first module whose output differs. So layers that mix channels, groups that list the wrong
layers, and tensors whose channels lie elsewhere are found, whatever the code between them.

The copies compute in double precision where the network can; their shifts and statistics are moved off the values
that all channels share at the start, which would hide a wrong one. In a training step batch normalisations use the
batch's statistics, and everything else is in evaluation mode: masked and removed networks draw other random numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from training.errors import InputError, first_line
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.gating.sites import Branch, UnitGroup, as_gated

__all__ = ["check_removal"]

#: Largest difference, in units of the largest number of its kind, by what the copies compute in.
_TOLERANCE = {torch.float64: 1e-8}
_COARSE = 1e-2
#: Images of more numbers come two at a time, others four.
_LARGE = 3 * 64 * 64
_BATCH_NORM = nn.modules.batchnorm._BatchNorm


class _DiffersError(Exception):
    """Masked and removed networks differ; says where."""


@dataclass
class _Side:
    """One of the two copies."""

    network: Any  # a module that lists its groups and branches
    optimizer: torch.optim.Optimizer
    gates: Gates
    images: Tensor

    def outputs(self) -> list[Tensor]:
        """Return the outputs for the images, those that are floating-point tensors."""
        leaves = tree_leaves(self.network(self.images))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]

    def evaluate(self) -> list[Tensor]:
        """Return the outputs in evaluation mode."""
        self.network.eval()
        with torch.no_grad():
            return self.outputs()

    def step(self) -> list[Tensor]:
        """Make one training step on a random linear function of the outputs, and return these."""
        self.network.eval()
        for module in self.network.modules():
            if isinstance(module, _BATCH_NORM):
                module.train()
        self.optimizer.zero_grad()
        outputs = self.outputs()
        loss = torch.stack([(out * _normal(out.shape, at).to(out)).mean() for at, out in enumerate(outputs)]).sum()
        if loss.requires_grad:
            loss.backward()
            self.optimizer.step()
        return [out.detach() for out in outputs]

    def remove(self, going: Tensor) -> None:
        """Take the masks away and remove gates."""
        self.gates.open()
        shrink(self.network, self.optimizer, self.gates, going)


def check_removal(
    network: nn.Module, input_shape: Sequence[int], optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Refuse a gated network from which removing units or branches differs from masking them.

    Neither the network nor the optimizer, buffers or random states change. It costs about as much as thirty small
    batches: 0.1 s for a small network, seconds for a deep one on one core.

    Args:
        network: gated. It must be one that can be copied, its lists those of the copy's modules.
        input_shape: of one image, without the batch.
        optimizer: of its weights: its kind of step and its state are checked too. None: momentum SGD.

    Raises:
        TypeError: for a network that does not list its unit groups and branches.
        InputError: naming the group or branch and the first module whose output differs, or the network if it cannot
            be copied or run.
    """
    gated = as_gated(network)
    if not gated.unit_groups() and not gated.branches():
        return
    devices = {p.device.index or 0 for p in network.parameters() if p.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)), torch.enable_grad():
        two = _prepared(network, optimizer, input_shape)
        one = _twin(two)
        try:
            for keys in _stages(one.gates):
                _compare(one, two, keys)
        except Exception as error:  # whatever a cut network raises: it is looked into
            _name_what_differs(network, optimizer, input_shape, error)


#: A group or a branch of either copy: whether it is a branch, and its name.
_Key: TypeAlias = tuple[bool, str]


def _key(place: UnitGroup | Branch) -> _Key:
    return isinstance(place, Branch), place.name


def _stages(gates: Gates) -> Iterator[list[_Key]]:
    """Yield what leaves together: units of all groups, then every second branch, then the other branches."""
    branches = [_key(branch) for branch in gates.residual if branch.block is not None]
    stages = [[_key(group) for group in gates.groups], branches[1::2], branches[::2]]
    yield from (stage for stage in stages if stage)


def _prepared(network: nn.Module, optimizer: torch.optim.Optimizer | None, shape: Sequence[int]) -> _Side:
    """Return a copy that has made a step, in double precision if it can run in it."""
    own = next(network.parameters()).dtype
    for dtype in dict.fromkeys((torch.float64, own)):
        try:
            side = _copied(network, optimizer, shape, dtype)
            side.evaluate()
            side.step()
        except InputError:
            raise
        except Exception as error:  # whatever a forward pass or an optimizer may raise
            if dtype is own:
                reason = first_line(error)
                raise InputError(
                    f"network {type(network).__name__} must make a training step on images of shape {list(shape)}, "
                    f"so that its gates can be checked; it cannot: {reason}"
                ) from error
        else:
            return side
    raise AssertionError("the last dtype returns or raises")


def _copied(
    network: nn.Module, optimizer: torch.optim.Optimizer | None, shape: Sequence[int], dtype: torch.dtype
) -> _Side:
    made: Any
    try:
        made, steps = copy.deepcopy((network, optimizer))
    except Exception as error:  # whatever a module's parts raise
        raise InputError(f"network {type(network).__name__} must be one that can be copied; {error}") from error
    made.to(dtype)
    for place in (*made.unit_groups(), *made.branches()):
        if place.site not in set(made.modules()):
            raise InputError(
                f"unit_groups() and branches() of {type(network).__name__} must list the modules of the network that "
                f"they are called on; those of a copy list the original's ({place.name!r})"
            )
    if steps is None:
        steps = torch.optim.SGD(made.parameters(), lr=0.01, momentum=0.9)
    for group in steps.param_groups:
        if isinstance(group.get("lr"), float):
            group["lr"] = 0.01
    for entries in steps.state.values():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.is_floating_point() and value.dim():
                entries[name] = value.to(dtype)
    _move_off(made)
    parameter = next(made.parameters())
    count = 4 if torch.Size(shape).numel() <= _LARGE else 2
    images = _normal((count, *shape), 0).to(parameter)
    return _Side(made, steps, Gates(made).to(parameter.device), images)


@torch.no_grad()
def _move_off(network: nn.Module) -> None:
    """Move what is the same for all channels at the start: biases, scales, statistics."""
    for at, parameter in enumerate(network.parameters()):
        if parameter.dim() <= 1 or bool((parameter == parameter.flatten()[0]).all()):
            parameter.add_(_normal(parameter.shape, at).to(parameter), alpha=0.1)
    for at, module in enumerate(network.modules()):
        if isinstance(module, _BATCH_NORM) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.add_(_normal(module.running_mean.shape, at).to(module.running_mean), alpha=0.1)
            module.running_var.mul_(1 + 0.1 * _normal(module.running_var.shape, at).to(module.running_var).tanh())


def _normal(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _twin(side: _Side) -> _Side:
    network, optimizer, gates = copy.deepcopy((side.network, side.optimizer, side.gates))
    gates.place(network)  # a copy of the gates alone holds the first network's sites
    return _Side(network, optimizer, gates, side.images)


def _places(gates: Gates) -> list[UnitGroup | Branch]:
    return [*gates.groups, *gates.residual]


def _going(gates: Gates, keys: Sequence[_Key]) -> Tensor:
    """Return which gates go: a third of the units of each group in `keys`, each branch there, and what depends."""
    remove = torch.zeros(len(gates.theta), dtype=torch.bool)
    parts = remove.split(gates.sizes)
    for at, (place, part) in enumerate(zip(_places(gates), parts, strict=True)):
        if _key(place) not in keys:
            continue
        if isinstance(place, Branch):
            part.fill_(place.block is not None)
        elif len(part) > 1:
            part[_normal([len(part)], at).argsort()[: max(1, len(part) // 3)]] = True
    return gates.with_dependents(remove.to(gates.theta.device))


def _compare(one: _Side, two: _Side, keys: Sequence[_Key]) -> None:
    """Mask in one and remove from two, compare both, then remove from one too: then both must be the same.

    Raises:
        _DiffersError: if they are not.
    """
    going = _going(one.gates, keys)
    if not bool(going.any()):
        return
    tolerance = _TOLERANCE.get(two.images.dtype, _COARSE)
    two.remove(going)
    one.gates.put((~going).to(two.images.dtype)[None])
    _check_same("outputs in evaluation", one.evaluate(), two.evaluate(), tolerance)
    _check_same("outputs in a training step", one.step(), two.step(), tolerance)
    one.remove(going)
    first, second = _contents(one), _contents(two)
    for kind in first.keys() | second.keys():
        _check_same(kind, first.get(kind, []), second.get(kind, []), tolerance)


def _contents(side: _Side) -> dict[str, list[Tensor]]:
    """Return all that a training step moves, by kind."""
    parameters = list(side.network.parameters())
    found = {
        "weights after a training step": [p.detach() for p in parameters],
        "gradients of a training step": [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters],
        "buffers after a training step": [b for b in side.network.buffers() if b.is_floating_point()],
    }
    for parameter in parameters:
        for name, value in side.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found.setdefault(f"{name!r} of the optimizer after a training step", []).append(value)
    return found


def _check_same(kind: str, first: Sequence[Tensor], second: Sequence[Tensor], tolerance: float) -> None:
    if [a.shape for a in first] != [b.shape for b in second]:
        raise _DiffersError(f"{kind} have other shapes")
    scale = max((float(a.abs().max()) for a in first if a.numel()), default=0.0)
    for a, b in zip(first, second, strict=True):
        if not torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
            raise _DiffersError(f"{kind} differ")


# ---- a network that is refused


def _name_what_differs(
    network: nn.Module, optimizer: torch.optim.Optimizer | None, shape: Sequence[int], error: Exception
) -> None:
    """Try every group and branch alone, and refuse the first with which masked and removed differ."""
    side = _prepared(network, optimizer, shape)
    for place in _places(side.gates):
        if isinstance(place, Branch) and place.block is None:
            continue
        one, two = _twin(side), _twin(side)
        try:
            _compare(one, two, [_key(place)])
        except Exception as alone:  # as above
            raise InputError(_refusal(place, _in_the_way(_twin(side), _twin(side), place), alone)) from alone
    raise InputError(f"units and branches must be removable together; {_said(error)}") from error


def _refusal(place: UnitGroup | Branch, module: str, error: Exception) -> str:
    kind, what = ("group", "some of its units") if isinstance(place, UnitGroup) else ("branch", "it")
    at = f", first at {module}" if module else ""
    return f"{kind} {place.name!r} cannot be removed rightly: a network without {what} must be the one with {what} " + (
        f"masked; {_said(error)}{at}"
    )


def _said(error: Exception) -> str:
    reason = first_line(error)
    return (
        reason if isinstance(error, _DiffersError | InputError) else f"it stops with {type(error).__name__}: {reason}"
    )


def _in_the_way(one: _Side, two: _Side, place: UnitGroup | Branch) -> str:
    """Return the first module whose output differs, or that cannot be run; empty if that cannot be said."""
    going = _going(one.gates, [_key(place)])
    at = [_key(each) for each in _places(one.gates)].index(_key(place))
    kept = (~going.split(one.gates.sizes)[at]).nonzero().flatten()
    count = place.site.count if isinstance(place, UnitGroup) else 0
    try:
        two.remove(going)
    except Exception:  # what it was refused for
        return ""
    one.gates.put((~going).to(one.images.dtype)[None])
    for run in (_Side.evaluate, _Side.step):
        (expected, stuck), (got, failed) = _outputs_of_modules(one, run), _outputs_of_modules(two, run)
        for key, (module, theirs) in got.items():
            if key in expected and not _alike(expected[key][1], theirs, kept, count):
                return f"{key[0]!r} ({type(module).__name__})"
        if stuck or failed:
            return stuck or failed
    return ""


def _outputs_of_modules(side: _Side, run: Any) -> tuple[dict[tuple[str, int], tuple[nn.Module, Tensor]], str]:
    """Return every module's outputs by its name and how often it ran before, and the module that could not be run."""
    seen: dict[tuple[str, int], tuple[nn.Module, Tensor]] = {}
    times: dict[str, int] = {}
    running: list[str] = []
    handles = []
    for name, module in side.network.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda m, i, name=name: running.append(name)))

            def leave(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                running.pop()
                times[name] = times.get(name, -1) + 1
                if isinstance(output, Tensor):
                    seen[name, times[name]] = (module, output.detach().clone())

            handles.append(module.register_forward_hook(leave))
    try:
        run(side)
    except Exception:  # what it was refused for
        pass
    else:
        running.clear()
    for handle in handles:
        handle.remove()
    stuck = f"{running[-1]!r} ({type(side.network.get_submodule(running[-1])).__name__})" if running else ""
    return seen, stuck


def _alike(whole: Tensor, cut: Tensor, kept: Tensor, count: int) -> bool:
    """Return whether two outputs are the same, the units that are left of the one being those of the other."""
    sizes = [(dim, a, b) for dim, (a, b) in enumerate(zip(whole.shape, cut.shape, strict=False)) if a != b]
    if whole.dim() != cut.dim() or len(sizes) > 1:
        return True  # nothing can be said of it
    for dim, size, left in sizes:
        if not count or size % count or size // count * len(kept) != left:
            return True
        columns = size // count
        index = (kept[:, None] * columns + torch.arange(columns, device=kept.device)).flatten()
        whole = whole.index_select(dim, index)
    scale = float(whole.abs().max()) if whole.numel() else 0.0
    tolerance = _TOLERANCE.get(whole.dtype, _COARSE)
    return torch.allclose(whole, cut, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
