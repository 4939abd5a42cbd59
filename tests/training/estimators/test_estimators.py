"""Estimators of D against slow loops over gates, exact enumeration, and each other."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from training.errors import InputError
from training.estimators import (
    ESTIMATORS,
    Corrected,
    Sums,
    all_masks,
    estimator,
    exact_difference,
    mask_probabilities,
    trapezoid,
)
from training.estimators.sums import check_shapes

TOLERANCE = {"rtol": 1e-9, "atol": 1e-9, "equal_nan": True}


def batch(seed, samples, gates):
    """Random masks, gradients, losses and θ; every other θ is 0 or 1 now and then, so that sides are empty."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(gates, generator=generator, dtype=torch.float64)
    edge = torch.rand(gates, generator=generator) < 0.2
    theta = torch.where(edge, theta.round(), theta)
    masks = (torch.rand(samples, gates, generator=generator) < theta).double()
    gradients = torch.randn(samples, gates, generator=generator, dtype=torch.float64)
    return masks, gradients, torch.randn(samples, generator=generator, dtype=torch.float64) + 2, theta


batches = st.builds(batch, st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 5))


def mean(values):
    return sum(values) / len(values) if values else math.nan


def variance(values):
    """Return the variance of a mean."""
    if len(values) < 2:
        return math.nan
    return sum((v - mean(values)) ** 2 for v in values) / (len(values) - 1) / len(values)


def slow(name, masks, gradients, losses, theta):
    """One gate after the other, one sample after the other: value and error of each."""
    samples, gates = masks.shape
    slopes = (gradients * samples).tolist()
    masks, losses, theta = masks.tolist(), losses.tolist(), theta.tolist()
    found = []
    for k in range(gates):

        def side(values, want, k=k):
            return [v for v, row in zip(values, masks, strict=True) if row[k] == want]

        own = [row[k] for row in slopes]
        if name in ("trapezoid", "curvature") and side(own, 0) and side(own, 1):
            value = (mean(side(own, 0)) + mean(side(own, 1))) / 2
            error = math.sqrt(variance(side(own, 0)) + variance(side(own, 1))) / 2
        elif name == "corrected" and side(own, 0) and side(own, 1):
            value, error = mean(side(losses, 1)) - mean(side(losses, 0)), None
        elif name in ("first-order", "trapezoid", "curvature", "corrected"):
            value, error = mean(own), math.sqrt(variance(own))
        elif name.startswith("horvitz"):
            centred = losses
            if name.endswith("centred"):
                centred = [x - mean(losses[:b] + losses[b + 1 :]) for b, x in enumerate(losses)]
            if theta[k] in (0, 1):
                value = error = math.nan
            else:
                pairs = zip(centred, masks, strict=True)
                terms = [x / theta[k] if row[k] else -x / (1 - theta[k]) for x, row in pairs]
                value, error = mean(terms), math.sqrt(variance(terms))
        else:
            adjusted = list(losses)
            for b, j in itertools.product(range(samples), range(gates)):
                if name == "difference" or j == k:
                    continue
                others = mean([slopes[c][j] for c in range(samples) if c != b])
                adjusted[b] -= (slopes[b][j] if name == "control-own" else others) * (masks[b][j] - theta[j])
            value = mean(side(adjusted, 1)) - mean(side(adjusted, 0))
            error = math.sqrt(variance(side(adjusted, 1)) + variance(side(adjusted, 0)))
        found.append((value, math.nan if error is None else error))
    return torch.tensor(found, dtype=torch.float64).T


@pytest.mark.parametrize("name", ESTIMATORS)
@given(batches)
@settings(deadline=None, max_examples=12)
def test_equals_the_loop_over_gates(name, given_batch):
    value, error = estimator(name)(*given_batch)
    slow_value, slow_error = slow(name, *given_batch)
    torch.testing.assert_close(value, slow_value, **TOLERANCE)
    if error is not None:
        torch.testing.assert_close(error, slow_error, **TOLERANCE)


@pytest.mark.parametrize("name", ESTIMATORS)
@given(batches, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=12)
def test_the_order_of_samples_does_not_matter(name, given_batch, random):
    masks, gradients, losses, theta = given_batch
    order = list(range(len(losses)))
    random.shuffle(order)
    for one, other in zip(
        estimator(name)(*given_batch),
        estimator(name)(masks[order], gradients[order], losses[order], theta),
        strict=True,
    ):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, **TOLERANCE)


