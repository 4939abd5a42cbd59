"""The data sets there are, by name.

Every number measured on a data set is printed beside its `provenance`: which files, whether they are the
official ones, and a digest of what was in them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.data.cifar_files import read_cifar
from training.data.cifar_layouts import CIFAR10, CIFAR100, Cifar
from training.data.in_memory import Dataset, Device, from_bytes
from training.data.source import Source
from training.errors import DataError

__all__ = ["load", "load_cifar10", "load_cifar100", "load_digits"]


def load_digits(device: Device = "cpu") -> Dataset:
    """Load the 1,797 handwritten digits that scikit-learn ships: 8x8 pixels, 0 to 16, one channel.

    The split is fixed and needs no random numbers: of the images sorted by class, otherwise in their order,
    every fifth is a test image. That makes 1,437 for training and 360 for testing, every class in proportion.

    Example:
        >>> digits = load_digits()
        >>> digits.train_images.shape, digits.test_labels.shape
        (torch.Size([1437, 1, 8, 8]), torch.Size([360]))
        >>> digits.provenance
        'handwritten digits of scikit-learn, 1437 train and 360 test images, content sha256 b086734a4c7e'
    """
    from sklearn import datasets  # here: a second of imports that CIFAR-10 does without

    digits = datasets.load_digits()
    images, labels = digits.images.astype(np.uint8)[:, None], digits.target.astype(np.uint8)
    order = np.argsort(labels, kind="stable")
    is_test = np.zeros(len(labels), bool)
    is_test[order[::5]] = True
    return from_bytes(
        "digits",
        "handwritten digits of scikit-learn",
        (images[~is_test], labels[~is_test], images[is_test], labels[is_test]),
        classes=10,
        padding=1,
        flip=False,
        device=device,
    )


def load_cifar10(folder: str | Path, device: Device = "cpu", records: int = 10_000) -> Dataset:
    """Load CIFAR-10: 50,000 and 10,000 colour images of 32x32 pixels in ten classes.

    Files that are not the official ones are loaded too, and the provenance says so.

    Args:
        folder: the folder that holds `cifar-10-batches-bin` or `cifar-10-batches-py`, or one of these itself.
            The binary layout is read where both are there.
        device: where to put the images; 184 MB.
        records: images in each file; anything but 10,000 is for excerpts and tests.

    Raises:
        DataError: no such folder; a file missing, truncated or foreign.
    """
    return _cifar(CIFAR10, folder, device, (records,) * 6, "labels")


def load_cifar100(
    folder: str | Path, device: Device = "cpu", records: tuple[int, int] = (50_000, 10_000), coarse: bool = False
) -> Dataset:
    """Load CIFAR-100: 50,000 and 10,000 colour images of 32x32 pixels in a hundred classes.

    Files that are not the official ones are loaded too, and the provenance says so.

    Args:
        folder: the folder that holds `cifar-100-binary` or `cifar-100-python`, or one of these itself.
            The binary layout is read where both are there.
        device: where to put the images; 184 MB.
        records: images in the training and the test file; others than these are for excerpts and tests.
        coarse: label images with the twenty groups into which the hundred classes fall.

    Raises:
        DataError: no such folder; a file missing, truncated or foreign.
    """
    return _cifar(CIFAR100, folder, device, records, "coarse_labels" if coarse else "fine_labels")


def _cifar(cifar: Cifar, folder: str | Path, device: Device, records: tuple[int, ...], labels: str) -> Dataset:
    raw = read_cifar(cifar, folder, records)
    column = list(cifar.labels).index(labels)
    title = cifar.title + (" with coarse labels" if labels == "coarse_labels" else "")
    if raw.official:
        origin = f"{title}, official files ({raw.layout} layout, checksums verified)"
    else:
        origin = f"{title}, not the official files (checksums differ; pixels may have been recompressed)"
    arrays = (raw.train_images, raw.train_labels[:, column], raw.test_images, raw.test_labels[:, column])
    classes = cifar.labels[labels]
    return from_bytes(cifar.name, origin, arrays, classes=classes, padding=4, flip=True, device=device)


def _imagenet(folder: str | Path, device: Device) -> Source:
    try:
        from training.data.imagenet import load_imagenet  # here: it needs an extra
    except ImportError as error:
        raise DataError(f"images in files need Pillow ({error}): pip install -e '.[imagenet]' in the clone") from error
    return load_imagenet(folder, device)


_LOADERS: dict[str, Callable[[str | Path, Device], Source]] = {
    "digits": lambda _, device: load_digits(device),
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "imagenet": _imagenet,
}


def load(name: str, folder: str | Path = "data", device: Device = "cpu") -> Source:
    """Load the data set of that name.

    Args:
        name: `digits`, `cifar10`, `cifar100` or `imagenet`.
        folder: where data sets are kept; `digits` needs none.
        device: where to put the images.

    Raises:
        DataError: the name is unknown, or its files are missing or damaged.

    Example:
        >>> load("mnist")
        Traceback (most recent call last):
        training.errors.DataError: unknown data set 'mnist'; known are cifar10, cifar100, digits, imagenet
    """
    if name not in _LOADERS:
        raise DataError(f"unknown data set {name!r}; known are {', '.join(sorted(_LOADERS))}")
    return _LOADERS[name](folder, device)
