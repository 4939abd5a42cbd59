"""A gated network in the middle of its training, of every kind there is, and drawn removals from it."""

import copy
import itertools

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

from training.gating.gates import Gates
from training.gating.sites import Branch, GateSite, UnitGroup
from training.networks import BottleneckResNet, Chain, Residual, ResNet, dense, lenet5, vgg

CLASSES = 3


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=True)


def own():
    """A user's net: one unit feeds a dense layer in four columns; pre-activation branch with a projection beside it."""
    inner = [nn.BatchNorm2d(4), nn.ReLU(), conv(4, 3), nn.BatchNorm2d(3), nn.ReLU(), GateSite(3)]
    block = Residual(Chain(*inner, conv(3, 5), nn.BatchNorm2d(5)), nn.Conv2d(4, 5, 1))
    head = [conv(5, 4), nn.ReLU(), GateSite(4), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, CLASSES)]
    return Chain(conv(1, 4), block, nn.ReLU(), *head)


class ByHand(nn.Module):
    """A user's net that is no chain: a dense residual block, its units read by two layers, and its own lists."""

    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(4, 3), self.Block(), nn.Linear(3, CLASSES)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.norm, self.units = nn.Linear(3, 5), nn.BatchNorm1d(5), GateSite(5)
            self.one, self.two, self.last, self.branch = (
                nn.Linear(5, 3),
                nn.Linear(5, 3),
                nn.BatchNorm1d(3),
                GateSite(1),
            )

        def forward(self, x):
            if self.up is None:
                return x
            hidden = self.units(torch.relu(self.norm(self.up(x))))
            return x + self.branch(self.last(self.one(hidden) * torch.sigmoid(self.two(hidden))))

        def remove_branch(self):
            self.up = self.norm = self.units = self.one = self.two = self.last = self.branch = None

    def forward(self, x):
        return self.head(torch.relu(self.block(self.stem(x.flatten(1)))))

    def unit_groups(self):
        b = self.block
        return [UnitGroup("units", b.units, b.up, b.norm, (b.one, b.two), "branch")] if b.up is not None else []

    def branches(self):
        b = self.block
        return [Branch("branch", b.branch, b.last, b)] if b.up is not None else []


#: Name → (network, height of its images). All have one channel.
KINDS = {
    "basic": (lambda: ResNet(8, 2, 1, CLASSES), 8),
    "bottleneck": (lambda: BottleneckResNet((1, 2), 2, channels=1, classes=CLASSES, small_images=True), 4),
    "imagenet": (lambda: BottleneckResNet((1, 1), 2, expansion=1, channels=1, classes=CLASSES), 8),
    "vgg": (lambda: vgg(((1, 1), (2, 2)), 2, channels=1, classes=CLASSES, size=8), 8),
    "bypass": (lambda: vgg(((1, 1), (2, 2, 2), (2, 2, 2)), 2, channels=1, classes=CLASSES, size=8, bypass=True), 8),
    "lenet-5": (lambda: lenet5((2, 3, 4), classes=CLASSES, size=20), 20),
    "dense": (lambda: dense((4, 3), classes=CLASSES, size=2), 2),
    "own": (own, 4),
    "by hand": (ByHand, 2),
}


class Run:
    """A network in the middle of its training: random weights, shifts, statistics, gates, optimizer state."""

    def __init__(self, kind, seed=0, steps=2, adam=False, dtype=torch.float64):
        torch.manual_seed(seed)
        self.make, size = KINDS[kind]
        self.network = self.make().to(dtype)
        self.shape = (1, size, size)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1, 0.5)
                nn.init.normal_(module.bias)
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2)
        self.gates = Gates(self.network).to(dtype)
        self.gates.theta.data.uniform_(0.1, 1)
        self.optimizer = self.fresh_optimizer(adam)
        self.images = torch.randn(6, *self.shape, dtype=dtype)
        self.labels = torch.randint(CLASSES, (6,))
        for _ in range(steps):
            self.gates.sample(6)
            self.step()

    def fresh_optimizer(self, adam):
        if adam:
            return torch.optim.Adam(self.network.parameters(), lr=0.01, weight_decay=0.01)
        return torch.optim.SGD(self.network.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)

    def step(self, masks=None):
        """One training step; the gradients of given masks come back."""
        self.network.train()
        if masks is not None:
            self.gates.put(masks)
        self.optimizer.zero_grad()
        F.cross_entropy(self.network(self.images), self.labels).backward()
        self.optimizer.step()
        return None if masks is None else masks.grad

    def outputs(self, masks=None, train=False):
        self.network.train(train)
        self.gates.put(masks)
        state = copy.deepcopy(list(self.network.buffers()))
        with torch.no_grad():
            out = self.network(self.images)
            for buffer, value in zip(self.network.buffers(), state, strict=True):
                buffer.copy_(value)
        return out

    def twin(self):
        """The same run once more, sharing nothing."""
        again = copy.copy(self)
        again.network, again.gates = copy.deepcopy((self.network, self.gates))
        again.optimizer = type(self.optimizer)(again.network.parameters(), lr=0.1)
        again.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        return again

    def state(self):
        return copy.deepcopy((self.network.state_dict(), self.gates.state_dict(), self.optimizer.state_dict()))


def assert_equal(a, b):
    """Nested states, bit for bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        assert a == b


def removals():
    """A share of gates that go, a seed, and whole groups and branches that go or stay."""
    whole = st.lists(st.sampled_from(["as drawn", "as drawn", "none", "all"]), min_size=4, max_size=4)
    return st.tuples(st.sampled_from([0.1, 0.5, 0.95]), st.integers(0, 999), whole)


def removal(gates, drawn):
    share, seed, whole = drawn
    remove = torch.from_numpy(np.random.default_rng(seed).random(len(gates.theta)) < share)
    for part, choice in zip(remove.split(gates.sizes), itertools.cycle(whole), strict=False):
        if choice != "as drawn":
            part.fill_(choice == "all")
    return remove
