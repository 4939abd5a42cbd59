"""An exported bundle is a folder with the network that a run found: source, weights, ONNX, and a description.

network.py            one class, plain PyTorch, with the widths that are left
weights.safetensors   its state
network.onnx          the same, for other run times
export.json           input, classes, complexity, accuracy, provenance, agreement, commands
README.md             the same for people, and how to load them
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from dynamics.models.complexity import Structure
from training.data.source import Source
from training.errors import InputError, first_line
from training.export.agreement import TOLERANCE, check_agreement, computed
from training.export.atomic_folder import atomic_folder
from training.export.decided import decided
from training.export.inputs import inputs_of
from training.export.onnx_file import OPSET, run_onnx, write_onnx
from training.export.packages import require_packages
from training.export.plain_network import Plain, load, plain
from training.export.readme import readme
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.runtime.atomic_files import write_json
from training.runtime.environment import environment
from training.runtime.progress import Progress

__all__ = ["export"]

#: Test images on which outputs are compared.
_COMPARED = 64
#: Images in a batch when accuracy is measured.
_BATCH = 250


def export(
    network: nn.Module,
    gates: Gates,
    folder: Path,
    source: Source,
    *,
    name: str,
    full: Structure | None = None,
    run: Mapping[str, Any] | None = None,
) -> Path:
    """Write the deterministic network (`Gates.decided`) as plain PyTorch and as ONNX.

    What is off is removed from a copy first (`decided` says what goes with it). Source and ONNX file are then loaded
    again, and their outputs on test images compared with those of the network given, masked.

    Args:
        network: gated, possibly shrunken already; neither it nor its gates are changed.
        gates: its own.
        folder: where to; must not exist, or be empty. It appears whole, or not at all.
        source: the data: shape and normalisation of the images, test images, provenance.
        name: of the network, as in `training.networks.NETWORKS` or one's own.
        full: structure of the network before anything was removed, to say what share is left.
        run: what is known of the run that trained it; goes to export.json as it is.

    Returns:
        The folder.

    Raises:
        InputError: for a missing package, a folder that exists, a network that does not run on the source's images or
            has no plain form, or outputs that differ by more than `TOLERANCE` (see `agreement.check_agreement`).
    """
    require_packages()
    with atomic_folder(folder) as partial, torch.no_grad():
        masked, shrunken, left = decided(network, gates)
        inputs = inputs_of(source)
        images = next(source.test_batches(_COMPARED))[0].cpu()
        expected = computed(f"network {name!r}", masked, images)
        structure = structure_of(shrunken, inputs.shape, full)
        title = f"{name}, pruned while it trained on {source.name}."
        loaded = _write_plain(plain(shrunken, inputs, source.classes, title), partial)
        agreement = {"network.py": _compare("network.py", loaded, images, expected)}
        path = partial / "network.onnx"
        try:
            write_onnx(loaded, inputs.shape, path)
        except OSError:  # of the disk, which the command explains
            raise
        except Exception as error:  # the exporter's kinds are many
            raise InputError(f"network {name!r} cannot be written as ONNX: {first_line(error)}") from error
        agreement[path.name] = _compare(path.name, functools.partial(run_onnx, path), images, expected)
        about = {
            "network": name,
            "data": source.provenance,
            "input": {
                "shape": list(inputs.shape),
                "mean": list(inputs.mean),
                "std": list(inputs.std),
                "units": inputs.units,
            },
            "classes": source.classes,
            "complexity": _complexity(structure, full),
            "gates": {"left": len(left.theta), "branches_left": len(left.residual), "at_start": gates.total},
            "accuracy": {"value": _accuracy(loaded, source), "images": len(source.test_labels)},
            "agreement": {"tolerance": TOLERANCE, "images": len(images)} | agreement,
            "onnx": {"opset": OPSET},
            **{key: value for key, value in environment().items() if key != "machine"},
            "run": dict(run or {}),
        }
        write_json(partial / "export.json", about)
        (partial / "README.md").write_text(readme(about))
    return folder


def _write_plain(written: Plain, folder: Path) -> nn.Module:
    """Write source and weights, and load the network again from the two files."""
    from safetensors.torch import load_file, save

    source, weights = folder / "network.py", folder / "weights.safetensors"
    source.write_text(written.source)
    weights.write_bytes(save(written.weights, metadata={"format": "pt"}))
    return load(Plain(source.read_text(), load_file(weights)))


def _compare(
    name: str,
    compute: Callable[[Tensor], Tensor],
    images: Float32[Tensor, "batch c h w"],
    expected: Float32[Tensor, "batch classes"],
) -> float:
    """Return the largest difference of a file's outputs, for all images together and for one alone."""
    some = (len(images), 1)
    return max(check_agreement(name, computed(name, compute, images[:n]), expected[:n]) for n in some)


def _complexity(structure: Structure, full: Structure | None) -> dict[str, int | None]:
    ones = np.ones(structure.gates)
    return {
        "macs": int(structure.macs(ones)),
        "macs_full": full.full_macs if full is not None else None,
        "parameters": int(structure.parameters(ones)),
        "parameters_full": full.full_parameters if full is not None else None,
    }


def _accuracy(network: nn.Module, source: Source) -> float:
    """Share of all test images that the network has right, on the device where the images are."""
    right = 0
    with Progress("test accuracy", len(source.test_labels)) as progress:
        for images, labels in source.test_batches(_BATCH):
            right += int((network.to(images.device)(images).argmax(1) == labels).sum())
            progress.advance(len(labels))
    return right / len(source.test_labels)
