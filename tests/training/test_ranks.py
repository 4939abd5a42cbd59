"""Two processes against one with the same global batch: losses, gates, weights and statistics, a removal included."""

import copy
import os
import pickle
import socket
from datetime import timedelta

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training.data import load_digits
from training.errors import InputError
from training.gates import Gates
from training.networks import ResNet
from training.ranks import Ranks, RanksDifferError
from training.share import Share
from training.shrink import shrink
from training.synchronised_norm import SynchronisedBatchNorm1d, SynchronisedBatchNorm2d, synchronise

BATCH, STEPS, SHRINK_AT = 32, 6, 3


def train(ranks, common=True):
    """A few gated steps on digits, three units and a branch removed in the middle; what is left at the end."""
    torch.manual_seed(0)
    network = ResNet(8, 4, channels=1)
    gates = Gates(network, start=0.7)
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
            ranks.agree("what is left", torch.from_numpy(shrunk.kept), gates.theta)
        gates.sample(BATCH, masks, ranks.share)
        loss = F.cross_entropy(network(images), labels)
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
    ranks.agree("weights and gates", *network.parameters(), *gates.state_dict().values())
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


def _rank(rank, folder, port):
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
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
        start = [torch.full((2, 3), float(rank)).t(), torch.tensor(rank)]
        ranks.broadcast(start)
        seen["broadcast"] = start
        seen["disagree"] = []
        for parts in [(torch.tensor([0.5, 0.25 + rank * 1e-7]),), (f"rank {rank}",), (torch.zeros(2 + rank),)]:
            try:
                ranks.agree("θ", *parts)
            except RanksDifferError as error:
                seen["disagree"].append(str(error))
        ranks.agree("θ", torch.ones(3), "the same", 4)
        try:
            nn.SyncBatchNorm(3)(torch.ones(2, 3))
        except ValueError as error:
            seen["torch"] = str(error)
        torch.save(seen, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes saw."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_rank, (str(folder), port), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_ranks_train_as_one_process(two):
    alone = train(Ranks())
    assert len(alone["theta"]) < 30 and alone["losses"].std() > 0.01
    for seen in two:
        assert seen["trained"].keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                seen["trained"][name], value, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    for name, value in two[0]["trained"].items():
        assert torch.equal(value, two[1]["trained"][name]), name


def test_without_common_statistics_they_would_not(two):
    """What the comparison above can tell."""
    alone, apart = train(Ranks()), two[0]["statistics apart"]
    assert (alone["theta"] - apart["theta"]).abs().max() > 1e-3


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


def test_operations(two):
    for seen in two:
        means = [torch.tensor([1.5, 2.0]), torch.full((2, 3), 5.0), torch.tensor(0.5)]
        assert all(torch.equal(a, b) for a, b in zip(seen["average"], means, strict=True))
        assert seen["sum"].tolist() == [3]
        assert torch.equal(seen["gather"], torch.arange(12.0).view(6, 2))
        assert torch.equal(seen["broadcast"][0], torch.zeros(3, 2)) and seen["broadcast"][1] == 0


def test_ranks_that_differ_are_found(two):
    for seen in two:
        assert seen["disagree"] == ["θ must be the same in all processes; rank 0's differ from those of [1]"] * 3


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
        ranks.broadcast([value])
        ranks.check_batch(7)
        ranks.agree("θ", value)
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
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        Ranks.of_environment(device)


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(InputError, match="batch must be a multiple of 3, the number of processes; got 64"):
        Ranks(0, 3).check_batch(64)
