"""ImageNet's layouts with small JPEGs made here; every image has a colour that tells which one it is."""

import io
import multiprocessing
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from training.data import batches, imagenet
from training.data import data_sets as data
from training.data.image_files import list_shards
from training.data.imagenet import ImageNet, load_imagenet
from training.data.in_memory import from_bytes
from training.data.source import Source, batch_count
from training.engine.callbacks import Callback
from training.engine.config import RunConfig
from training.engine.loop import Training
from training.networks import ResNet
from training.runtime.progress import Progress

CLASSES = ("n01440764", "n01443537", "n01484850")
TRAIN, TEST = 12, 6
WORKERS = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*fork:DeprecationWarning",  # of Python 3.12 and later, whenever PyTorch starts a worker
    "ignore:This DataLoader will create:UserWarning",  # where there is one processor
)


def colour(split, number):
    return (20 * number + 10, 40, 200) if split == "train" else (20 * number + 10, 200, 40)


def jpeg(split, number):
    """Of one colour, and of a shape that no other has."""
    image = Image.new("RGB", (40 + 3 * number, 64 - 2 * number), colour(split, number))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def label(number):
    return number % len(CLASSES)


def write_folders(place):
    for split, count in (("train", TRAIN), ("val", TEST)):
        for number in range(count):
            folder = place / split / CLASSES[label(number)]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{folder.name}_{number:02d}.JPEG").write_bytes(jpeg(split, number))
    return place


def shard(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def sample(split, number):
    key = f"images/{split}_{number:02d}"
    return [(f"{key}.jpg", jpeg(split, number)), (f"{key}.cls", b"%d\n" % label(number)), (f"{key}.json", b"{}")]


def write_shards(place, pattern="{split}/{part:06d}.tar"):
    for split, count in (("train", TRAIN), ("val", TEST)):
        for part in range(2):
            members = [member for number in range(part, count, 2) for member in sample(split, number)]
            shard(place / pattern.format(split=split, part=part), members)
    return place


@pytest.fixture(params=["folders", "shards"])
def images(request, tmp_path):
    place = (write_folders if request.param == "folders" else write_shards)(tmp_path)
    return load_imagenet(place, workers=0, size=16, resize=18)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(images, split):
    """Which images these are, by their colours, which must be the same all over."""
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    colours = images * std + mean
    others = torch.tensor(colour(split, 0)[1:], dtype=torch.float32)
    assert (colours[:, 1:] - others[:, None, None]).abs().max() < 4
    number = (colours[:, 0] - 10) / 20
    assert (number - number.round()).abs().max() < 0.2
    return number[:, 0, 0].round().long().tolist()


def test_an_epoch_shows_every_image_once_with_its_label(images):
    seen = []
    for batch, labels in images.batches(5, seeded(), drop_last=False):
        assert batch.dtype == torch.float32 and batch.shape[1:] == images.shape == (3, 16, 16)
        found = numbers(batch, "train")
        assert labels.tolist() == [label(number) for number in found]
        seen += found
    assert sorted(seen) == list(range(TRAIN)) and seen != sorted(seen)


def test_test_images_come_in_order_with_their_labels(images):
    batches = list(images.test_batches(4))
    assert [len(labels) for _, labels in batches] == [4, 2]
    found = [number for batch, _ in batches for number in numbers(batch, "val")]
    assert sorted(found) == list(range(TEST))
    labels = torch.cat([labels for _, labels in batches])
    assert labels.tolist() == [label(number) for number in found] == images.test_labels.tolist()


def test_is_a_source_and_so_is_what_lives_on_the_device(images):
    pixels, labels = np.zeros((4, 1, 8, 7), np.uint8), np.zeros(4, np.uint8)
    arrays = (pixels, labels, pixels, labels)
    resident = from_bytes("four", "made up", arrays, classes=1, padding=0, flip=False, device="cpu")
    assert isinstance(images, Source) and isinstance(resident, Source) and resident.shape == (1, 8, 7)
    assert images.classes == 3 and batch_count(images, 5) == 2
    assert sorted(images.train_labels.tolist()) == sorted(map(label, range(TRAIN)))
    epoch = list(batches.batches(images, 5, seeded(), skip=1, channels_last=True))
    assert len(epoch) == 1 and len(list(batches.test_batches(images, 3))) == 2


def equal(left, right):
    assert len(left) == len(right)
    return all(
        torch.equal(a, b) for one, other in zip(left, right, strict=True) for a, b in zip(one, other, strict=True)
    )


def gradients(tmp_path, **options):
    """Images that show where they were cut: brightness rises in both directions."""
    for split in ("train", "val"):
        folder = tmp_path / split / "n01440764"
        folder.mkdir(parents=True)
        for number in range(10):
            rows, columns = np.mgrid[: 40 + number, : 50 - number]
            image = Image.fromarray(np.stack([4 * rows, 4 * columns, rows + columns], -1).astype(np.uint8))
            image.save(folder / f"{number}.jpeg", quality=95)
    return load_imagenet(tmp_path, size=16, resize=18, **options)


@WORKERS
def test_workers_change_nothing_and_end_with_the_epoch(tmp_path):
    alone = gradients(tmp_path, workers=0)
    together = load_imagenet(tmp_path, size=16, resize=18, workers=2)
    before = torch.get_rng_state()
    assert equal(list(alone.batches(3, seeded())), list(together.batches(3, seeded())))
    assert equal(list(alone.test_batches(4)), list(together.test_batches(4)))
    assert torch.equal(torch.get_rng_state(), before)
    epoch = together.batches(2, seeded())
    next(epoch)
    del epoch
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("skip", [0, 1, 3, 4])
def test_skip_gives_the_rest_exactly_and_decodes_nothing_before(skip, tmp_path):
    source = gradients(tmp_path, workers=0)
    whole = list(source.batches(3, seeded(), drop_last=False))
    order = torch.randperm(10, generator=seeded())
    for index in order[: 3 * skip].tolist():
        with open(source.train.where(index), "wb"):
            pass  # a damaged image that nobody may look at
    assert equal(list(source.batches(3, seeded(), drop_last=False, skip=skip)), whole[skip:])


def test_the_generator_alone_decides(tmp_path):
    source = gradients(tmp_path, workers=0)
    used, dropped = seeded(), seeded()
    first = list(source.batches(4, used))
    source.batches(7, dropped, augment=False, skip=1)
    assert torch.equal(used.get_state(), dropped.get_state())
    second = list(source.batches(4, used))
    assert not equal(first, second) and equal(second, list(source.batches(4, dropped)))
    by_five = torch.cat([batch for batch, _ in source.batches(5, seeded())])
    assert torch.equal(by_five, torch.cat([batch for batch, _ in source.batches(4, seeded(), drop_last=False)]))
    (plain, _), (again, _) = (next(source.batches(10, seeded(), augment=False)) for _ in range(2))
    assert torch.equal(plain, again) and not torch.equal(plain, by_five)
    order = torch.randperm(10, generator=seeded())
    (test, _) = next(source.test_batches(10))
    assert torch.equal(plain, test[order])  # the same files stand in both splits here


def test_channels_last_changes_the_memory_only(images):
    plain, other = (list(images.batches(4, seeded(), channels_last=last)) for last in (False, True))
    assert equal(plain, other)
    assert all(batch.is_contiguous() for batch, _ in plain)
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch, _ in other)


