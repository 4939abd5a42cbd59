import dataclasses
import hashlib
import pickle

import numpy as np
import pytest

from training.data import data_sets as data

RECORDS = (6, 4)
FILES = {"cifar-100-binary": ("train.bin", "test.bin"), "cifar-100-python": ("train", "test")}
FOLDER = {"binary": "cifar-100-binary", "python": "cifar-100-python"}


def write(folder, layout):
    """Write tiny files in an official layout; return (images, coarse labels, fine labels) of both."""
    draw = np.random.default_rng(0)
    place = folder / FOLDER[layout]
    place.mkdir()
    contents = []
    for name, n in zip(FILES[place.name], RECORDS, strict=True):
        pixels = draw.integers(0, 256, (n, 3072), np.uint8)
        coarse, fine = draw.integers(0, 20, n, np.uint8), draw.integers(20, 100, n, np.uint8)
        if layout == "binary":
            (place / name).write_bytes(np.column_stack([coarse, fine, pixels]).tobytes())
        else:
            batch = {
                b"filenames": [b"image.png"] * n,
                b"batch_label": b"training batch 1 of 1",
                b"fine_labels": fine.tolist(),
                b"coarse_labels": coarse.tolist(),
                b"data": pixels,
            }
            (place / name).write_bytes(pickle.dumps(batch, protocol=2))
        contents.append((pixels.reshape(n, 3, 32, 32), coarse, fine))
    return contents


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("layout", ["binary", "python"])
def test_both_layouts_from_either_folder_with_either_label(layout, inside, coarse, tmp_path):
    train, test = write(tmp_path, layout)
    cifar = data.load_cifar100(tmp_path / FOLDER[layout] if inside else tmp_path, records=RECORDS, coarse=coarse)
    assert np.array_equal(cifar.train_images.numpy(), train[0])
    assert np.array_equal(cifar.test_images.numpy(), test[0])
    assert np.array_equal(cifar.train_labels.numpy(), train[1 if coarse else 2])
    assert np.array_equal(cifar.test_labels.numpy(), test[1 if coarse else 2])
    assert (cifar.name, cifar.padding, cifar.flip) == ("cifar100", 4, True)
    assert cifar.classes == (20 if coarse else 100)
    title = "CIFAR-100 with coarse labels" if coarse else "CIFAR-100"
    assert cifar.provenance.startswith(f"{title}, not the official files (checksums differ")


def test_layouts_agree_and_labels_count_in_the_digest(tmp_path):
    write(tmp_path, "binary")
    write(tmp_path, "python")
    binary = data.load_cifar100(tmp_path, records=RECORDS)
    python = data.load_cifar100(tmp_path / "cifar-100-python", records=RECORDS)
    coarse = data.load_cifar100(tmp_path, records=RECORDS, coarse=True)
    assert binary.provenance == python.provenance
    assert binary.provenance.rpartition(" ")[2] != coarse.provenance.rpartition(" ")[2]


@pytest.mark.parametrize("layout", ["binary", "python"])
def test_official_only_if_both_files_have_their_checksums(layout, tmp_path, monkeypatch):
    write(tmp_path, layout)
    (known,) = (known for known in data.CIFAR100.layouts if known.name == layout)
    place = tmp_path / known.folder
    sums = {name: hashlib.new(known.algorithm, (place / name).read_bytes()).hexdigest() for name in known.checksums}
    made_up = dataclasses.replace(data.CIFAR100, layouts=(dataclasses.replace(known, checksums=sums),))
    monkeypatch.setattr(data, "CIFAR100", made_up)
    official = f"CIFAR-100, official files ({layout} layout, checksums verified), 6 train and 4 test images"
    assert data.load_cifar100(tmp_path, records=RECORDS).provenance.startswith(official)
    path = place / FILES[known.folder][1]
    content = path.read_bytes().replace(b"image.png", b"image.gif")
    path.write_bytes(content if layout == "python" else content[:-1] + bytes([content[-1] ^ 1]))
    assert "not the official files" in data.load_cifar100(tmp_path, records=RECORDS).provenance


def test_every_published_checksum_has_the_length_of_its_algorithm():
    for cifar in (data.CIFAR10, data.CIFAR100):
        for layout in cifar.layouts:
            assert len(layout.checksums) == len(cifar.records)
            for checksum in (layout.checksums | layout.names).values():
                assert len(bytes.fromhex(checksum)) == hashlib.new(layout.algorithm).digest_size


def first_bytes(*values):
    return lambda path: path.write_bytes(bytes(values) + path.read_bytes()[len(values) :])


PIXELS = np.zeros((RECORDS[0], 3072), np.uint8)


def pickled(**value):
    return lambda path: path.write_bytes(pickle.dumps({key.encode(): item for key, item in value.items()}))


@pytest.mark.parametrize(
    "layout, damage, message",
    [
        ("binary", lambda path: path.unlink(), "is missing"),
        ("binary", lambda path: path.write_bytes(path.read_bytes()[:-1]), "is no whole number of 3074-byte records"),
        ("binary", lambda path: path.write_bytes(path.read_bytes()[:-3074]), "holds 5 images and 5 labels; 6 of each"),
        ("binary", first_bytes(20), "is not CIFAR-100: it has the coarse label 20, above 19"),
        ("binary", first_bytes(0, 100), "is not CIFAR-100: it has the fine label 100, above 99"),
        ("python", pickled(data=PIXELS, fine_labels=[0] * 6), "has no b'coarse_labels'"),
        ("python", pickled(data=PIXELS, coarse_labels=[0] * 6), "has no b'fine_labels'"),
        ("python", pickled(data=PIXELS, coarse_labels=[0] * 6, fine_labels=[0] * 5), "holds 6 images and 5 labels"),
        ("python", pickled(data=PIXELS, coarse_labels=[0] * 6, fine_labels=[100] * 6), "the fine label 100, above 99"),
        ("python", pickled(data=print), "names the forbidden builtins.print"),
        ("python", lambda path: path.write_bytes(b"\x80"), "is no readable CIFAR-100 pickle"),
    ],
)
def test_damaged_files_are_refused_in_one_line_that_names_the_file(layout, damage, message, tmp_path):
    write(tmp_path, layout)
    path = tmp_path / FOLDER[layout] / FILES[FOLDER[layout]][0]
    damage(path)
    with pytest.raises(data.DataError, match=message) as caught:
        data.load_cifar100(tmp_path, records=RECORDS)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_cifar10_and_other_folders_are_no_cifar100(tmp_path):
    for name in ("train", "test"):  # as in many a data set
        (tmp_path / name).mkdir()
    message = "holds neither cifar-100-binary nor cifar-100-python; unpack .* python -m training data cifar100"
    with pytest.raises(data.DataError, match=message):
        data.load("cifar100", tmp_path)
    with pytest.raises(data.DataError, match="records is 0"):
        data.load_cifar100(tmp_path, records=(6, 0))


def test_excerpts_are_refused_unless_asked_for(tmp_path):
    write(tmp_path, "python")
    with pytest.raises(data.DataError, match="50000 of each are expected"):
        data.load("cifar100", tmp_path)
