"""Downloads, against a server on this machine that misbehaves in every way a test asks for."""

import dataclasses
import hashlib
import http.server
import io
import pickle
import subprocess
import sys
import tarfile
import threading
import time

import numpy as np
import pytest

from training.data.archives import ARCHIVES, Archive, unpack
from training.data.cifar_files import read_cifar
from training.data.cifar_layouts import CIFAR100, Layout
from training.data.download import DownloadError, download
from training.data.fetch import fetch
from training.errors import DataError, InputError

RECORDS = (300, 100)


def pack(members):
    """A .tar.gz of files, each given by its name and content; a `TarInfo` stands for itself."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def described(content, files):
    """What the content of an archive is, were it published: made-up CIFAR-100 in the Python layout."""
    md5 = {name: hashlib.md5(item).hexdigest() for name, item in files.items()}
    names = {"meta": md5.pop("meta")}
    layout = Layout("python", "cifar-100-python", "md5", md5, names)
    binary = Layout("binary", "cifar-100-binary", "md5", {"train.bin": "0" * 32, "test.bin": "0" * 32})
    cifar = dataclasses.replace(CIFAR100, records=RECORDS, layouts=(binary, layout))
    sums = {algorithm: hashlib.new(algorithm, content).hexdigest() for algorithm in ("md5", "sha256")}
    return Archive("http://127.0.0.1:9/cifar-100-python.tar.gz", len(content), sums, cifar, layout)


def made_files():
    draw = np.random.default_rng(0)
    files = {}
    for name, n in zip(("train", "test"), RECORDS, strict=True):
        batch = {
            b"coarse_labels": draw.integers(0, 20, n).tolist(),
            b"fine_labels": draw.integers(0, 100, n).tolist(),
            b"data": draw.integers(0, 256, (n, 3072), np.uint8),
        }
        files[name] = pickle.dumps(batch, protocol=2)
    return files | {"meta": b"names"}


FILES = made_files()
CONTENT = pack([(f"cifar-100-python/{name}", content) for name, content in {**FILES, "file.txt~": b""}.items()])
ARCHIVE = described(CONTENT, FILES)
PLACE = "cifar-100-python"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `CONTENT`; the first part of the path says how."""

    def do_GET(self):
        how = self.path.split("/")[1]
        self.server.ranges.append(self.headers["Range"])
        body = {"other": CONTENT[:-9] + b"123456789", "larger": CONTENT + b"1"}.get(how, CONTENT)
        start = 0
        if self.headers["Range"] and how in ("good", "drip", "stall", "elsewhere"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            said = start + (how == "elsewhere")
            self.send_header("Content-Range", f"bytes {said}-{len(body) - 1}/{len(body)}")
        elif how == "missing":
            return self.send_error(404)
        else:
            self.send_response(200)
        if how != "endless":
            self.send_header("Content-Length", len(body) - start)
        self.end_headers()
        rest = body[start:]
        if how == "endless":
            rest = body * 2
        self.wfile.write(rest[: 600_000 if how in ("short", "drip", "stall") else len(rest)])
        if how == "stall":
            self.server.released.wait(30)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass  # a client that goes away is what these tests are about


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.ranges, running.released = [], threading.Event()
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}).start()
        running.url = lambda how: f"http://127.0.0.1:{running.server_port}/{how}/cifar-100-python.tar.gz"
        yield running
        running.released.set()
        running.shutdown()


def is_complete(folder):
    """Whether the folder holds exactly what it should, no hidden leftovers among it."""
    assert [path.name for path in folder.iterdir()] == [PLACE]
    assert {path.name: path.read_bytes() for path in (folder / PLACE).iterdir()} == FILES
    return read_cifar(ARCHIVE.cifar, folder).official


def refused(message, folder, url, archive=ARCHIVE):
    with pytest.raises(DataError, match=message) as caught:
        fetch(archive, folder, url)
    assert "\n" not in str(caught.value)
    assert not (folder / PLACE).exists()
    return str(caught.value)


