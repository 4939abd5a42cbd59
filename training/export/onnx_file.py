"""ONNX files hold a network for any number of images, and can be run to compare their outputs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from training.errors import InputError, first_line

__all__ = ["OPSET", "run_onnx", "write_onnx"]

#: Version of ONNX's operators, from 2023: the one PyTorch's exporter writes by itself, with no conversion behind it.
OPSET = 18


def write_onnx(network: nn.Module, shape: tuple[int, int, int], path: Path) -> None:
    """Write a network that reads "images" [batch, c, h, w] and gives "logits" [batch, classes].

    Needs onnx and onnxscript.

    Args:
        network: plain PyTorch, in evaluation mode, on the CPU; its forward pass takes `images`.
        shape: channels, height and width of an image.
        path: of the file.
    """
    import onnx

    example = torch.zeros(2, *shape)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")  # lines of this machine's files
        part.ClearField("doc_string")
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def run_onnx(path: Path, images: Float32[Tensor, "batch c h w"]) -> Float32[Tensor, "batch classes"]:
    """Return the logits that the file computes. Needs onnxruntime.

    Raises:
        InputError: for a file that it cannot run, or not for this many images.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        [logits] = session.run(["logits"], {"images": images.numpy()})
    except Exception as error:  # its own kinds, which it does not export
        reason = first_line(error)
        raise InputError(f"{path.name} cannot be run on {len(images)} images: {reason}") from error
    return torch.from_numpy(logits)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says about itself: its own deprecations, and packages that no network here needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
