"""The loop against the rule at its top, step by step: what the tracker and both optimizers are told."""

import numpy as np
import torch

from training.data.data_sets import load_digits
from training.engine.callbacks import Callback
from training.engine.config import RunConfig
from training.engine.gate_learner import GateLearner
from training.engine.loop import Training
from training.engine.optimizer import cosine
from training.estimators import Sums
from training.networks import ResNet
from training.runtime.progress import Progress


def test_each_step_follows_the_rule(monkeypatch):
    chosen = {"nu": 0.7, "alpha": 0.3, "beta": 0.8, "gate_lr": 0.4, "hold": 2}
    config = RunConfig(network="resnet8", width=2, epochs=1, batch=240, estimator="first-order", **chosen)
    torch.manual_seed(0)
    training = Training(config, ResNet(8, 2, channels=1), load_digits(), GateLearner)
    learner, seen, moved, clocks = training.method, [], [], []
    gates, observe, step = learner.gates, learner.tracker.observe, learner._descent.step

    def watched(sums, cost, constants, batch):
        difference = gates.difference()
        torch.testing.assert_close(
            Sums.of(gates.sampled, gates.sampled.grad, torch.zeros(240)).slope.sum(0) / 240, difference.double()
        )
        expected = learner.full.costs(gates.theta.detach(), config.nu, config.alpha, config.beta)
        torch.testing.assert_close(cost, expected)
        seen.append((difference + cost, gates.theta.detach().clone(), training.optimizer.param_groups[0]["lr"]))
        clocks.append(constants())
        return observe(sums, cost, constants, batch)

    def stepped(slope):
        moved.append((learner._descent.lr, slope))
        step(slope)

    monkeypatch.setattr(learner.tracker, "observe", watched)
    monkeypatch.setattr(learner._descent, "step", stepped)
    trained = training.run(Progress("test", 5), Callback())
    assert trained.steps == 5
    np.testing.assert_allclose([now.rate for now in clocks], 0.4 * (1 - 0.9) / 0.1)
    assert {now.decay for now in clocks} == {config.decay}
    assert trained.flops == trained.flops_full == 6 * learner.full.total_macs * 240 * 5
    np.testing.assert_allclose([lr for _, _, lr in seen], [0.1 * cosine(k, 5) for k in range(5)])
    rates = [0.4 * cosine(k, 5) if k >= 2 else 0.0 for k in range(5)]  # held for two steps
    np.testing.assert_allclose([lr for lr, _ in moved], rates)
    for k, (slope, before, _) in enumerate(seen):
        torch.testing.assert_close(moved[k][1], slope.to(moved[k][1].dtype))
        after = seen[k + 1][1] if k < 4 else gates.theta.detach()
        torch.testing.assert_close(after, (before - rates[k] * slope).clamp(0, 1).float(), rtol=1e-5, atol=1e-6)
