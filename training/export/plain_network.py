"""A network is written as plain PyTorch: the source of one class, and the weights under its names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from training.errors import InputError, first_line
from training.export.constructor import constructor
from training.export.inputs import Inputs
from training.export.statements import statements
from training.export.trace import block_of, module_of, trace

__all__ = ["Plain", "load", "plain"]


@dataclass(frozen=True)
class Plain:
    """A network as plain PyTorch.

    Attributes:
        source: of a file with one class, `Network`, and one function, `normalise`.
        weights: its state, by name.
    """

    source: str
    weights: dict[str, Tensor]


def plain(network: nn.Module, inputs: Inputs, classes: int, title: str) -> Plain:
    """Write a network as plain source.

    Args:
        network: in evaluation mode, on the CPU, without masks. Its forward pass must do the same for all images.
        inputs: what it reads.
        classes: number of outputs.
        title: one line for the top of the file.

    Raises:
        InputError: for a network that has no plain form: a path that depends on its images, layers that are none of
            `torch.nn`'s, functions that are none of torch's.
    """
    graph = trace(network)
    called = [node for node in graph.nodes if node.op in ("call_module", "get_attr")]
    attributes = _names([str(node.target) for node in called])
    made, weights = [], {}
    for node in {str(node.target): node for node in called}.values():
        name = attributes[str(node.target)]
        layer = module_of(network, node)
        if layer is None:
            value = _tensor(network, str(node.target))
            made.append((block_of(network, node), _stored(name, value)))
            weights[name] = value
        else:
            made.append((block_of(network, node), f"self.{name} = {constructor(layer)}"))
            weights |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    forward = [(line.block, line.text) for line in statements(network, graph, attributes)]
    source = _file(made, forward, inputs, classes, title)
    return Plain(source, {key: value.detach().cpu().contiguous().clone() for key, value in weights.items()})


def load(written: Plain) -> nn.Module:
    """Return the network of source and weights, in evaluation mode; every weight must have its place.

    Raises:
        InputError: for weights that do not fit the source: a layer does not keep what it was made with.
    """
    space: dict[str, Any] = {"__name__": "network"}
    exec(compile(written.source, "network.py", "exec"), space)
    try:
        network: nn.Module = space["Network"]()
        network.load_state_dict(written.weights)
    except Exception as error:  # whatever making a layer or filling it raises
        raise InputError(f"network cannot be written as plain source: {first_line(error)}") from error
    return network.eval()


def _names(paths: Sequence[str]) -> dict[str, str]:
    """Return a name for each path, "blocks.0.conv1" → "blocks0_conv1", all different and free in a module."""
    taken, names = set(dir(nn.Module())) | set(keyword.kwlist), dict[str, str]()
    for path in dict.fromkeys(paths):
        name = re.sub(r"\W", "_", re.sub(r"\.(?=\d)", "", path))
        name = f"layer{name}" if name[0].isdigit() else name
        while name in taken:
            name += "_"
        taken.add(name)
        names[path] = name
    return names


def _tensor(network: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    value = getattr(network.get_submodule(owner), name)
    if not isinstance(value, Tensor):
        raise InputError(f"{path!r} cannot be written as plain source: it is not a tensor")
    return value


def _stored(name: str, value: Tensor) -> str:
    """Return the line that makes a tensor which belongs to no layer."""
    empty = f"torch.empty({list(value.shape)}, dtype={value.dtype})"
    if isinstance(value, nn.Parameter):
        return f"self.{name} = nn.Parameter({empty})"
    return f'self.register_buffer("{name}", {empty})'


def _file(
    made: Sequence[tuple[str, str]], forward: Sequence[tuple[str, str]], inputs: Inputs, classes: int, title: str
) -> str:
    shape = ", ".join(map(str, inputs.shape))
    functional = ["from torch.nn import functional as F"] * any(re.search(r"\bF\.", text) for _, text in forward)
    lines = [
        f'"""{title}',
        "",
        'README.md says how it is loaded and what was measured."""',
        "",
        *("import torch", "from torch import nn", *functional),
        "",
        "# Of each channel over the training images.",
        f"MEAN = {inputs.mean}",
        f"STD = {inputs.std}",
        "",
        "",
        "def normalise(images):",
        f'    """Images [batch, {shape}], {inputs.units}, as the network takes them."""',
        "    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))",
        "    return (images.float() - mean) / std",
        "",
        "",
        "class Network(nn.Module):",
        f'    """Normalised images [batch, {shape}] → logits [batch, {classes}]."""',
        "",
        "    def __init__(self):",
        "        super().__init__()",
        *_by_block(made),
        "",
        "    def forward(self, images):",
        *_by_block(forward),
    ]
    return "\n".join(lines) + "\n"


def _by_block(lines: Sequence[tuple[str, str]]) -> list[str]:
    """Return indented lines, with a heading where a block begins and a gap where it ends."""
    written, current = [], ""
    for block, text in lines:
        if block != current:
            written += ["", f"        # {block}"] if block else [""]
            current = block
        written.append(f"        {text}")
    return written
