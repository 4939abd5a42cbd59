"""What cannot be read as a file is told at once, of every file that a command reads."""

import os
from pathlib import Path

import pytest

from training.data.archives import ARCHIVES
from training.data.cifar_files import read_cifar
from training.data.cifar_layouts import CIFAR10
from training.data.fetch import fetch
from training.data.image_files import list_folders, list_shards
from training.data.imagenet import load_imagenet
from training.errors import DataError, InputError
from training.reports.html.runs import _scalars
from training.runtime.atomic_files import read_json
from training.runtime.checkpoints import read
from training.runtime.readable import check_folder


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def cifar(tmp_path):
    for name in CIFAR10.layouts[0].checksums:
        pipe(tmp_path / CIFAR10.layouts[0].folder / name)
    read_cifar(CIFAR10, tmp_path)


def official(tmp_path):
    for name in CIFAR10.layouts[0].checksums:
        pipe(tmp_path / CIFAR10.layouts[0].folder / name)
    fetch(ARCHIVES["cifar10"], tmp_path)


def archive(tmp_path):
    pipe(tmp_path / ARCHIVES["cifar10"].name)
    fetch(ARCHIVES["cifar10"], tmp_path)


def begun_archive(tmp_path):
    pipe(tmp_path / f".{ARCHIVES['cifar10'].name}.part")
    fetch(ARCHIVES["cifar10"], tmp_path)


def image(tmp_path):
    pipe(tmp_path / "cat" / "x.jpg")
    list_folders(tmp_path)


def shard(tmp_path):
    list_shards([pipe(tmp_path / "x.tar")])


READERS = [
    cifar,
    official,
    archive,
    begun_archive,
    image,
    shard,
    lambda tmp_path: read_json(pipe(tmp_path / "table.json")),
    lambda tmp_path: read(pipe(tmp_path / "gated-00000001-0123456789abcdef.pt")),
    lambda tmp_path: _scalars(pipe(tmp_path / "scalars.jsonl")),
]


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_not_waited_for(reader, tmp_path):
    with pytest.raises(InputError, match=r"must be a file; it is something else|is no image") as refused:
        reader(tmp_path)
    assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "reader", [lambda folder: read_cifar(CIFAR10, folder), lambda folder: load_imagenet(folder), check_folder]
)
def test_a_folder_that_may_not_be_read_is_not_called_missing(reader, tmp_path, monkeypatch):
    access = os.access  # the tests may be run by root, who may read everything
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    with pytest.raises(InputError, match=rf"^{tmp_path} cannot be read \(permission denied\)$"):
        reader(tmp_path)


def test_the_kind_of_error_is_that_of_data():
    with pytest.raises(DataError):
        read_cifar(CIFAR10, os.devnull + "/nowhere")
