"""Two processes against one with the same global batch: losses, gates, weights and statistics, a removal included.

Rounding grows as training goes, some tenfold in ten steps at these rates. So whole runs are compared to 1e-5 while
they are short, and longer ones in float64.
"""

import contextlib
import copy
import json
import os
import pickle
import shutil
import socket
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import nn

import training.runtime.checkpoints
from tests.support.forks import side_by_side
from training.certificates.history import open_history
from training.certificates.tracker import TrackerSettings
from training.data.data_sets import load_digits
from training.engine.config import PruneSettings, RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.loop import Training
from training.errors import InputError
from training.experiments.validate import resume, validate
from training.gating.gates import Gates
from training.gating.removal import shrink
from training.networks import ResNet, build
from training.runtime.checkpoints import Checkpoints
from training.runtime.process_group import ALONE, Ranks, RanksDifferError
from training.runtime.shard import Share
from training.runtime.sync_batch_norm import SynchronisedBatchNorm1d, SynchronisedBatchNorm2d, synchronise

BATCH, STEPS, SHRINK_AT = 32, 10, 4


def train(ranks, common=True):
    """A few gated steps on digits, three units and a branch removed in the middle; what is left at the end."""
    torch.manual_seed(0)
    network = ResNet(8, 4, channels=1).double()
    gates = Gates(network, start=0.7).double()
    if common:
        synchronise(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    order, masks = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    losses, differences = [], []
    epoch = load_digits().batches(BATCH, order, share=ranks.share)
    for step in range(STEPS):
        images, labels = next(epoch)
        if step == SHRINK_AT:
            remove = torch.zeros(len(gates.theta), dtype=torch.bool)
            remove[[0, 2, 5, -1]] = True
            shrunk = shrink(network, optimizer, gates, remove)
            ranks.check_equal("what is left", torch.from_numpy(shrunk.kept), gates.theta)
        gates.sample(BATCH, masks, ranks.share)
        loss = F.cross_entropy(network(images.double()), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss, difference = loss.detach(), gates.difference()
        ranks.average([loss, difference])
        ranks.average([p.grad for p in network.parameters() if p.grad is not None])
        optimizer.step()
        with torch.no_grad():
            gates.theta.sub_(0.1 * (difference + 0.02)).clamp_(0, 1)
        losses.append(loss)
        differences.append(difference)
    ranks.check_equal("weights and gates", *network.parameters(), *gates.state_dict().values())
    return {
        "losses": torch.stack(losses),
        "differences": torch.cat(differences),
        "theta": gates.theta.detach(),
        "origin": gates.origin,
        **network.state_dict(),
    }


def normalise(share, features, affine, momentum, dtype):
    """Two steps of a normalisation, forward and backward, on a share of given rows; in float64 far from zero."""
    shape = (12, 3, *features)
    generator = torch.Generator().manual_seed(3)
    norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(3, affine=affine, momentum=momentum)
    if affine:
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
            norm.bias.copy_(torch.tensor([0.1, 0.2, -0.3]))
    if dtype == torch.float64:
        norm.double()
    synchronise(norm)
    out, away = {}, 50.0 if dtype == torch.float64 else 0.3
    for step in range(2):
        spread = torch.tensor([0.7, 1.0, 3.0]).view(3, *(1,) * len(features))
        x = (torch.randn(shape, generator=generator) * spread + away).to(dtype)
        target = torch.randn(shape, generator=generator).to(dtype)
        x, target = x[share.of(12)].clone().requires_grad_(), target[share.of(12)]
        y = norm(x)
        ((y - target).square() * y.exp()).mean().backward()
        out |= {f"y{step}": y.detach(), f"x.grad{step}": x.grad}
    grads = {f"{name}.grad": p.grad for name, p in norm.named_parameters()}
    return out, grads | norm.state_dict()


EXACT, SINGLE, HALF = torch.float64, torch.float32, torch.bfloat16
NORMS = [
    ((), True, 0.1, EXACT),
    ((5,), True, 0.1, EXACT),
    ((2, 3), True, 0.1, EXACT),
    ((2, 3), False, 0.1, EXACT),
    ((2, 3), True, None, EXACT),
    ((2, 3), True, 0.1, SINGLE),
    ((2, 3), True, 0.1, HALF),
]
TOLERANCE = {EXACT: 1e-12, SINGLE: 1e-6, HALF: 0.03}


def config(out):
    """Eleven steps, gates removed after the fourth, and a plain network of as many; a checkpoint at every step."""
    return RunConfig(
        out=out,
        network="resnet8",
        width=4,
        mode="prune",
        prune=PruneSettings(rule="θ < 0.5", every=2),
        tracker=TrackerSettings(warmup=4, window=4, every=2),
        nu=1.0,
        alpha=0.02,
        theta_start=0.6,
        gate_lr=0.5,
        lr=0.005,
        epochs=1,
        batch=120,
        threads=1,
        checkpoint_every=1e-9,
    )


def undone(run):
    """As if the processes had been killed after the third step of the gated network, before its removal."""
    (run / "table.json").unlink()
    for path in (run / "checkpoints").iterdir():
        if path.name.startswith("ungated") or path.name > "gated-00000004":
            path.unlink()
    assert [path.name[:14] for path in (run / "checkpoints").iterdir()] == ["gated-00000003"]


def _rank(rank, folder, ports):
    """What is done in each process; torchrun's variables are set as it sets them."""
    torch.set_num_threads(1)
    os.fsync = lambda file: None
    training.runtime.checkpoints.KEPT = 10
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {name: str(value) for name, value in here.items()}
    folder, (first, second, third) = Path(folder), ports
    os.environ["MASTER_PORT"] = str(first)
    _operate(rank, folder)
    os.environ["MASTER_PORT"] = str(second)
    made = validate(config(folder / "run"))
    assert (made is None) == (rank == 1)
    os.environ["MASTER_PORT"] = str(third)
    if made is not None:
        shutil.copytree(made, folder / "whole")
        undone(made)
    resume(folder / "run")


def _operate(rank, folder):
    with Ranks.of_environment("cpu", timeout=timedelta(seconds=60)) as ranks:
        seen = {"trained": train(ranks), "norms": [normalise(ranks.share, *norm) for norm in NORMS]}
        seen["statistics apart"] = train(ranks, common=False)
        for _, shared in seen["norms"]:
            ranks.average([value for name, value in shared.items() if name.endswith("grad")])
        values = [
            torch.tensor([1.0 + rank, 2.0]),
            torch.full((2, 3), 10.0 * rank).contiguous(),
            torch.tensor(rank + 0.0),
        ]
        ranks.average(values)
        seen["average"] = values
        total = torch.tensor([rank + 1])
        ranks.sum([total])
        seen["sum"] = total
        seen["gather"] = ranks.gather(torch.arange(6.0).view(3, 2) + 6 * rank)
        seen["handed out"] = ranks.broadcast({"w": torch.full((2, 3), rank), "of": ["rank", rank, None]})
        seen["disagree"] = []
        for parts in [(torch.tensor([0.5, 0.25 + rank * 1e-7]),), (f"rank {rank}",), (torch.zeros(2 + rank),)]:
            try:
                ranks.check_equal("θ", *parts)
            except RanksDifferError as error:
                seen["disagree"].append(str(error))
        ranks.check_equal("θ", torch.ones(3), "the same", 4)
        torch.manual_seed(0)
        run = Training(config(None), build("resnet8", 1, 10, size=8, width=4), load_digits(), GateLearner, ranks=ranks)
        try:
            run.method.remove(np.arange(31) == rank)
        except RanksDifferError as error:
            seen["disagree"].append(str(error))
        torch.manual_seed(rank)
        try:
            Training(config(None), build("resnet8", 1, 10, size=8, width=4), load_digits(), GateLearner, ranks=ranks)
        except RanksDifferError as error:
            seen["disagree"].append(str(error))
        try:
            nn.SyncBatchNorm(3)(torch.ones(2, 3))
        except ValueError as error:
            seen["torch"] = str(error)
        torch.save(seen | {"folder": str(folder)}, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return what two processes saw."""
    folder = tmp_path_factory.mktemp("ranks")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in sockets]
    side_by_side(_rank, (str(folder), ports))
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
def test_two_ranks_train_as_one_process(two):
    alone = train(ALONE)
    assert len(alone["theta"]) < 30 and alone["losses"].std() > 0.01
    for seen in two:
        assert seen["trained"].keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                seen["trained"][name], value, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    for name, value in two[0]["trained"].items():
        assert torch.equal(value, two[1]["trained"][name]), name


@pytest.mark.slow
def test_without_common_statistics_they_would_not(two):
    """What the comparison above can tell."""
    alone, apart = train(ALONE), two[0]["statistics apart"]
    assert (alone["theta"] - apart["theta"]).abs().max() > 1e-3


def lines(run):
    return [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]


def last(run, network):
    return Checkpoints(run / "checkpoints", network).last()


@pytest.mark.slow
def test_a_run_of_two_ranks_is_that_of_one_process(two, tmp_path):
    together = Path(two[0]["folder"]) / "whole"
    alone = validate(config(tmp_path / "run"))
    assert sorted(path.name for path in together.iterdir()) == sorted(path.name for path in alone.iterdir())
    removals = [line["removed"] for line in lines(alone) if "removed" in line]
    assert 3 < sum(map(len, removals)) < 31
    for ours, theirs in zip(lines(alone), lines(together), strict=True):
        assert ours == theirs | {name: ours[name] for name in ("seconds", "loss") if name in ours}
        assert abs(ours.get("loss", 0) - theirs.get("loss", 0)) < 1e-5
    a, b = (open_history(run / "gates.zarr").load() for run in (alone, together))
    assert a.theta.std() > 0.01
    margins = ["margin", "margin_bilinear"]  # κ over couplings that may be near zero, whose rounding is magnified
    xr.testing.assert_allclose(a.drop_vars(margins), b.drop_vars(margins), rtol=1e-4, atol=1e-5)
    xr.testing.assert_allclose(a[margins], b[margins], rtol=1e-2)
    for network in ("gated", "ungated"):
        (step, state), (same, other) = last(alone, network), last(together, network)
        assert step == same == 11
        for name, value in state["network"].items():
            torch.testing.assert_close(other["network"][name], value, rtol=1e-5, atol=1e-5)
    ours, theirs = (last(run, "gated")[1]["gates"] for run in (alone, together))
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5, equal_nan=True)
    kept = json.loads((together / "environment.json").read_text())
    assert kept["processes"] == 2 and kept["command"].startswith("torchrun --nproc-per-node 2 -m -- ")


@pytest.mark.slow
def test_a_resumed_run_of_two_ranks_ends_bit_for_bit_as_it_would_have(two):
    folder = Path(two[0]["folder"])
    for network in ("gated", "ungated"):
        (step, state), (same, other) = last(folder / "whole", network), last(folder / "run", network)
        assert step == same == 11
        for name, value in state["network"].items():
            assert torch.equal(value, other["network"][name]), name
    assert any("step" in line and line["step"] == 11 for line in lines(folder / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(NORMS)))
def test_normalisation_is_that_of_the_whole_batch(two, index):
    rows, shared = normalise(Share(), *NORMS[index])
    tolerance = TOLERANCE[NORMS[index][-1]]
    for name, value in rows.items():
        parts = [seen["norms"][index][0][name] for seen in two]
        if "grad" in name:
            parts = [part / 2 for part in parts]  # each rank's is that of the sum of both losses
        torch.testing.assert_close(torch.cat(parts), value, rtol=tolerance, atol=tolerance)
    for seen in two:
        assert seen["norms"][index][1].keys() == shared.keys()
        for name, value in shared.items():
            torch.testing.assert_close(seen["norms"][index][1][name], value, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
def test_operations(two):
    for seen in two:
        means = [torch.tensor([1.5, 2.0]), torch.full((2, 3), 5.0), torch.tensor(0.5)]
        assert all(torch.equal(a, b) for a, b in zip(seen["average"], means, strict=True))
        assert seen["sum"].tolist() == [3]
        assert torch.equal(seen["gather"], torch.arange(12.0).view(6, 2))
        assert seen["handed out"]["w"].tolist() == [[0] * 3] * 2 and seen["handed out"]["of"] == ["rank", 0, None]


@pytest.mark.slow
def test_ranks_that_differ_are_found(two):
    for seen in two:
        whats = ["θ"] * 3 + ["θ and the gates to be removed", "weights at the start"]
        rest = "must be the same in all processes; rank 0's differ from those of [1]"
        assert seen["disagree"] == [f"{what} {rest}" for what in whats]


@pytest.mark.slow
def test_why_not_torchs_own(two):
    """Once torch's SyncBatchNorm accepts the CPU this fails, and there is a choice."""
    assert "expected input tensor to be on GPU" in two[0]["torch"]
    assert not isinstance(nn.SyncBatchNorm(3), nn.BatchNorm2d)


def test_alone_nothing_changes(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with Ranks.of_environment("cpu") as ranks:
        value = torch.tensor([1.0, 2.0])
        ranks.average([value])
        ranks.sum([value])
        ranks.check_batch(7)
        ranks.check_equal("θ", value)
        assert value.tolist() == [1.0, 2.0] and torch.equal(ranks.gather(value), value)
        assert ranks.first and ranks.share == Share(0, 1)
    torch.manual_seed(0)
    network, x = ResNet(8, 2, channels=1), torch.randn(4, 1, 8, 8)
    plain = copy.deepcopy(network)
    synchronise(network)
    assert torch.equal(network(x), plain(x))
    assert torch.equal(network.norm.running_var, plain.norm.running_var)
    assert torch.equal(network.eval()(x), plain.eval()(x))


def test_a_synchronised_network_is_still_what_it_was():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Unflatten(1, (3, 1, 1)), nn.BatchNorm2d(3))
    held, names = network[3], list(network.state_dict())
    synchronise(network)
    synchronise(network)
    assert network[3] is held and list(network.state_dict()) == names
    assert isinstance(held, nn.BatchNorm2d) and isinstance(network[1], nn.BatchNorm1d)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert type(copied[1]) is SynchronisedBatchNorm1d and type(copied[3]) is SynchronisedBatchNorm2d
        assert torch.equal(copied(torch.ones(2, 2)), network(torch.ones(2, 2)))


def test_other_normalisations_are_refused_before_anything_is_changed():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.InstanceNorm2d(3), nn.BatchNorm3d(3))
    with pytest.raises(TypeError, match="BatchNorm3d cannot be synchronised"):
        synchronise(network)
    assert type(network[0]) is nn.BatchNorm2d


def seeded():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_shares_together_are_the_batch(size):
    """Of images, labels and masks, also where a share is empty."""
    digits = load_digits()
    whole = [
        list(digits.batches(90, torch.Generator().manual_seed(1), drop_last=False)),
        list(digits.test_batches(359)),
    ]
    shares = [Share(rank, size) for rank in range(size)]
    parts = [
        [list(digits.batches(90, seeded(), drop_last=False, share=share)) for share in shares],
        [list(digits.test_batches(359, share=share)) for share in shares],
    ]
    for together, apart in zip(whole, parts, strict=True):
        for index, batch in enumerate(together):
            found = [part[index] for part in apart if index < len(part)]
            for k in range(2):
                assert torch.equal(torch.cat([rows[k] for rows in found]), batch[k])
    gates = Gates(ResNet(8, 2, channels=1), start=0.5)
    masks = gates.sample(8, seeded())
    drawn = [gates.sample(8, seeded(), share) for share in shares]
    assert torch.equal(torch.cat(drawn), masks) and gates.groups[0].site.mask.shape[0] == len(drawn[-1])


@pytest.mark.parametrize(
    ("variables", "device", "message"),
    [
        ({"WORLD_SIZE": "two"}, "cpu", "variable WORLD_SIZE must be a number ≥ 0, as torchrun sets it; got 'two'"),
        ({"WORLD_SIZE": "2"}, "cpu", "variable RANK must be .* got nothing"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "cuda:1", "device must be cpu or cuda .* got 'cuda:1'"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "99"}, "cuda", "nproc-per-node must be ≤ .* number 100"),
    ],
)
def test_bad_surroundings(monkeypatch, variables, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        Ranks.of_environment(device)


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(InputError, match="batch must be a multiple of 3, the number of processes; got 64"):
        Ranks(0, 3).check_batch(64)
