"""A step whose gradients are not those of the mean loss is refused, whatever made them so."""

import pytest
import torch
import torch.nn.functional as F

from training.data.data_sets import load_digits
from training.engine.build import network_of
from training.engine.config import PRESETS
from training.engine.gate_learner import GateLearner
from training.engine.method import RunContext
from training.engine.optimizer import weight_optimizer
from training.errors import InputError

CONFIG = PRESETS["digits"]
SAMPLES = 16


def step(backward, losses=lambda outputs, labels: F.cross_entropy(outputs, labels, reduction="none"), hand_over=True):
    """One step of a learner by hand; `backward` runs the backward pass, or passes, of the losses."""
    digits = load_digits()
    network = network_of(CONFIG, digits)
    optimizer = weight_optimizer("sgd", network, lr=CONFIG.lr, momentum=CONFIG.momentum, decay=CONFIG.decay)
    learner = GateLearner(RunContext(CONFIG, network, optimizer, digits))
    learner.before_step(SAMPLES)
    images, labels = digits.train_images[:SAMPLES].float(), digits.train_labels[:SAMPLES].long()
    found = losses(network(images), labels)
    if hand_over:
        learner.after_forward(found)
    backward(found)
    learner.after_backward(found.detach(), 0, 1.0)


def twice(losses):
    losses.mean().backward(retain_graph=True)
    losses.mean().backward()


def scaled(losses):
    torch.amp.GradScaler("cpu", init_scale=65536.0).scale(losses.mean()).backward()


def test_the_mean_is_taken():
    step(lambda losses: losses.mean().backward())
    step(lambda losses: (losses.sum() / SAMPLES).backward())


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda losses: losses.sum().backward(), "got 16 times it: a sum"),
        (scaled, "got 6.554e[+]04 times it"),
        (lambda losses: (losses.mean() / 4).backward(), "got 0.25 times it"),
        (lambda losses: (losses * torch.linspace(0, 2, SAMPLES)).mean().backward(), "got 0 to 2 times it"),
        (twice, "one backward pass of its mean loss; got 2"),
    ],
)
def test_what_is_not_the_mean_of_one_backward_pass_is_refused(backward, message):
    with pytest.raises(InputError, match=message):
        step(backward)


@pytest.mark.parametrize(
    ("losses", "shape"),
    [
        (lambda outputs, labels: F.cross_entropy(outputs, labels), r"\[\]"),
        (lambda outputs, labels: outputs.square(), r"\[16, 10\]"),
        (lambda outputs, labels: outputs[:-1, 0], r"\[15\]"),
    ],
)
def test_losses_that_are_not_one_a_sample_are_refused(losses, shape):
    with pytest.raises(InputError, match=rf"losses must have one entry a sample, shape \[16\]; got {shape}"):
        step(lambda losses: losses.mean().backward(), losses)


def test_losses_that_were_not_handed_over_are_refused():
    with pytest.raises(InputError, match="must be handed over before the backward pass"):
        step(lambda losses: losses.mean().backward(), hand_over=False)
