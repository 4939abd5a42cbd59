"""SNACS: kernels of a trained network, by conditional information between filters (arXiv 2006.12463)."""

from training.methods.snacs.method import Snacs

__all__ = ["Snacs"]
