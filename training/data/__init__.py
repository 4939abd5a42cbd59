"""Data sets by name, their files and checksums, and their batches."""

from training.data.batches import test_batches
from training.data.data_sets import load, load_cifar10, load_cifar100, load_digits
from training.data.in_memory import Dataset
from training.data.source import Batches, Source, batch_count

__all__ = [
    "Batches",
    "Dataset",
    "Source",
    "batch_count",
    "load",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "test_batches",
]
