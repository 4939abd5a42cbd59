"""The loop against the rule at its top, step by step: what the tracker and both optimizers are told."""

import numpy as np
import torch

import training.loop
from training.config import Validate
from training.data import load_digits
from training.gates import Gates
from training.loop import Gating, train
from training.networks import ResNet
from training.optimizer import ProjectedSGD, cosine, weight_optimizer
from training.progress import Progress
from training.structure import structure_of
from training.tracker import Tracker


def test_each_step_follows_the_rule(monkeypatch):
    config = Validate(depth=8, width=2, epochs=1, batch=240, nu=0.7, alpha=0.3, beta=0.8, gate_lr=0.4, hold=2)
    torch.manual_seed(0)
    network = ResNet(8, 2, channels=1)
    gates, made, seen, moved = Gates(network), {}, [], []
    structure = structure_of(network, (1, 8, 8))

    class Watched(Tracker):
        def __init__(self, *arguments, **constants):
            made.update(constants)
            super().__init__(*arguments, **constants)

        def observe(self, difference, cost):
            assert torch.equal(difference, gates.difference())
            expected = structure.costs(gates.theta.detach(), config.nu, config.alpha, config.beta)
            torch.testing.assert_close(cost, expected)
            seen.append((difference + cost, gates.theta.detach().clone(), made["optimizer"].param_groups[0]["lr"]))
            return super().observe(difference, cost)

    class Moved(ProjectedSGD):
        def step(self, slope):
            moved.append((len(seen) - 1, self.lr, slope))
            super().step(slope)

    def optimizer(*arguments, **settings):
        made["optimizer"] = weight_optimizer(*arguments, **settings)
        return made["optimizer"]

    monkeypatch.setattr(training.loop, "Tracker", Watched)
    monkeypatch.setattr(training.loop, "ProjectedSGD", Moved)
    monkeypatch.setattr(training.loop, "weight_optimizer", optimizer)
    progress, gating = Progress("test", 5), Gating(gates, structure, lambda record: None)
    trained = train(config, network, load_digits(), progress, lambda **values: None, gating)
    assert trained.steps == 5 and made["decay"] == config.decay
    np.testing.assert_allclose(made["rate"], 0.4 * (1 - 0.9) / 0.1)
    np.testing.assert_allclose([lr for _, _, lr in seen], [0.1 * cosine(k, 5) for k in range(5)])
    assert [k for k, _, _ in moved] == [2, 3, 4]  # held for two steps
    for k, lr, slope in moved:
        np.testing.assert_allclose(lr, 0.4 * cosine(k, 5))
        torch.testing.assert_close(slope, seen[k][0])
    for k, (_, before, _) in enumerate(seen[:-1]):
        slope, theta = seen[k][0], seen[k + 1][1]
        step = 0.4 * cosine(k, 5) if k >= 2 else 0.0
        torch.testing.assert_close(theta, (before - step * slope).clamp(0, 1).float(), rtol=1e-5, atol=1e-6)
