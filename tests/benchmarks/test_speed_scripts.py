"""The timing scripts run from end to end in a tiny size, and what they compare is what they say."""

import json

import numpy as np
import pytest
import torch

from benchmarks import images_per_second, shrunk, step
from benchmarks.plain_resnet import plain_resnet
from benchmarks.training_step import Step, ratio, take_turns
from training.networks import ResNet

TINY = ["--networks", "resnet8", "--batch", "4", "--data-folder", "nowhere"]


@pytest.mark.slow
def test_gated_over_ungated(tmp_path, capsys):
    out = tmp_path / "step.json"
    assert step.main([*TINY, "--rounds", "2", "--threads", "1", "--output", str(out)]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["gates"] == 112 + 3 and row["gated over ungated"]["n"] == 2 and row["tracking seconds"] > 0
    assert "gated/ungated" in capsys.readouterr().out


@pytest.mark.slow
def test_shrunken_steps(tmp_path, monkeypatch):
    """At one share; that every share is removed is told below."""
    monkeypatch.setattr(shrunk, "SHARES", (0.5,))
    out = tmp_path / "shrunk.json"
    assert shrunk.main([*TINY, "--rounds", "1", "--threads", "1", "--output", str(out)]) == 0
    rows = json.loads(out.read_text())["networks"][0]["rows"]
    assert len(rows) == len(shrunk.KINDS) and all(0 < row["flops ratio"] < 1 for row in rows)


@pytest.mark.slow
def test_images_per_second_on_a_cpu(tmp_path):
    out = tmp_path / "images.json"
    sizes = ["--device", "cpu", "--steps", "1", "--turns", "1", "--output", str(out)]
    assert images_per_second.main([*TINY, *sizes]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert set(row["images a second"]) == {"peer", "plain", "gated", "gated, shrunk"}


@pytest.mark.parametrize(("kind", "share"), [(kind, share) for kind in shrunk.KINDS for share in shrunk.SHARES])
def test_about_the_wanted_share_is_removed(kind, share):
    run = Step("resnet20", gated=True)
    full = run.macs
    shrunk.removed(run, kind, share)
    left = 0.29 if (kind, share) == ("units by 8", 0.75) else 1 - share  # eight of sixteen units must stay
    assert run.macs / full == pytest.approx(left, abs=0.06)
    sizes = np.array(run.method.gates.sizes[: len(run.method.gates.groups)])
    if kind == "units not by 8":
        touched = sizes[~np.isin(sizes, (16, 32, 64))]
        assert len(touched) and (touched % 8).all()
    else:
        assert not (sizes % 8).any()


def test_the_peer_is_the_same_network():
    ours, peer = ResNet(20), plain_resnet(20)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), peer.parameters(), strict=True):
            theirs.copy_(mine)
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(ours(x), peer(x), rtol=1e-4, atol=1e-4)


def test_turns_alternate_and_ratios_are_of_neighbours():
    seen = []
    calls = [lambda batch: seen.append(("a", batch)), lambda batch: seen.append(("b", batch))]
    assert [len(s) for s in take_turns(calls, [1, 2], 2)] == [2, 2]
    assert seen == [("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 1), ("b", 1)]
    assert ratio([2.0, 6.0, 4.0], [1.0, 2.0, 1.0]) == {
        "median": 3.0,
        "quartiles": [2.5, 3.5],
        "of fastest": 2.0,
        "n": 3,
    }


@pytest.mark.parametrize("script", [step, shrunk, images_per_second])
def test_sizes_below_one_are_refused(script, capsys):
    assert script.main(["--batch", "0"]) == 2
    assert "must be ≥ 1" in capsys.readouterr().err