@pytest.mark.parametrize("how", ["good", "no-range", "drip"])
def test_downloads_once(how, server, tmp_path):
    folder = tmp_path / "new" / "data"
    assert fetch(ARCHIVE, folder, server.url(how)) == f"{folder / PLACE}: 2 files, official checksums verified"
    assert is_complete(folder)
    requests = len(server.ranges)
    assert requests == (3 if how == "drip" else 1)
    again = f"{folder / PLACE}: already there, 2 files with official checksums"
    assert fetch(ARCHIVE, folder, server.url(how)) == again
    assert len(server.ranges) == requests


@pytest.mark.slow
def test_a_killed_download_is_continued(server, tmp_path):
    script = "import pickle, sys; from training.data.fetch import fetch; fetch(*pickle.load(sys.stdin.buffer))"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    process.stdin.write(pickle.dumps((ARCHIVE, tmp_path, server.url("stall"))))
    process.stdin.close()
    part = tmp_path / ".cifar-100-python.tar.gz.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= 1 << 19):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    refused("is being written by another process", tmp_path, server.url("good"))
    process.kill()
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == [part.name]
    kept = part.stat().st_size
    fetch(ARCHIVE, tmp_path, server.url("good"))
    assert server.ranges[-1] == f"bytes={kept}-"
    assert is_complete(tmp_path)


@pytest.mark.parametrize(
    "how, message",
    [
        ("other", "and was removed; place"),
        ("larger", f"there are {len(CONTENT) + 1} bytes instead of {len(CONTENT)}"),
        ("endless", f"there are more than the expected {len(CONTENT)} bytes"),
        ("short", f"the connection closed after 600000 of {len(CONTENT)} bytes"),
        ("missing", "HTTP status 404 Not Found"),
    ],
)
def test_what_is_not_the_archive_is_refused(how, message, server, tmp_path):
    said = refused(message, tmp_path, server.url(how))
    place = f"place cifar-100-python.tar.gz (md5 {ARCHIVE.checksums['md5']}) in {tmp_path}/ and run this again, "
    assert place + f"or unpack it so that {tmp_path / PLACE / 'train'} is there" in said
    fetch(ARCHIVE, tmp_path, server.url("good"))
    assert is_complete(tmp_path)


def test_nobody_there(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    said = refused(r"cannot download http://127\.0\.0\.1:9/\S* \(Connection refused\); place", tmp_path, None)
    assert "kept" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"x" * (len(CONTENT) + 5), b"x" * 10, CONTENT])
def test_whatever_an_earlier_call_left(content, server, tmp_path):
    (tmp_path / ".cifar-100-python.tar.gz.part").write_bytes(content)
    stale = tmp_path / ".cifar-100-python.part"
    stale.mkdir()
    (stale / "train").touch()
    if content[:1] == b"x" and len(content) == 10:  # continued, and found out at the end
        refused("has the md5 checksum .* and was removed", tmp_path, server.url("good"))
    fetch(ARCHIVE, tmp_path, server.url("good"))
    assert is_complete(tmp_path)
    if content == CONTENT:
        assert not server.ranges


def test_a_server_that_continues_elsewhere_is_refused(server, tmp_path):
    (tmp_path / ".cifar-100-python.tar.gz.part").write_bytes(CONTENT[:1000])
    refused("the server continues with bytes 1001-", tmp_path, server.url("elsewhere"))


def test_what_is_received_is_counted(server):
    counts = []
    file = io.BytesIO(CONTENT[:1000])
    download(server.url("good"), file, len(CONTENT), counts.append)
    assert file.getvalue() == CONTENT and sum(counts) == len(CONTENT) - 1000
    with pytest.raises(DownloadError, match="404"):
        download(server.url("missing"), io.BytesIO(), 1)


def test_an_archive_placed_by_hand_is_used_and_kept(tmp_path):
    given = tmp_path / "cifar-100-python.tar.gz"
    given.write_bytes(CONTENT[:-1])
    refused("has the md5 checksum .*; remove it and run this again", tmp_path, None)
    given.write_bytes(CONTENT)
    assert fetch(ARCHIVE, tmp_path) == f"{tmp_path / PLACE}: 2 files, official checksums verified"
    assert given.read_bytes() == CONTENT
    assert (tmp_path / PLACE / "test").read_bytes() == FILES["test"]


