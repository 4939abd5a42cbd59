"""Export of a gated network to files that need nothing of this package: source and weights, and ONNX."""

from training.export.bundle import export
from training.export.inputs import Inputs, inputs_of
from training.export.plain_network import Plain, load, plain

__all__ = ["Inputs", "Plain", "export", "inputs_of", "load", "plain"]
