"""One forward pass is watched: which layers run, at how many positions, and what else multiplies matrices.

Convolutions and dense layers are counted by their weights: one multiply–accumulate a weight and position. All other
products (attention, transposed and one-dimensional convolutions, recurrent layers, a product written by hand) are
counted where they are computed, by PyTorch's own formulas, and belong to the module that computed them. An operation
whose products cannot be counted is refused by name: none counts as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from training.errors import InputError, first_line
from training.gating.sites import GateSite, Norm, Weighted

__all__ = ["Executed", "executed"]

#: Operations whose products no formula here counts.
_UNCOUNTED = {
    "aten::_trilinear",
    "aten::_native_multi_head_attention",
    "aten::_transformer_encoder_layer_fwd",
    "aten::mkldnn_rnn_layer",
    "aten::_cudnn_rnn",
    "aten::miopen_rnn",
}
#: Libraries whose operations are counted or multiply nothing: PyTorch's own, and messages between processes.
_KNOWN = {"aten", "prim", "prims", "profiler", "c10d", "_c10d_functional"}


@dataclass
class Executed:
    """What one image went through.

    Attributes:
        positions: places at which every convolution and dense layer was applied (height × width, or tokens), in order
            of execution.
        norm_of: the batch normalisation that directly follows a layer, where one does.
        others: multiply–accumulates of all other products, by the module that computed them.
    """

    positions: dict[Weighted, int] = field(default_factory=dict)
    norm_of: dict[Weighted, Norm] = field(default_factory=dict)
    others: dict[nn.Module, int] = field(default_factory=dict)


def executed(network: nn.Module, names: Mapping[nn.Module, str], input_shape: Sequence[int]) -> Executed:
    """Run one image of zeros through a network in evaluation mode, without masks, and return what was executed.

    The network is left as it was: modes, masks, buffers.

    Args:
        network: takes one tensor.
        names: of its modules.
        input_shape: of one image, without the batch.

    Raises:
        InputError: for a convolution or dense layer that is executed more than once, an operation that cannot be
            counted, or a network that cannot be run on one image.
    """
    found = Executed()
    parameter = next(network.parameters())
    image = torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype)
    with torch.no_grad(), _in_evaluation(network), _watched(network, names, found) as running:
        try:
            with _Products(running, names, found.others):
                network(image)
        except InputError:
            raise
        except Exception as error:  # whatever a forward pass may raise
            at = f", at {names[running[-1]]!r}" if running and names[running[-1]] else ""
            reason = first_line(error)
            raise InputError(
                f"network {type(network).__name__} cannot be run on one image {list(input_shape)}{at}: {reason}"
            ) from error
    return found


@contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, without masks and without fused attention, for a while."""
    modes = [(module, module.training) for module in network.modules()]
    masks = [(module, module.mask) for module in network.modules() if isinstance(module, GateSite)]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # one operation for a whole attention, which nothing counts
        network.eval()
        for site, _ in masks:
            site.mask = None
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes:
            module.training = training
        for site, mask in masks:
            site.mask = mask


@contextmanager
def _watched(network: nn.Module, names: Mapping[nn.Module, str], found: Executed) -> Iterator[list[nn.Module]]:
    """Watch a network's modules; what is given is the list of those that are running, the innermost last."""
    running: list[nn.Module] = []
    outputs: dict[int, tuple[Weighted, Tensor]] = {}  # by id; the tensors are kept so that ids stay unique

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        running.append(module)

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        running.pop()
        if isinstance(module, Weighted):
            if module in found.positions:
                raise InputError(f"layer {names[module]!r} must be executed once in a forward pass; it ran twice")
            found.positions[module] = output.numel() // module.weight.shape[0]
            outputs[id(output)] = (module, output)
        elif isinstance(module, Norm) and inputs and id(inputs[0]) in outputs:
            found.norm_of[outputs[id(inputs[0])][0]] = module
        elif isinstance(module, nn.RNNBase):  # every weight at every step, each direction and layer
            steps = inputs[0].data.numel() // module.input_size  # `data` of a packed sequence are its steps
            weights = sum(p.numel() for name, p in module.named_parameters(recurse=False) if name.startswith("weight"))
            found.others[module] = found.others.get(module, 0) + steps * weights

    handles = []
    for module in network.modules():
        handles.append(module.register_forward_pre_hook(enter, prepend=True))
        handles.append(module.register_forward_hook(leave))
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


class _Products(TorchDispatchMode):
    """Counts the products of operations, outside the layers that are counted by their weights.

    Args:
        running: modules that are running, the innermost last.
        names: of the modules.
        counted: multiply–accumulates of each module, added to.
    """

    def __init__(self, running: list[nn.Module], names: Mapping[nn.Module, str], counted: dict[nn.Module, int]) -> None:
        super().__init__()
        self.running, self.names, self.counted = running, names, counted

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if any(isinstance(module, Weighted | nn.RNNBase) for module in self.running):
            return output
        library, name = func.namespace, func._schema.name
        if name in _UNCOUNTED or library not in _KNOWN:
            raise InputError(f"operation {name} of {self._who()} cannot be counted in multiply–accumulates")
        macs = _macs(func, args, kwargs, output)
        if macs and self.running:
            self.counted[self.running[-1]] = self.counted.get(self.running[-1], 0) + macs
        return output

    def _who(self) -> str:
        """Return the running module as an error names it."""
        if not self.running:
            return "the network"
        module = self.running[-1]
        return f"{self.names[module]!r} ({type(module).__name__})" if self.names[module] else type(module).__name__


def _macs(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Return the multiply–accumulates of one operation; 0 for one that multiplies no matrices."""
    own = _PRODUCTS.get(func._schema.name)
    if own is not None:
        return own(*args)
    formula = flop_registry.get(func._overloadpacket)
    return formula(*args, **kwargs, out_val=output) // 2 if formula is not None else 0


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> int:
    """Return those of queries with keys, and of their weights with the values; all [..., tokens, features]."""
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return pairs * (query.shape[-1] + value.shape[-1])


def _size_of(which: int) -> Callable[..., int]:
    """Return what counts each entry of one argument once."""
    return lambda *args: int(args[which].numel())


#: Multiply–accumulates of operations that PyTorch's counter leaves out.
_PRODUCTS: dict[str, Callable[..., int]] = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::mv": _size_of(0),
    "aten::dot": _size_of(0),
    "aten::vdot": _size_of(0),
    "aten::addmv": _size_of(1),
    "aten::addbmm": lambda _, one, two, *rest: one.numel() * two.shape[-1],
}
