import dataclasses
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data import data_sets as data

NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
RECORDS = 4


def write(folder, layout, records=RECORDS):
    """Write tiny files in an official layout; return images [6, records, 3, 32, 32], labels [6, records]."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (6, records, 3, 32, 32), np.uint8)
    labels = draw.integers(0, 10, (6, records), np.uint8)
    place = folder / {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[layout]
    place.mkdir()
    for name, pixels, kinds in zip(NAMES, images.reshape(6, records, -1), labels, strict=True):
        if layout == "binary":
            (place / f"{name}.bin").write_bytes(np.concatenate([kinds[:, None], pixels], axis=1).tobytes())
        else:
            batch = {b"batch_label": name.encode(), b"labels": kinds.tolist(), b"data": pixels}
            (place / name).write_bytes(pickle.dumps(batch, protocol=2))
    return images, labels


@pytest.mark.parametrize("layout", ["binary", "python"])
@pytest.mark.parametrize("inside", [False, True])
def test_both_layouts_from_either_folder(layout, inside, tmp_path):
    images, labels = write(tmp_path, layout)
    cifar = data.load_cifar10(next(tmp_path.iterdir()) if inside else str(tmp_path), records=RECORDS)
    assert cifar.train_images.dtype == torch.uint8 and cifar.train_labels.dtype == torch.int64
    assert np.array_equal(cifar.train_images.numpy(), images[:5].reshape(-1, 3, 32, 32))
    assert np.array_equal(cifar.train_labels.numpy(), labels[:5].ravel())
    assert np.array_equal(cifar.test_images.numpy(), images[5])
    assert np.array_equal(cifar.test_labels.numpy(), labels[5])
    assert (cifar.name, cifar.classes, cifar.padding, cifar.flip) == ("cifar10", 10, 4, True)


def test_moments_are_those_of_the_training_images(tmp_path):
    images, _ = write(tmp_path, "binary")
    cifar = data.load_cifar10(tmp_path, records=RECORDS)
    channels = images[:5].astype(np.float64)
    np.testing.assert_allclose(cifar.mean.numpy(), channels.mean((0, 1, 3, 4)), rtol=1e-6)
    np.testing.assert_allclose(cifar.std.numpy(), channels.std((0, 1, 3, 4)), rtol=1e-6)
    normal = cifar.normalise(cifar.train_images)
    assert normal.dtype == torch.float32
    assert normal.mean((0, 2, 3)).abs().max() < 1e-5
    assert (normal.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_a_constant_channel_is_only_centred(tmp_path):
    place = tmp_path / "cifar-10-batches-bin"
    place.mkdir()
    for name in NAMES:
        (place / f"{name}.bin").write_bytes(bytes([1] + 3072 * [9]))
    cifar = data.load_cifar10(tmp_path, records=1)
    assert torch.equal(cifar.normalise(cifar.test_images), torch.zeros(1, 3, 32, 32))


def test_provenance_says_not_official_and_is_the_same_for_the_same_content(tmp_path):
    write(tmp_path, "binary")
    write(tmp_path, "python")
    binary = data.load_cifar10(tmp_path, records=RECORDS)  # the first choice where both are there
    python = data.load_cifar10(tmp_path / "cifar-10-batches-py", records=RECORDS)
    assert binary.provenance == python.provenance
    assert "CIFAR-10, not the official files (checksums differ; pixels may have been recompressed)" in binary.provenance
    assert "20 train and 4 test images, content sha256 " in binary.provenance
    path = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert data.load_cifar10(tmp_path, records=RECORDS).provenance != binary.provenance


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_provenance_says_official_only_if_every_file_has_its_checksum(layout, tmp_path, monkeypatch):
    write(tmp_path, layout)
    made_up = []
    for known in data.CIFAR10.layouts:
        paths = [tmp_path / known.folder / name for name in known.checksums]
        sums = {p.name: hashlib.new(known.algorithm, p.read_bytes()).hexdigest() for p in paths if p.exists()}
        made_up.append(dataclasses.replace(known, checksums=sums or known.checksums))
    monkeypatch.setattr(data, "CIFAR10", dataclasses.replace(data.CIFAR10, layouts=tuple(made_up)))
    official = f"CIFAR-10, official files ({layout} layout, checksums verified), 20 train and 4 test images"
    assert data.load_cifar10(tmp_path, records=RECORDS).provenance.startswith(official)
    (third,), (fourth,) = tmp_path.rglob("data_batch_3*"), tmp_path.rglob("data_batch_4*")
    third.write_bytes(fourth.read_bytes())  # a sound file in the wrong place
    assert "not the official files" in data.load_cifar10(tmp_path, records=RECORDS).provenance


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_record(path):
    path.write_bytes(path.read_bytes()[:-3073])


def damage_label(path):
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])


def damage_folder(path):
    path.unlink()
    path.mkdir()


def pickled(value):
    return lambda path: path.write_bytes(pickle.dumps(value))


PIXELS = np.zeros((RECORDS, 3072), np.uint8)


@pytest.mark.parametrize(
    "layout, damage, message",
    [
        ("binary", Path.unlink, "is missing"),
        ("binary", damage_cut, "is truncated: 12192 bytes is no whole number of 3073-byte records"),
        ("binary", damage_record, "holds 3 images and 3 labels; 4 of each are expected"),
        ("binary", damage_label, "is not CIFAR-10: it has the label 10, above 9"),
        ("binary", damage_folder, "must be a file; it is something else: remove it"),
        ("binary", lambda path: path.write_bytes(b""), "holds 0 images"),
        ("python", Path.unlink, "is missing"),
        ("python", damage_cut, "is no readable CIFAR-10 pickle: pickle data was truncated"),
        ("python", lambda path: path.write_bytes(b""), "is no readable CIFAR-10 pickle: is damaged"),
        ("python", pickled({b"data": print}), "names the forbidden builtins.print"),
        ("python", pickled({b"labels": [1]}), r"has no b'data' of bytes \[n, 3072\]"),
        ("python", pickled({b"data": PIXELS[:, 1:], b"labels": [1]}), "has no b'data'"),
        ("python", pickled({b"data": PIXELS}), "has no b'labels'"),
        ("python", pickled({b"data": PIXELS, b"labels": [1, 2, "a", 4]}), "has no b'labels'"),
        ("python", pickled({b"data": PIXELS, b"labels": [1, 2, -3, 4]}), "has no b'labels'"),
        ("python", pickled({b"data": PIXELS, b"labels": [1]}), "holds 4 images and 1 labels"),
        ("python", pickled({b"data": PIXELS, b"labels": [10] * 4}), "the label 10, above 9"),
    ],
)
def test_damaged_files_are_refused_in_one_line_that_names_the_file(layout, damage, message, tmp_path):
    write(tmp_path, layout)
    (path,) = tmp_path.rglob("data_batch_3*")
    damage(path)
    with pytest.raises(data.DataError, match=message) as caught:
        data.load_cifar10(tmp_path, records=RECORDS)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_excerpts_are_refused_unless_asked_for(layout, tmp_path):
    write(tmp_path, layout)
    with pytest.raises(data.DataError, match="10000 of each are expected"):
        data.load_cifar10(tmp_path)
    with pytest.raises(data.DataError, match="records is 0; a file holds at least 1"):
        data.load_cifar10(tmp_path, records=0)


def test_folders_without_cifar_are_refused(tmp_path):
    with pytest.raises(data.DataError, match="nowhere is no folder; unpack CIFAR-10 there, from https://"):
        data.load_cifar10(tmp_path / "nowhere")
    with pytest.raises(data.DataError, match="holds neither cifar-10-batches-bin nor cifar-10-batches-py"):
        data.load_cifar10(tmp_path)
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.touch()
    with pytest.raises(data.DataError, match=r"unpack cifar-10-python\.tar\.gz there"):
        data.load_cifar10(tmp_path)
    with pytest.raises(data.DataError, match="is no folder"):
        data.load_cifar10(archive)


def test_digits_are_split_by_class_and_share_no_image_by_position():
    from sklearn.datasets import load_digits

    digits, all_ = data.load_digits(), load_digits()
    assert digits.train_images.shape == (1437, 1, 8, 8) and digits.test_images.shape == (360, 1, 8, 8)
    assert (digits.classes, digits.padding, digits.flip) == (10, 1, False)
    assert digits.train_images.min() == 0 and digits.train_images.max() == 16
    total = torch.bincount(torch.from_numpy(all_.target), minlength=10)
    test = torch.bincount(digits.test_labels, minlength=10)
    assert ((test - total / 5).abs() < 1).all()
    together = torch.cat([digits.train_images, digits.test_images]).flatten(1).numpy()
    labels = torch.cat([digits.train_labels, digits.test_labels]).numpy()
    ours = sorted(map(tuple, np.column_stack([together, labels])))
    theirs = sorted(map(tuple, np.column_stack([all_.data.astype(int), all_.target])))
    assert ours == theirs
    assert digits.provenance == data.load_digits().provenance


def test_load_finds_each_data_set(tmp_path):
    assert data.load("digits").name == data.load("digits", tmp_path / "nowhere").name == "digits"
    with pytest.raises(data.DataError, match="holds neither"):
        data.load("cifar10", tmp_path)
    with pytest.raises(data.DataError, match=r"unknown data set 'mnist'; known are .*cifar10, .*digits"):
        data.load("mnist", tmp_path)


REAL = Path(__file__).parents[3] / "data"


@pytest.mark.skipif(
    not any((REAL / name).is_dir() for name in ("cifar-10-batches-bin", "cifar-10-batches-py")),
    reason="CIFAR-10 is not unpacked in data/",
)
def test_real_cifar10():
    cifar = data.load("cifar10", REAL)
    assert torch.bincount(cifar.train_labels).tolist() == [5000] * 10
    assert torch.bincount(cifar.test_labels).tolist() == [1000] * 10
    torch.testing.assert_close(cifar.mean, torch.tensor([125.3, 123.0, 113.9]), rtol=0, atol=1)
    torch.testing.assert_close(cifar.std, torch.tensor([63.0, 62.1, 66.7]), rtol=0, atol=1)
    assert "50000 train and 10000 test images" in cifar.provenance
