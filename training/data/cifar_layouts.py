"""The published forms of CIFAR-10 and CIFAR-100: folders, files, records and official checksums.

===================  ============================  =====================================================
folder               files                         each file
===================  ============================  =====================================================
cifar-10-batches-    data_batch_1.bin to _5.bin,   10,000 records of one label byte and 3,072 pixel
bin                  test_batch.bin                bytes (red, green, blue plane; rows from the top)
cifar-10-batches-py  data_batch_1 to _5,           a pickled dictionary: ``b"data"``, bytes
                     test_batch                    [10000, 3072], and ``b"labels"``, a list
cifar-100-binary     train.bin, test.bin           50,000 and 10,000 records: a byte for the coarse label,
                                                   one for the fine label, 3,072 pixel bytes
cifar-100-python     train, test                   a pickled dictionary: ``b"data"``, ``b"coarse_labels"``
                                                   and ``b"fine_labels"``
===================  ============================  =====================================================

The MD5 sums of the archives stand on the page that publishes them; of the files in them there are no sums by
the publisher, so those are the ones that widely used libraries check (named at each).
"""

from dataclasses import dataclass, field

__all__ = ["CIFAR10", "CIFAR100", "SOURCE", "Cifar", "Layout"]

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"
"""Where both data sets are published and described."""


@dataclass(frozen=True)
class Layout:
    """One form in which a data set is published.

    Args:
        name: ``"binary"`` or ``"python"``.
        folder: the folder in its archive.
        algorithm: of the checksums.
        checksums: by file; those for training in their order, then the test file.
        names: checksum of the file with the names of the classes, which is not read here. May be empty.
    """

    name: str
    folder: str
    algorithm: str
    checksums: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Args:
        name: what `training.data.data_sets.load` calls it.
        title: as published.
        archives: what the names of its archives begin with.
        labels: what an image is labelled with, in the order of the bytes in a binary record: the key in the
            pickle and the number of classes.
        records: images in each file of a layout.
        layouts: in the order of preference.
    """

    name: str
    title: str
    archives: str
    labels: dict[str, int]
    records: tuple[int, ...]
    layouts: tuple[Layout, ...]


CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    archives="cifar-10-",
    labels={"labels": 10},
    records=(10_000,) * 6,
    layouts=(
        Layout(
            name="binary",
            folder="cifar-10-batches-bin",
            algorithm="sha1",  # as listed by Apache MXNet (gluon.data.vision.CIFAR10)
            checksums={
                "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
                "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
                "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
                "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
                "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
                "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
            },
        ),
        Layout(
            name="python",
            folder="cifar-10-batches-py",
            algorithm="md5",  # as listed by torchvision (datasets.CIFAR10)
            checksums={
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "40351d587109b95175f43aff81a1287e",
            },
            names={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        ),
    ),
)
"""Ten classes, 5,000 and 1,000 images of each."""

CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    archives="cifar-100-",
    labels={"coarse_labels": 20, "fine_labels": 100},
    records=(50_000, 10_000),
    layouts=(
        Layout(
            name="binary",
            folder="cifar-100-binary",
            algorithm="sha1",  # as listed by Apache MXNet (gluon.data.vision.CIFAR100)
            checksums={
                "train.bin": "e207cd2e05b73b1393c74c7f5e7bea451d63e08e",
                "test.bin": "8fb6623e830365ff53cf14adec797474f5478006",
            },
        ),
        Layout(
            name="python",
            folder="cifar-100-python",
            algorithm="md5",  # as listed by torchvision (datasets.CIFAR100)
            checksums={
                "train": "16019d7e3df5f24257cddd939b257f8d",
                "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            },
            names={"meta": "7973b15100ade9c7d40fb424638fde48"},
        ),
    ),
)
"""A hundred fine classes in twenty coarse ones, 500 and 100 images of each fine class."""
