"""Sums over batches, strata over steps, sums over processes."""

import tempfile
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.forks import side_by_side
from training.estimators import Corrected, Interval, Sums, difference_of, first_order_of, trapezoid_of

READINGS = {"difference": difference_of, "trapezoid": trapezoid_of, "first_order": first_order_of}
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9, "equal_nan": True}


def sample(seed, samples, gates, theta=0.6):
    generator = torch.Generator().manual_seed(seed)
    masks = (torch.rand(samples, gates, generator=generator) < theta).double()
    gradients = torch.randn(samples, gates, generator=generator, dtype=torch.float64) / samples
    return masks, gradients, 2 + torch.randn(samples, generator=generator, dtype=torch.float64)


def close(one, other):
    for f in fields(one):
        torch.testing.assert_close(getattr(one, f.name), getattr(other, f.name), **TOLERANCE)


@given(st.integers(0, 1000), st.integers(2, 30), st.data())
@settings(deadline=None, max_examples=20)
def test_split_batches_add_up_to_the_whole(seed, samples, data):
    """The gradient of a part's mean loss is larger by whole/part: slopes are per sample."""
    masks, gradients, losses = sample(seed, samples, 3)
    cut = data.draw(st.integers(1, samples - 1))
    parts = [slice(0, cut), slice(cut, samples)]
    sums = [Sums.of(masks[p], gradients[p] * samples / len(losses[p]), losses[p]) for p in parts]
    whole = Sums.of(masks, gradients, losses)
    close(sums[0] + sums[1], whole)
    for one, other in zip(difference_of(sums[0] + sums[1]), difference_of(whole), strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


@given(st.integers(0, 1000), st.integers(2, 20))
@settings(deadline=None, max_examples=15)
def test_one_step_is_the_batch(seed, samples):
    sums = Sums.of(*sample(seed, samples, 4))
    interval = Interval.empty(4)
    interval.add(sums)
    for name, of in READINGS.items():
        torch.testing.assert_close(getattr(interval, name)().value, of(sums).value, **TOLERANCE)
    torch.testing.assert_close(interval.sides(), sums.slope_mean, **TOLERANCE)


@given(st.integers(0, 1000), st.integers(2, 20), st.integers(1, 5))
@settings(deadline=None, max_examples=15)
def test_errors_of_one_step_are_the_batch_s_and_fall_with_the_root_of_the_steps(seed, samples, steps):
    """The same step again and again: every reading's error is that of one batch over √steps."""
    sums = Sums.of(*sample(seed, samples, 4))
    interval = Interval.empty(4)
    for _ in range(steps):
        interval.add(sums)
    two_each = (sums.count > 1).all(0)
    for name, of in READINGS.items():
        found, wanted = getattr(interval, name)().error, of(sums).error / steps**0.5
        if name == "first_order":  # takes samples as independent: n − 1 of one batch, steps·n − 1 of all
            wanted = wanted * ((samples - 1) / (samples - 1 / steps)) ** 0.5
            torch.testing.assert_close(found, wanted, **TOLERANCE)
        else:
            torch.testing.assert_close(found[two_each], wanted[two_each], **TOLERANCE)


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(deadline=None, max_examples=15)
def test_steps_are_weighted_by_information(seed, steps):
    """Against a loop over gates and steps; least squares with one mean a step says the same."""
    batches = [sample(seed + t, 6, 2, theta=0.4) for t in range(steps)]
    interval = Interval.empty(2)
    for one in batches:
        interval.add(Sums.of(*one))
    for k in range(2):
        top = bottom = 0.0
        for masks, _, losses in batches:
            centred = masks[:, k] - masks[:, k].mean()
            top += float((centred * losses).sum())
            bottom += float(centred.square().sum())
        wanted = torch.tensor(top / bottom if bottom else float("nan"), dtype=torch.float64)
        torch.testing.assert_close(interval.difference().value[k], wanted, **TOLERANCE)


@given(st.integers(0, 1000), st.integers(2, 8), st.data())
@settings(deadline=None, max_examples=15)
def test_intervals_add_up(seed, steps, data):
    cut = data.draw(st.integers(0, steps))
    whole, first, second = (Interval.empty(3) for _ in range(3))
    for t in range(steps):
        sums = Sums.of(*sample(seed + t, 5, 3))
        whole.add(sums)
        (first if t < cut else second).add(sums)
    close(first + second, whole)


def test_what_is_kept_after_a_removal_is_what_was_measured():
    """An interval and corrections over all gates, then two of four removed: as if these had never been there."""
    kept, small, corrected = torch.tensor([3, 1]), Interval.empty(2), Corrected(torch.arange(4) > 1)
    whole, alone = Interval.empty(4), Corrected(torch.tensor([True, False]))
    for t in range(3):
        masks, gradients, losses = sample(t, 9, 4)
        whole.add(Sums.of(masks, gradients, losses))
        small.add(Sums.of(masks[:, kept], gradients[:, kept], losses))
        corrected(masks, gradients, losses, torch.full((4,), 0.6))
        alone(masks[:, kept], gradients[:, kept], losses, torch.full((2,), 0.6))
    whole.keep(kept)
    corrected.keep(kept)
    close(whole, small)
    one = masks[:, kept], gradients[:, kept], losses, torch.full((2,), 0.6)
    assert torch.equal(corrected(*one).value, alone(*one).value)
    untouched = Corrected()
    untouched.keep(kept)
    assert untouched.state is None


def test_a_falling_loss_is_no_effect_of_a_gate():
    """θ and the loss fall together and the gate does nothing: pooled sums are wrong by half the fall."""
    generator = torch.Generator().manual_seed(0)
    interval, pooled = Interval.empty(1), None
    for t in range(100):
        masks = (torch.rand(64, 1, generator=generator) < 0.95 - 0.009 * t).double()
        losses = 2 - 0.02 * t + 0.1 * torch.randn(64, generator=generator, dtype=torch.float64)
        sums = Sums.of(masks, torch.zeros(64, 1), losses)
        interval.add(sums)
        pooled = sums if pooled is None else pooled + sums
    value, error = interval.difference()
    assert abs(value.item()) < 4 * error.item() < 0.02
    assert difference_of(pooled).value.item() > 0.4


def test_errors_over_an_interval_are_honest():
    """Batches of 16 at θ = 0.9 often have one sample on a side, or none: some 20 degrees of freedom in 25 steps.

    So the score's deviation is that of Student's t, 1.05.
    """
    generator = torch.Generator().manual_seed(0)
    scores = []
    for _ in range(60):
        interval = Interval.empty(2)
        for _ in range(25):
            masks = (torch.rand(16, 2, generator=generator) < 0.9).double()
            noise = torch.randn(16, generator=generator, dtype=torch.float64)
            slopes = torch.stack([0.3 + noise, noise], 1) / 16
            interval.add(Sums.of(masks, slopes, 0.3 * masks[:, 0] + noise))
        readings = interval.difference(), interval.trapezoid(), interval.first_order()
        scores.append(torch.stack([(value - torch.tensor([0.3, 0.0])) / error for value, error in readings]))
    scores = torch.stack(scores)  # [interval, reading, gate]
    assert scores.mean((0, 2)).abs().max() < 0.3
    assert ((scores.std((0, 2)) > 0.8) & (scores.std((0, 2)) < 1.25)).all(), scores.std((0, 2))


def test_a_unit_given_that_its_branch_is_on():
    """ℓ = noise + branch·unit·c: samples with the branch off only add noise; what is found is c, not θ_branch·c."""
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(4000, 2, generator=generator) < torch.tensor([0.5, 0.3])).double()
    losses = masks.prod(1) * 0.5 + 0.1 * torch.randn(4000, generator=generator, dtype=torch.float64)
    gradients = torch.stack([masks[:, 1], masks[:, 0]], 1) * 0.5 / 4000
    where = torch.stack([masks[:, 1] > 0, torch.ones(4000, dtype=torch.bool)], 1)
    given_on, plain = Sums.of(masks, gradients, losses, where), Sums.of(masks, gradients, losses)
    value, error = difference_of(given_on)
    assert abs(value[0] - 0.5) < 4 * error[0] < 0.04
    assert abs(difference_of(plain).value[0] - 0.15) < 0.03
    assert trapezoid_of(given_on).value[0] == pytest.approx(0.5)
    assert given_on.count[:, 0].sum() == masks[:, 1].sum() and given_on.count[:, 1].sum() == 4000
    never = Sums.of(masks, gradients, losses, torch.zeros_like(where))
    assert trapezoid_of(never).value.isnan().all() and difference_of(never).value.isnan().all()