def test_arguments_out_of_range_are_refused_at_the_call(images):
    with pytest.raises(ValueError, match="batch size is 13; it must be between 1 and the 12 images of imagenet"):
        images.batches(13, seeded())
    with pytest.raises(ValueError, match="skip is 4; an epoch of imagenet has 3 batches of 4"):
        images.batches(4, seeded(), skip=4)
    with pytest.raises(ValueError, match="batch size is 0; it must be at least 1"):
        images.test_batches(0)
    with pytest.raises(ValueError, match="size is 20; it must be between 1 and resize = 18"):
        ImageNet("x", images.train, images.test, 3, "", torch.device("cpu"), 0, size=20, resize=18)
    with pytest.raises(ValueError, match="workers is -1; it must be at least 0"):
        ImageNet("x", images.train, images.test, 3, "", torch.device("cpu"), -1)


def test_provenance(tmp_path):
    folders = load_imagenet(write_folders(tmp_path / "a"), workers=0)
    shards = load_imagenet(write_shards(tmp_path / "b" / "imagenet").parent, workers=0)
    flat = load_imagenet(write_shards(tmp_path / "c", "imagenet-{split}-{part:06d}.tar"), workers=0)
    said = "12 train and 6 test images in 3 classes (not the published counts), files not verified, listing sha256 "
    assert folders.provenance.startswith("ImageNet from class folders, " + said)
    assert shards.provenance.startswith("ImageNet from WebDataset shards, " + said)
    assert flat.provenance == shards.provenance != folders.provenance
    path = next((tmp_path / "a" / "val").rglob("*.JPEG"))
    path.rename(path.with_name("x.JPEG"))
    assert load_imagenet(tmp_path / "a").provenance != folders.provenance
    assert folders.shape == (3, 224, 224) and folders.workers == 0 < load_imagenet(tmp_path / "a").workers <= 16


@WORKERS
@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(workers, tmp_path):
    write_folders(tmp_path)
    path = tmp_path / "train" / CLASSES[1] / f"{CLASSES[1]}_04.JPEG"
    path.write_bytes(path.read_bytes()[:-30])
    source = load_imagenet(tmp_path, workers=workers, size=16, resize=18)
    with pytest.raises(
        data.DataError, match=f"{path} cannot be decoded: image file is truncated.*; replace it"
    ) as caught:
        list(source.batches(3, seeded()))
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(data.DataError, match=f"{path} cannot be read .No such file"):
        list(source.batches(3, seeded()))


