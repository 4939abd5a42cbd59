"""The exported folder: read back without this package, compared with the trained network; whole or not there."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training.data.data_sets import load_digits
from training.errors import InputError
from training.export import bundle, export
from training.export.agreement import check_agreement
from training.export.atomic_folder import atomic_folder
from training.export.decided import decided
from training.export.onnx_file import run_onnx, write_onnx
from training.export.packages import PACKAGES
from training.export.plain_network import plain
from training.gating.gates import Gates
from training.gating.network_structure import structure_of
from training.gating.removal import shrink
from training.networks import build

DIGITS = load_digits()
FILES = {"README.md", "export.json", "network.onnx", "network.py", "weights.safetensors"}


@pytest.fixture(scope="module")
def trained():
    """A gated network in the middle of a training on digits: some gates were removed, others are off."""
    torch.manual_seed(0)
    network = build("resnet8", 1, 10, width=4)
    gates, optimizer = Gates(network), torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    full = structure_of(network, DIGITS.shape)
    for step, (images, labels) in enumerate(DIGITS.batches(64, torch.Generator().manual_seed(0))):
        if step == 10:
            remove = torch.zeros(len(gates.theta), dtype=torch.bool)
            remove[[1, 5, 9]] = True
            shrink(network, optimizer, gates, remove)
        gates.sample(len(images))
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    gates.theta.data[[0, 3, 8]] = 0.2
    gates.theta.data[-1] = 0.4  # the third branch
    return network, gates, full


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    network, gates, full = trained
    folder = tmp_path_factory.mktemp("runs") / "new" / "export"
    run = {"command": "python -m training validate", "step": 22, "steps": 44}
    assert export(network, gates, folder, DIGITS, name="resnet8", full=full, run=run) == folder
    return folder


def test_the_folder_holds_what_it_says(trained, exported):
    network, gates, full = trained
    assert {path.name for path in exported.iterdir()} == FILES
    assert [path.name for path in exported.parent.parent.iterdir()] == ["new"]
    about = json.loads((exported / "export.json").read_text())
    _, shrunken, left = decided(network, gates)
    assert about["gates"] == {"left": len(left.theta), "branches_left": 2, "at_start": gates.total}
    assert about["complexity"]["parameters"] == sum(p.numel() for p in shrunken.parameters())
    assert about["complexity"]["macs"] == structure_of(shrunken, DIGITS.shape).full_macs < full.full_macs
    assert about["complexity"]["macs_full"] == full.full_macs
    assert about["complexity"]["parameters_full"] == full.full_parameters
    assert about["data"] == DIGITS.provenance and about["input"]["shape"] == [1, 8, 8]
    with torch.no_grad():
        right = shrunken(DIGITS.normalise(DIGITS.test_images)).argmax(1) == DIGITS.test_labels
    assert about["accuracy"] == {"value": pytest.approx(right.float().mean().item()), "images": 360}
    text = (exported / "README.md").read_text()
    assert "Trained for 22 steps of 44: the run is not finished, by `python -m training validate`." in text
    assert DIGITS.provenance in text and f"Test accuracy: {100 * about['accuracy']['value']:.2f}% of 360 images" in text


def test_it_is_read_without_this_package_by_the_lines_in_its_readme(trained, exported, tmp_path):
    load, load_onnx = re.findall(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)
    for lines in (load, load_onnx):
        assert len(lines.strip().splitlines()) < 10
    np.save(tmp_path / "images.npy", DIGITS.test_images.numpy())
    program = f"""
import sys
for name in ("dynamics", "training", "figures"):
    sys.modules[name] = None  # an import of it fails
sys.dont_write_bytecode = True
sys.path.insert(0, "")
import numpy
stored = numpy.load({str(tmp_path / "images.npy")!r})
images = __import__("torch").from_numpy(stored)
{load}
numpy.save({str(tmp_path / "plain.npy")!r}, logits.numpy())
images = stored
{load_onnx}
numpy.save({str(tmp_path / "onnx.npy")!r}, logits)
"""
    path = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", program], cwd=exported, env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    masked, *_ = decided(*trained[:2])
    with torch.no_grad():
        expected = masked(DIGITS.normalise(DIGITS.test_images)).numpy()
    for name in ("plain", "onnx"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, rtol=1e-5, atol=1e-5)


def test_the_same_network_gives_the_same_files(trained, exported, tmp_path):
    network, gates, full = trained
    again = export(network, gates, tmp_path / "again", DIGITS, name="resnet8", full=full)
    for name in ("network.py", "weights.safetensors", "network.onnx"):
        assert (again / name).read_bytes() == (exported / name).read_bytes(), name
    assert str(tmp_path).encode() not in (again / "network.onnx").read_bytes()
    assert b"site-packages" not in (again / "network.onnx").read_bytes()


@pytest.mark.parametrize(("name", "share"), [("vgg16-bypass", 1.0), ("lenet-5", 0.5)])
def test_onnx_of_other_networks_pruned_and_emptied(name, share, tmp_path):
    torch.manual_seed(0)
    shape = (1, 28, 28) if name == "lenet-5" else (3, 32, 32)
    network = build(name, shape[0], 10, size=shape[1], width=2).eval()
    gates = Gates(network)
    shrink(network, None, gates, torch.rand(len(gates.theta)) < share)
    write_onnx(_loaded(network, shape), shape, tmp_path / "network.onnx")
    for count in (1, 3):
        images = torch.randn(count, *shape)
        with torch.no_grad():
            check_agreement("network.onnx", run_onnx(tmp_path / "network.onnx", images), network(images))


def _loaded(network, shape):
    from training.export import Inputs, load

    return load(plain(network, Inputs(shape, (0.0,) * shape[0], (1.0,) * shape[0], "numbers"), 10, "A network."))


# ---- failures


def _with_wrong_weight(model):
    """One bias of the last layer off by a thousandth."""
    import onnx

    [bias] = [part for part in model.graph.initializer if part.name == "linear.bias"]
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 1e-3
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))


def _for_one_number_of_images(model):
    """The number of images that outputs are compared on first, and no other."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 64


