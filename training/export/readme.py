"""The README beside an exported network says what it is, how to load it, and what was measured."""

from __future__ import annotations

from typing import Any

__all__ = ["LOAD", "LOAD_ONNX", "readme"]

#: How `network.py` is loaded, from its folder; `images` are as stored.
LOAD = """\
import torch
from safetensors.torch import load_file
from network import Network, normalise

network = Network()
network.load_state_dict(load_file("weights.safetensors"))
network.eval()
with torch.no_grad():
    logits = network(normalise(images))
"""

#: How `network.onnx` is run, from its folder.
LOAD_ONNX = """\
import json, numpy, onnxruntime

given = json.load(open("export.json"))["input"]
mean, std = (numpy.float32(given[name])[:, None, None] for name in ("mean", "std"))
session = onnxruntime.InferenceSession("network.onnx")
[logits] = session.run(["logits"], {"images": (numpy.float32(images) - mean) / std})
"""


def readme(about: dict[str, Any]) -> str:
    """Return the README's text, from what `export.json` holds."""
    given, complexity, accuracy, run = about["input"], about["complexity"], about["accuracy"], about["run"]
    shape = ", ".join(map(str, given["shape"]))
    lines = [
        f"# {about['network']}, pruned while it trained",
        "",
        f"- Data: {about['data']}.",
        f"- Test accuracy: {100 * accuracy['value']:.2f}% of {accuracy['images']} images, measured on `network.py`"
        " as it is here.",
        f"- Multiply–accumulates an image: {_share(complexity['macs'], complexity['macs_full'])}; parameters:"
        f" {_share(complexity['parameters'], complexity['parameters_full'])}.",
        *_training(run),
        f"- Gates that are on: {about['gates']['left']} of {about['gates']['at_start']}.",
        f"- Input: images [batch, {shape}], {given['units']}; normalised, channel by channel, with mean"
        f" {_numbers(given['mean'])} and deviation {_numbers(given['std'])}.",
        f"- Output: logits [batch, {about['classes']}]; the largest is the class.",
        f"- Outputs against the trained network's on {about['agreement']['images']} test images: largest difference"
        f" {about['agreement']['network.py']:.1e} (`network.py`) and {about['agreement']['network.onnx']:.1e}"
        " (`network.onnx`) of the largest logit (of 1 where that is smaller).",
        "",
        "`network.py` and `weights.safetensors` need PyTorch and safetensors, nothing else. In this folder, with"
        " `images` a tensor:",
        "",
        *_code(LOAD),
        "",
        "Train it further as any module: it was traced in evaluation mode, so a dropout called as a function is off"
        " for good, while layers follow `train()` and `eval()`.",
        "",
        f"`network.onnx` is the same network (opset {about['onnx']['opset']}, any batch size). It takes normalised"
        " images too; with `images` an array:",
        "",
        *_code(LOAD_ONNX),
        "",
        f"Made with `{about['command']}`; `export.json` has all of this as data.",
    ]
    return "\n".join(lines) + "\n"


def _training(run: dict[str, Any]) -> list[str]:
    """Return how the network was trained, as far as that is known."""
    if "step" not in run:
        return []
    unfinished = "" if run["step"] >= run["steps"] else f" of {run['steps']}: the run is not finished"
    return [f"- Trained for {run['step']} steps{unfinished}, by `{run['command']}`."]


def _share(count: int, full: int | None) -> str:
    return f"{count:,}" + (f" ({100 * count / full:.1f}% of the full network's)" if full else "")


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _code(text: str) -> list[str]:
    return ["```python", *text.rstrip().splitlines(), "```"]