@pytest.mark.parametrize("folder, name", [("cifar-100-python", "test"), ("cifar-100-binary", "train.bin")])
def test_files_that_are_not_official_are_left_alone(folder, name, tmp_path):
    place = tmp_path / folder
    place.mkdir()
    (place / name).write_bytes(b"mine")
    with pytest.raises(DataError, match=f"{place} is there, but .*; move that folder away and run this again"):
        fetch(ARCHIVE, tmp_path)
    assert [path.read_bytes() for path in place.iterdir()] == [b"mine"]
    (place / name).unlink()  # an empty folder is in nobody's way
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(CONTENT)
    fetch(ARCHIVE, tmp_path)
    assert read_cifar(ARCHIVE.cifar, tmp_path).official


def link(name, target, kind):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def folder_member(name):
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    return member, b""


REST = [(f"{PLACE}/test", FILES["test"]), (f"{PLACE}/meta", FILES["meta"])]


@pytest.mark.parametrize(
    "members",
    [
        [link(f"{PLACE}/train", "/etc/hostname", tarfile.SYMTYPE), *REST],
        [link(f"{PLACE}/train", f"{PLACE}/test", tarfile.LNKTYPE), *REST],
        [folder_member(f"{PLACE}/train"), *REST],
        [(f"../{PLACE}/train", FILES["train"]), *REST],
        [(f"/{PLACE}/train", FILES["train"]), *REST],
        [(f"{PLACE}/train", FILES["train"][:-1]), *REST],
        REST,
        [],
    ],
)
def test_an_archive_of_other_things_leaves_nothing(members, tmp_path):
    content = pack(members)
    folder = tmp_path / "inside"
    folder.mkdir()
    with pytest.raises(DataError, match=r"in cifar-100-python\.tar\.gz, train "):
        unpack(described(content, FILES), io.BytesIO(content), folder)
    assert not list(folder.iterdir()) and list(tmp_path.iterdir()) == [folder]


def test_members_that_nobody_expects_are_not_unpacked(tmp_path):
    outside = [("../evil", b"1"), (str(tmp_path / "evil"), b"1"), (f"{PLACE}/evil", b"1"), (f"{PLACE}/../evil", b"1")]
    content = pack([*outside, link(f"{PLACE}/evil", "..", tarfile.SYMTYPE), (f"{PLACE}/train", FILES["train"]), *REST])
    folder = tmp_path / "inside"
    folder.mkdir()
    unpack(described(content, FILES), io.BytesIO(content), folder)
    assert is_complete(folder) and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("content", [b"", b"no archive", CONTENT[:-2000], CONTENT[:300_000] + b"x" + CONTENT[300_001:]])
def test_damage_that_has_the_right_checksum_is_still_one_line(content, tmp_path):
    with pytest.raises(DataError, match=r"cannot be unpacked|has another checksum|is missing"):
        unpack(described(content, FILES), io.BytesIO(content), tmp_path)
    assert not list(tmp_path.iterdir())


def test_places_and_urls_that_do_not_work(tmp_path):
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(DataError, match=r"cannot write \S*file \(File exists\)"):
        fetch(ARCHIVE, taken)
    with pytest.raises(InputError, match="url must begin with https:// or http://; got file:///etc/passwd"):
        fetch(ARCHIVE, tmp_path, "file:///etc/passwd")
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(CONTENT)
    (tmp_path / PLACE).mkdir()
    (tmp_path / PLACE / "notes").touch()
    with pytest.raises(DataError, match=r"cannot write .* \(Directory not empty\)"):
        fetch(ARCHIVE, tmp_path)


def test_the_published_archives():
    for name, archive in ARCHIVES.items():
        assert archive.cifar.name == name and archive.url.startswith("https://")
        assert archive.name == f"{archive.cifar.archives}python.tar.gz" and archive.layout.name == "python"
        assert {key: len(value) for key, value in archive.checksums.items()} == {"md5": 32, "sha256": 64}