def quadratic(samples, gates, seed):
    """Losses ℓ_b(ξ) = a_b·ξ + ½ ξᵀH_b ξ of random samples, with their slopes, for masks [batch, gate]."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(samples, gates, generator=generator, dtype=torch.float64)
    h = torch.randn(samples, gates, gates, generator=generator, dtype=torch.float64)
    h = h + h.transpose(1, 2)

    def losses(masks):
        return (a * masks).sum(1) + torch.einsum("bg,bgh,bh->b", masks, h, masks) / 2

    def slopes(masks):
        return a + torch.einsum("bgh,bh->bg", h, masks)

    return losses, slopes


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "first-order"])
@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=4)
def test_mean_over_all_masks_of_a_batch_is_d(name, seed):
    """Quadratic losses, three different samples, two gates: all 64 masks, given that both sides are there."""
    samples, gates = 3, 2
    losses, slopes = quadratic(samples, gates, seed)
    theta = torch.tensor([0.3, 0.8], dtype=torch.float64)
    batch_losses = torch.stack([losses(mask.expand(samples, gates)).mean() for mask in all_masks(gates)])
    wanted = exact_difference(batch_losses, theta)
    total, chance = torch.zeros(2, gates, dtype=torch.float64)
    for flat in all_masks(samples * gates):
        masks = flat.view(samples, gates)
        weight = torch.where(masks > 0, theta, 1 - theta).prod()
        value = estimator(name)(masks, slopes(masks) / samples, losses(masks), theta).value
        both = (masks.sum(0) > 0) & (masks.sum(0) < samples)
        counts = both if not name.startswith("horvitz") else torch.ones_like(both)
        total += torch.where(counts, value * weight, 0.0)
        chance += counts * weight
    torch.testing.assert_close(total / chance, wanted, **TOLERANCE)


def any_loss(samples, gates, seed):
    """One loss and one row of slopes for every sample and mask, all unrelated: functions of masks [batch, gate]."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(samples, 2**gates, generator=generator, dtype=torch.float64)
    rows = torch.randn(samples, 2**gates, gates, generator=generator, dtype=torch.float64)
    digits = 2.0 ** torch.arange(gates - 1, -1, -1, dtype=torch.float64)

    def losses(masks):
        return table[torch.arange(samples), (masks @ digits).long()]

    def slopes(masks):
        return rows[torch.arange(samples), (masks @ digits).long()]

    return losses, slopes


def bias(name, losses, slopes, samples, gates, theta):
    """|E D̂ − D| over all masks of a batch, given both sides where they are needed; the largest of all gates."""
    batch_losses = torch.stack([losses(mask.expand(samples, gates)).mean() for mask in all_masks(gates)])
    total, chance = torch.zeros(2, gates, dtype=torch.float64)
    for flat in all_masks(samples * gates):
        masks = flat.view(samples, gates)
        weight = torch.where(masks > 0, theta, 1 - theta).prod()
        value = estimator(name)(masks, slopes(masks) / samples, losses(masks), theta).value
        counts = (masks.sum(0) > 0) & (masks.sum(0) < samples) | torch.tensor(name.startswith("horvitz"))
        total += torch.where(counts, value * weight, 0.0)
        chance += counts * weight
    return (total / chance - exact_difference(batch_losses, theta)).abs().max().item()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("theta", [(0.3, 0.8), (0.5, 0.05)])
def test_for_any_loss_comparisons_of_losses_have_no_bias(name, theta):
    """Losses and slopes that have nothing to do with one another: what reads D from slopes is wrong, the rest is not.

    An estimate is linear in losses and slopes, and its mean is a polynomial in θ: these numbers are no special case.
    """
    unbiased = ("corrected", "difference", "horvitz-thompson", "horvitz-thompson-centred", "control")
    worst = bias(name, *any_loss(3, 2, 1), 3, 2, torch.tensor(theta, dtype=torch.float64))
    assert (worst < 1e-12) if name in unbiased else (worst > 0.01)


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
@settings(deadline=None, max_examples=10)
def test_first_order_is_biased_by_curvature(seed, theta):
    """E D̂ − D = (θ − ½) f″, summed over the masks of one sample."""
    losses, slopes = quadratic(1, 1, seed)
    at = torch.tensor([theta], dtype=torch.float64)
    masks = all_masks(1)
    mean_slope = sum(p * slopes(mask[None])[0, 0] for p, mask in zip(mask_probabilities(at), masks, strict=True))
    wanted = exact_difference(torch.cat([losses(mask[None]) for mask in masks]), at)[0]
    curvature = slopes(masks[1:])[0, 0] - slopes(masks[:1])[0, 0]
    torch.testing.assert_close(mean_slope - wanted, (theta - 0.5) * curvature)


