"""Claims about estimates of D, and wrong variants of them that must be refuted."""

import pytest
import sympy as sp

from dynamics.claims import estimators as claims
from dynamics.proofs.claim import Status


def first_order(masks, losses, slopes, theta):
    return sum(row[0] for row in slopes) / len(slopes)


def control_with_all_slopes(masks, losses, slopes, theta):
    """Wrong: the sample's own slope in the mean, so that its own masks choose the coefficient."""
    adjusted = []
    for mask, loss in zip(masks, losses, strict=True):
        for j in range(1, len(theta)):
            loss = loss - sum(row[j] for row in slopes) / len(slopes) * (mask[j] - theta[j])
        adjusted.append(loss)
    return claims.by_difference(masks, adjusted, slopes, theta)


def uncentred_by_all(masks, losses, slopes, theta):
    """Wrong: Horvitz–Thompson with the mean of all losses in place of the others'."""
    mean = sum(losses) / len(losses)
    pairs = zip(masks, losses, strict=True)
    return sum((x - mean) / theta[0] if m[0] else -(x - mean) / (1 - theta[0]) for m, x in pairs) / len(losses)


@pytest.mark.parametrize(
    ("wrong", "loss", "given_both"),
    [
        (first_order, claims.quadratic, True),
        (first_order, claims.quadratic, False),
        (claims.by_trapezoid, claims.cubic, True),
        (claims.by_own_control, claims.any_loss, True),
        (control_with_all_slopes, claims.any_loss, True),
        (uncentred_by_all, claims.quadratic, False),
    ],
)
def test_wrong_variants_are_refuted(wrong, loss, given_both):
    """Three samples for first-order given both sides: with two it is the trapezoid."""
    gates = 2 if wrong in (claims.by_own_control, control_with_all_slopes) else 1
    outcome = claims.check_batch(wrong, loss(gates), gates=gates, samples=3, given_both=given_both)
    assert outcome.status == Status.REFUTED and outcome.witness


def test_wrong_biases_are_refuted():
    for bias in (lambda f: sp.Integer(0), lambda f: (sp.Rational(1, 2) - claims.THETA) * sp.diff(f, claims.XI, 2)):
        assert claims.check_rule(claims.first_order_mean, bias, 2).status == Status.REFUTED
    assert claims.check_rule(claims.trapezoid_mean, lambda f: sp.Integer(0), 3).status == Status.REFUTED


def test_corrections_of_a_wrong_size_are_refuted():
    for wrong in (lambda f: 2 * sp.diff(f, claims.XI, 2), lambda f: sp.Integer(0)):
        assert claims.check_corrected(wrong).status == Status.REFUTED


@pytest.mark.parametrize(
    ("name", "wrong", "claim"),
    [
        ("first_order", lambda count, slope: slope[1] / count.sum(0), claims.first_order),
        ("trapezoid", lambda count, slope: slope[0] / count[0] + slope[1] / count[1], claims.trapezoid),
        ("trapezoid", lambda count, slope: slope.sum(0) / count.sum(0), claims.trapezoid_batch),
        ("difference", lambda count, loss: loss[0] / count[0] - loss[1] / count[1], claims.difference_in_means),
        ("horvitz_thompson", lambda n, loss, theta: (loss[1] - loss[0]) / n, claims.horvitz_thompson),
        ("mean_of_others", lambda values: values.sum(0) / len(values) + 0 * values, claims.horvitz_thompson),
        ("mean_of_others", lambda values: values.sum(0) / len(values) + 0 * values, claims.control),
        ("less_other_gates", lambda loss, masks, a, theta: loss[:, None] - a * masks, claims.control),
        ("corrected", lambda mean, share, curvature: mean - share * curvature, claims.corrected),
    ],
)
def test_a_fault_in_the_shipped_formula_is_refuted(name, wrong, claim, monkeypatch):
    """The claims evaluate `dynamics.models.estimates`, on which the trainer runs, and no copy."""
    monkeypatch.setattr(claims.estimates, name, wrong)
    assert claim.check().status == Status.REFUTED


def test_bias_of_a_gated_sum_is_that_of_the_closed_form():
    """½(y − f ξ)²: E ∂ℓ/∂ξ − D = (θ − ½) f²."""
    y, f = sp.symbols("y f", real=True)
    loss = (y - f * claims.XI) ** 2 / 2
    found = claims.first_order_mean(sp.diff(loss, claims.XI)) - (loss.subs(claims.XI, 1) - loss.subs(claims.XI, 0))
    assert sp.expand(found - (claims.THETA - sp.Rational(1, 2)) * f**2) == 0