def _wrong_source(network, *rest):
    made = plain(network, *rest)
    return type(made)(made.source.replace("self.linear(x)", "self.linear(x) * 1.001"), made.weights)


def test_source_that_differs_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "plain", _wrong_source)
    with pytest.raises(InputError, match=r"network\.py differs from the trained network by .*; allowed is 1e-05"):
        export(*trained[:2], tmp_path / "a" / "b", DIGITS, name="resnet8")
    assert not list(tmp_path.iterdir())


def _other_channels(network, gates):
    return build("resnet8", 3, 10, width=4).eval(), network, gates


@pytest.mark.parametrize(
    ("part", "stand_in", "message"),
    [
        ("decided", _other_channels, r"network 'resnet8' cannot be run on images \[64, 1, 8, 8\]: ."),
        ("load", lambda _: nn.Linear(3, 3), r"network\.py cannot be run on images \[64, 1, 8, 8\]: ."),
        ("write_onnx", lambda *_: 1 / 0, r"network 'resnet8' cannot be written as ONNX: division by zero"),
    ],
)
def test_whatever_is_raised_on_the_way_is_said_in_one_line(trained, tmp_path, monkeypatch, part, stand_in, message):
    monkeypatch.setattr(bundle, part, stand_in)
    with pytest.raises(InputError, match=message) as raised:
        export(*trained[:2], tmp_path / "a" / "b", DIGITS, name="resnet8")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with_wrong_weight, r"network\.onnx differs from the trained network by .*; allowed is 1e-05"),
        (_for_one_number_of_images, r"network\.onnx cannot be run on 1 images: .*invalid dimensions"),
    ],
)
def test_an_onnx_file_that_differs_leaves_nothing_behind(trained, exported, tmp_path, monkeypatch, change, message):
    import onnx

    def write(network, shape, path):
        model = onnx.load(exported / "network.onnx")
        change(model)
        path.write_bytes(model.SerializeToString())

    monkeypatch.setattr(bundle, "write_onnx", write)
    with pytest.raises(InputError, match=message) as raised:
        export(*trained[:2], tmp_path / "a" / "b", DIGITS, name="resnet8")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_agreement_is_relative_to_the_largest_logit():
    expected = torch.tensor([[200.0, 1.0]])
    assert check_agreement("it", expected + 1e-3, expected) == pytest.approx(5e-6, rel=0.02)
    with pytest.raises(InputError, match=r"it differs from the trained network by 2\.0e-05 of its largest logit"):
        check_agreement("it", expected + 4e-3, expected)
    with pytest.raises(InputError, match=r"it differs from the trained network by 2\.0e-05"):
        check_agreement("it", torch.tensor([[2e-5]]), torch.tensor([[0.0]]))
    with pytest.raises(InputError, match="it differs from the trained network by nan"):
        check_agreement("it", torch.tensor([[float("nan")]]), torch.tensor([[0.0]]))
    with pytest.raises(InputError, match="logits of the trained network must be finite"):
        check_agreement("it", torch.tensor([[0.0]]), torch.tensor([[float("inf")]]))
    with pytest.raises(InputError, match=r"it gives logits of shape \[1, 1\], the network \[1, 2\]"):
        check_agreement("it", torch.zeros(1, 1), torch.zeros(1, 2))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_folder_is_not_there(tmp_path, error):
    with pytest.raises(error), atomic_folder(tmp_path / "a" / "b") as partial:
        (partial / "file").write_text("half")
        assert not (tmp_path / "a").exists()
        raise error
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(trained, tmp_path):
    (tmp_path / "mine").write_text("text")
    with pytest.raises(InputError, match=r"folder .* exists already: choose another --out, or remove it"):
        export(*trained[:2], tmp_path, DIGITS, name="resnet8")
    with pytest.raises(InputError, match="exists already"):
        export(*trained[:2], tmp_path / "mine", DIGITS, name="resnet8")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["text"]
    with pytest.raises(InputError, match=r"folder .* cannot be created \(Not a directory\)"):
        export(*trained[:2], tmp_path / "mine" / "x", DIGITS, name="resnet8")
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as partial:
        (partial / "file").write_text("whole")
    assert (tmp_path / "empty" / "file").read_text() == "whole"


@pytest.mark.parametrize("missing", [PACKAGES[1:2], PACKAGES])
def test_missing_packages_are_named_with_the_extra(trained, tmp_path, monkeypatch, missing):
    monkeypatch.setattr("training.export.packages.find_spec", lambda name: None if name in missing else object())
    with pytest.raises(InputError) as raised:
        export(*trained[:2], tmp_path / "out", DIGITS, name="resnet8")
    assert str(raised.value) == f"export needs {', '.join(missing)}: pip install -e '.[export]' in the clone"
    assert not list(tmp_path.iterdir())