def test_a_broken_image_in_a_shard_is_named(tmp_path):
    write_shards(tmp_path)
    path = tmp_path / "val" / "000001.tar"
    shard(path, [("dir/a.b.jpg", b""), *sample("val", 1), ("z.PNG", b"nothing"), ("z.cls", b"2")])
    source = load_imagenet(tmp_path, workers=0)
    with pytest.raises(data.DataError, match=f"{path}:z.PNG is no image; replace it"):
        list(source.test_batches())


def add(name, content=b""):
    def change(place):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)

    return change


def empty_class(place):
    (place / "train" / "n09").mkdir()


@pytest.mark.parametrize(
    "change, message",
    [
        (add("val/ILSVRC2012_val_00000001.JPEG"), "is no folder of a class; sort the images into .*/val/CLASS/"),
        (add("val/n09/a.jpeg"), "val/n09 is of a class that the training images do not have"),
        (add("train/n01440764/notes.txt"), r"notes\.txt is no image \(\.jpeg, \.jpg, \.png\); remove it"),
        (empty_class, "train/n09 holds no images; remove it or unpack it again"),
        (lambda place: (place / "val").rename(place / "x"), "holds neither val/CLASS/NAME.JPEG nor val/.*tar; place"),
    ],
)
def test_folders_that_are_not_as_they_should_be(change, message, tmp_path):
    change(write_folders(tmp_path))
    with pytest.raises(data.DataError, match=message):
        load_imagenet(tmp_path)


def test_hidden_files_and_classes_without_validation_images_do_not_matter(tmp_path):
    write_folders(tmp_path)
    add("train/.DS_Store")(tmp_path)
    add("train/n01440764/.hidden")(tmp_path)
    add("train/n09/a.png")(tmp_path)
    assert load_imagenet(tmp_path).classes == 4
    (tmp_path / "empty" / "val").mkdir(parents=True)
    (tmp_path / "train").rename(tmp_path / "empty" / "train")
    with pytest.raises(data.DataError, match="val holds no images in class folders"):
        load_imagenet(tmp_path / "empty")


IMAGE = ("a.jpg", b"image")


@pytest.mark.parametrize(
    "members, message",
    [
        ([], "holds no samples of KEY.jpg and KEY.cls"),
        ([("n01440764.tar", b"")], "holds no samples"),
        ([IMAGE], "has, for /a, only one of image and class"),
        ([IMAGE, ("a.cls", b"1"), ("b.cls", b"1")], "has, for /b, only one"),
        ([IMAGE, ("a.cls", b"dog")], "a.cls holds b'dog', not a class as digits"),
        ([IMAGE, ("a.cls", b"-1")], "not a class as digits"),
        ([IMAGE, ("a.cls", b"9999999999")], "not a class as digits"),
        ([IMAGE, ("a.cls", b"1"), ("a.jpeg", b"")], "a.jpeg is there twice for the sample /a|only one"),
        ([IMAGE, ("a.cls", b"1"), ("a.jpg", b"")], "a.jpg is there twice for the sample /a"),
    ],
)
def test_shards_that_are_not_as_they_should_be(members, message, tmp_path):
    shard(tmp_path / "0.tar", members)
    with pytest.raises(data.DataError, match=message) as caught:
        list_shards([tmp_path / "0.tar"])
    assert str(tmp_path / "0.tar") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [100, 700, 1300, 5000])
def test_truncated_and_compressed_shards_are_refused(cut, tmp_path):
    path = tmp_path / "0.tar"
    shard(path, [("a.cls", b"1"), ("a.jpg", b"x" * 5000)])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with pytest.raises(data.DataError, match=f"{path} (is no whole tar file|is truncated|holds no samples|has, for)"):
        list_shards([path])
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(data.DataError, match=r"is no whole tar file .*; copy it again, uncompressed"):
        list_shards([path])
    with pytest.raises(data.DataError, match=r"cannot be read .No such file"):
        list_shards([tmp_path / "1.tar"])


def test_a_validation_class_beyond_those_of_training_is_refused(tmp_path):
    write_shards(tmp_path)
    shard(tmp_path / "val" / "000009.tar", [("a.jpg", b""), ("a.cls", b"3")])
    with pytest.raises(data.DataError, match="has a validation image of class 3, above 2 in training"):
        load_imagenet(tmp_path)


@WORKERS
def test_is_found_by_name_and_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "_processors", lambda: 0)
    source = data.load("imagenet", write_folders(tmp_path / "imagenet").parent)
    assert source.name == "imagenet" and source.shape == (3, 224, 224)
    small = load_imagenet(tmp_path, workers=0, size=16, resize=18)
    config = RunConfig(epochs=2, batch=4, lr=0.01)
    network = ResNet(8, 4, channels=small.shape[0], classes=small.classes)
    with Progress("training", 6) as progress:
        trained = Training(config, network, small).run(progress, Callback())
    assert trained.steps == 6 and 0 <= trained.accuracy <= 1


def test_without_pillow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for module in ("training.data.imagenet", "training.data.image_crops"):
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(
        data.DataError,
        match=r"images in files need Pillow .*: pip install -e '\.\[imagenet\]' in the clone",
    ):
        data.load("imagenet")