@given(st.integers(1, 5), st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_enumeration_by_definition(gates, seed):
    """Against conditional means over itertools' masks, faces of the cube included."""
    _, _, _, theta = batch(seed, 2, gates)
    losses = torch.randn(2**gates, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    table = dict(zip(itertools.product((0, 1), repeat=gates), losses.tolist(), strict=True))
    torch.testing.assert_close(mask_probabilities(theta).sum(), torch.ones((), dtype=torch.float64))
    for k, found in enumerate(exact_difference(losses, theta).tolist()):
        sides = [0.0, 0.0]
        for mask, loss in table.items():
            others = [t if x else 1 - t for j, (x, t) in enumerate(zip(mask, theta.tolist(), strict=True)) if j != k]
            sides[mask[k]] += math.prod(others) * loss
        assert found == pytest.approx(sides[1] - sides[0], abs=1e-12)


def test_one_sided_batches():
    """All ξ equal: comparisons say nothing, the trapezoid falls back to the side that is there."""
    masks = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    gradients, losses = torch.tensor([[0.5, 1.0], [1.5, 2.0]]), torch.tensor([1.0, 3.0])
    theta = torch.tensor([0.9, 0.0])
    assert trapezoid(masks, gradients, losses, theta).value.tolist() == [2.0, 3.0]
    assert Corrected()(masks, gradients, losses, theta).value.tolist() == [2.0, 3.0]
    for name in ("difference", "control", "control-own"):
        assert estimator(name)(masks, gradients, losses, theta).value.isnan().all()
    assert estimator("horvitz-thompson")(masks, gradients, losses, theta).value.isnan().tolist() == [False, True]


def test_corrected_is_the_difference_without_memory():
    """ḡ − (ξ̄ − ½)ĉ + R̂ with this batch's own ĉ and R̂; the slow loop above says so for the first batch."""
    forgetful = Corrected(memory=0.0)
    for seed in range(5):
        data = batch(seed, 40, 3)
        wanted = estimator("difference")(*data).value
        found = forgetful(*data).value
        torch.testing.assert_close(found[~wanted.isnan()], wanted[~wanted.isnan()], **TOLERANCE)


def test_corrected_for_some_gates_only():
    data, chosen = batch(3, 40, 3), torch.tensor([True, False, True])
    both, curvature, corrected = Corrected(chosen), Corrected(False), Corrected()
    for _ in range(2):
        found, without, whole = (method(*data).value for method in (both, curvature, corrected))
        assert torch.equal(found, torch.where(chosen, whole, without))


def test_corrected_has_no_bias_for_a_loss_far_from_quadratic():
    """ℓ = ξ⁴ + noise: D = 1, the trapezoid says 2; memory takes the noise of the losses away."""
    generator = torch.Generator().manual_seed(0)
    theta, found = torch.full((1,), 0.8, dtype=torch.float64), []
    methods = [Corrected(), Corrected(by_losses=False), estimator("difference")]
    for _ in range(600):
        masks = (torch.rand(32, 1, generator=generator) < theta).double()
        losses = masks[:, 0] ** 4 + torch.randn(32, generator=generator, dtype=torch.float64)
        found.append(torch.stack([m(masks, 4 * masks**3 / 32, losses, theta).value[0] for m in methods]))
    found = torch.stack(found)[200:]
    assert found.mean(0)[:2].tolist() == pytest.approx([1, 2], abs=0.1)
    assert found[:, 0].std() < 0.2 * found[~found[:, 2].isnan(), 2].std()


def test_curvature_is_the_trapezoid_without_memory_and_quieter_with_it():
    """On quadratic losses with θ = 0.9; both have mean D."""
    generator = torch.Generator().manual_seed(0)
    losses, slopes = quadratic(32, 2, 1)
    theta = torch.full((2,), 0.9, dtype=torch.float64)
    forgetful, mindful = Corrected(False, memory=0.0), Corrected(False)
    found = []
    for _ in range(400):
        masks = (torch.rand(32, 2, generator=generator) < theta).double()
        data = masks, slopes(masks) / 32, losses(masks), theta
        found.append(torch.stack([f(*data).value for f in (forgetful, mindful, trapezoid)]))
    found = torch.stack(found)[100:]
    both = (found[:, 0] - found[:, 2]).abs() < 1e-12
    assert both.double().mean() > 0.95  # else one side was empty: there the memory, here the fallback
    exact = exact_difference(torch.stack([losses(mask.expand(32, 2)).mean() for mask in all_masks(2)]), theta)
    assert (found[:, 1].var(0) < 0.6 * found[:, 2].var(0)).all()
    assert ((found[:, 1].mean(0) - exact).abs() < 5 * found[:, 2].std(0) / math.sqrt(300)).all()


def test_errors_are_honest():
    """|D̂ − D| / error has about unit variance, for the difference and its adjusted forms; errors shrink as 1/√n."""
    generator = torch.Generator().manual_seed(0)
    samples = 64
    losses, slopes = quadratic(samples, 3, 3)
    theta = torch.tensor([0.5, 0.7, 0.3], dtype=torch.float64)
    exact = exact_difference(torch.stack([losses(mask.expand(samples, 3)).mean() for mask in all_masks(3)]), theta)
    for name in ("difference", "control", "control-own", "horvitz-thompson-centred", "trapezoid"):
        scores = []
        for _ in range(150):
            masks = (torch.rand(samples, 3, generator=generator) < theta).double()
            value, error = estimator(name)(masks, slopes(masks) / samples, losses(masks), theta)
            scores.append((value - exact) / error)
        # The samples are fixed, so part of what the error allows for does not happen: it may be too large.
        assert 0.5 < torch.stack(scores).std(0).mean() < 1.2, name


def test_wrong_shapes_are_refused():
    masks, gradients, losses, theta = batch(0, 4, 3)
    for bad, argument in (
        ((masks, gradients[:, :2], losses, theta), "gradients"),
        ((masks, gradients, losses[:3], theta), "losses"),
        ((masks, gradients, losses, theta[:2]), "theta"),
        ((masks, gradients, losses[:, None].expand_as(masks), theta), "losses"),  # as many outputs as gates
        ((masks[0], gradients, losses, theta), "masks"),
        ((masks[:0], gradients[:0], losses[:0], theta), "masks"),
    ):
        with pytest.raises(ValueError, match=f"^{argument} must"):
            check_shapes(*bad)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_no_mask_is_refused(name):
    """Wrong shapes too: here by the types already, without them by `check_shapes`."""
    masks, gradients, losses, theta = batch(0, 4, 3)
    with pytest.raises(ValueError, match="masks must be zeros and ones"):
        estimator(name)(masks + 0.5, gradients, losses, theta)
    with pytest.raises((ValueError, TypeCheckError)):
        estimator(name)(masks, gradients[:, :2], losses, theta)


def test_other_bad_input():
    with pytest.raises(InputError, match="unknown estimator 'best': choose one of first-order, trapezoid"):
        estimator("best")
    with pytest.raises(ValueError, match="memory must be in"):
        Corrected(memory=1.0)
    corrected = Corrected()
    corrected(*batch(0, 4, 3))
    with pytest.raises(ValueError, match="3 gates as before; got 2"):
        corrected(*batch(0, 4, 2))
    for name in ("control", "horvitz-thompson-centred"):
        with pytest.raises(ValueError, match="at least 2 samples"):
            estimator(name)(*batch(0, 1, 2))
    for gates in (0, 17):
        with pytest.raises(ValueError, match="gates must be in"):
            all_masks(gates)
    with pytest.raises(ValueError, match="one for each mask"):
        exact_difference(torch.zeros(3), torch.zeros(2))


def test_no_old_correction_holds_up_a_unit_whose_branch_is_off():
    """The unit's D given its branch, times the branch's share of the samples; 0 when the branch is off for good."""
    draw = torch.Generator().manual_seed(0)
    estimator, theta = Corrected(by_losses=False, memory=0.9), torch.tensor([0.8])
    for share in (1.0, 0.5, 0.0):
        for _ in range(200):
            masks = (torch.rand(64, 1, generator=draw) < theta).double()
            on = torch.rand(64, 1, generator=draw) < share
            slopes = torch.where(on, -1.0 + masks, 0.0).double()  # ℓ = ½(1 − ξ)² with the branch on: D = −½
            sums = Sums.of(masks, slopes / 64, torch.zeros(64).double(), on)
            value = estimator.of(sums, 64)
        torch.testing.assert_close(value, torch.tensor([-0.5]).double() * on.double().mean(), rtol=1e-9, atol=1e-12)


@given(st.floats(0.1, 3.0), st.integers(0, 1000))
@settings(deadline=None, max_examples=15)
def test_corrections_follow_the_weights_to_second_order(ratio, seed):
    """ℓ = ½(y − Σ ξ_g w_g)², one gate alone: after w → ratio·w a batch with ξ = 1 only still gives the new D exactly.

    Its slope at ξ = 1 is −(y − w)w, and D = −yw + w²/2: what is missing is −½f″, with f″ = w² of second order.
    """
    generator = torch.Generator().manual_seed(seed)
    target, weight = torch.randn(2, generator=generator, dtype=torch.float64).tolist()
    theta = torch.tensor([0.9], dtype=torch.float64)

    def shown(masks, w):
        error = target - masks * w
        return masks, -error * w / len(masks), error[:, 0].square() / 2, theta

    both, on = torch.tensor([[1.0], [1.0], [0.0]]).double(), torch.ones(3, 1).double()
    for by_losses in (False, True):
        method = Corrected(by_losses)
        method(*shown(both, weight))
        method.follow(torch.tensor([ratio], dtype=torch.float64))
        found = method(*shown(on, weight * ratio)).value.item()
        new = weight * ratio
        assert found == pytest.approx(-target * new + new**2 / 2, rel=1e-9, abs=1e-9)