def test_nothing_is_known_of_an_empty_interval():
    interval = Interval.empty(2)
    for estimate in (interval.difference(), interval.trapezoid(), interval.first_order()):
        assert estimate.value.isnan().all() and estimate.error.isnan().all()
    interval.add(Sums.of(torch.ones(3, 2), torch.full((3, 2), 0.5), torch.ones(3)))
    assert interval.difference().value.isnan().all()
    assert interval.trapezoid().value.tolist() == [1.5, 1.5]


def test_bad_input():
    with pytest.raises(ValueError, match="gates must be ≥ 0"):
        Interval.empty(-1)
    with pytest.raises(ValueError, match="sums must have 2 gates; got 3"):
        Interval.empty(2).add(Sums.of(*sample(0, 4, 3)))


def _reduce(rank, path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}/store", rank=rank, world_size=2)
    interval = Interval.empty(3)
    for t in range(2):
        interval.add(Sums.of(*sample(2 * t + rank, 5, 3)))
    interval.all_reduce()
    torch.save({f.name: getattr(interval, f.name) for f in fields(interval)}, f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_add_up():
    """Two processes, two steps each: both end with the interval of one process that saw all four strata."""
    whole = Interval.empty(3)
    for t in range(4):
        whole.add(Sums.of(*sample(t, 5, 3)))
    with tempfile.TemporaryDirectory() as path:
        side_by_side(_reduce, (path,))
        for rank in range(2):
            close(Interval(**torch.load(f"{path}/{rank}.pt", weights_only=True)), whole)
