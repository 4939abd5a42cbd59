"""Claims about estimating D = E[ℓ | ξ_k=1] − E[ℓ | ξ_k=0]: which estimates have no bias, and what bias the others have.

Let f(ξ_k) be the loss along one gate, the others as drawn. What a trainer can see is f or f' at ξ_k = 0 or 1, whichever
was drawn. Estimates from a batch of independent samples are checked by enumerating all masks of the batch with a free
symbol for every loss and every θ; those that need samples on both sides of a gate are judged given that there are. The
formulas are those of `dynamics.models.estimates`, on which the trainer's estimators run; its tests run the estimators
themselves over all masks of a small batch.

Every check takes what it checks as an argument, so that the tests can hand it something wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import sympy as sp

from dynamics.models import estimates
from dynamics.models.objective import difference, gate_symbols, probability
from dynamics.proofs.claim import Claim, Outcome, claim, proved, refuted

__all__ = ["CLAIMS", "Batch", "check_batch", "check_corrected", "check_rule", "check_unbiased_rule"]

XI, THETA = sp.Symbol("xi", real=True), sp.Symbol("theta", nonnegative=True)

#: From f' (a function of ξ) to what an estimate has as its mean.
Rule = Callable[[sp.Expr], sp.Expr]

#: A batch as an estimator sees it: masks[b][k], losses[b], slopes[b][k] = ∂ℓ_b/∂ξ_k there, θ; the answer is for gate 0.
Batch = Callable[["Masks", "Values", Sequence["Values"], "Values"], sp.Expr]
Masks = Sequence[Sequence[int]]
Values = Sequence[sp.Expr]


def first_order_mean(slope: sp.Expr) -> sp.Expr:
    """Return E f'(ξ) over ξ ~ Ber(θ): the mean of the shipped estimate from one sample, over its two masks."""
    return sp.Add(*(p * by_first_order([[x]], [], [[slope.subs(XI, x)]], ()) for x, p in ((1, THETA), (0, 1 - THETA))))


def trapezoid_mean(slope: sp.Expr) -> sp.Expr:
    """Return the shipped estimate from two samples of the same f, one on each side."""
    return by_trapezoid([[0], [1]], [], [[slope.subs(XI, 0)], [slope.subs(XI, 1)]], ())


def polynomial(degree: int) -> sp.Expr:
    """Return Σ a_i ξ^i with free a_i."""
    return sp.Add(*(sp.Symbol(f"a{i}", real=True) * XI**i for i in range(degree + 1)))


def check_rule(rule: Rule, bias: Callable[[sp.Expr], sp.Expr], degree: int) -> Outcome:
    """Check: rule(f') = f(1) − f(0) + bias(f) for every polynomial f up to the degree."""
    f = polynomial(degree)
    remainder = sp.expand(rule(sp.diff(f, XI)) - (f.subs(XI, 1) - f.subs(XI, 0)) - bias(f))
    scope = f"all polynomials of degree ≤ {degree}, all θ"
    return refuted(scope, {"remainder": str(remainder)}) if remainder != 0 else proved(scope)


def check_unbiased_rule() -> Outcome:
    """Check: the trapezoid's bias ½∫t(1−t)f‴ on every power ξⁿ, n ≥ 3 a symbol, and on n < 3; by linearity all
    polynomials.

    For n ≥ 3 the integrand is a multiple of t^(n−2) − t^(n−1); for n < 3 the third derivative is 0.
    """
    n = sp.Symbol("n", integer=True, positive=True) + 2
    third = n * (n - 1) * (n - 2)  # f‴ = third · t^(n−3)
    kernel = third * (1 / (n - 1) - 1 / n) / 2  # ½ third ∫ t^(n−2) − t^(n−1)
    by_rule = trapezoid_mean(n * XI) - 1  # less f(1) − f(0); f'(0) = 0 and f'(1) = n as those of nξ
    remainder = sp.simplify(kernel - by_rule)
    if remainder != 0:
        return refuted("ξⁿ, n ≥ 3", {"remainder": str(remainder)})
    small = check_rule(trapezoid_mean, lambda f: sp.Integer(0), 2)
    return small if small.witness else proved("all polynomials, hence all f with continuous f‴")


def check_batch(estimate: Batch, loss: Callable[[int], sp.Expr], gates: int, samples: int, given_both: bool) -> Outcome:
    """Check: E[estimate] = mean over the batch of D of gate 0, by summing over all 2^(samples·gates) masks of the
    batch.

    Args:
        estimate: of D of gate 0.
        loss: b → the loss of sample b as a polynomial of ξ0, ξ1, ….
        gates: in the network.
        samples: in the batch.
        given_both: condition on gate 0 having samples on both sides.
    """
    theta = gate_symbols(gates)
    xi = [sp.Symbol(f"xi{k}", real=True) for k in range(gates)]
    whole = [loss(b) for b in range(samples)]
    slopes = [[sp.diff(f, x) for x in xi] for f in whole]
    total = sp.Add(*whole)
    wanted = difference(lambda setting: total.subs(dict(zip(xi, setting, strict=True))), theta, 0) / samples
    mean, chance = sp.Integer(0), sp.Integer(0)
    for masks in itertools.product(itertools.product((0, 1), repeat=gates), repeat=samples):
        on = sum(mask[0] for mask in masks)
        if given_both and on in (0, samples):
            continue
        at = [dict(zip(xi, mask, strict=True)) for mask in masks]
        losses = [f.subs(a) for f, a in zip(whole, at, strict=True)]
        seen = [[s.subs(a) for s in row] for row, a in zip(slopes, at, strict=True)]
        weight = sp.Mul(*(probability(mask, theta) for mask in masks))
        mean += weight * estimate(masks, losses, seen, theta)
        chance += weight
    remainder = sp.expand(mean - chance * wanted)
    if remainder != 0:  # fractions in θ cancel only over one denominator
        remainder = sp.factor(remainder)
    scope = f"{samples} different samples, {gates} gates, all θ and coefficients"
    if remainder != 0:
        return refuted(scope, {"bias times probability": str(remainder)[:300]})
    return proved(scope, cases=2 ** (gates * samples))


def quadratic(gates: int) -> Callable[[int], sp.Expr]:
    """Return any loss quadratic in the masks, each sample with its own free coefficients."""
    return _polynomials(gates, lambda powers: sum(powers) <= 2)


def cubic(gates: int) -> Callable[[int], sp.Expr]:
    """Return any loss cubic in the masks."""
    return _polynomials(gates, lambda powers: sum(powers) <= 3)


def any_loss(gates: int) -> Callable[[int], sp.Expr]:
    """Return any loss of masks (a free multilinear polynomial), with derivatives made arbitrary by free curvature
    terms.
    """
    return _polynomials(gates, lambda powers: sum(p > 1 for p in powers) <= 1 and max(powers) <= 2)


def _polynomials(gates: int, wanted: Callable[[tuple[int, ...]], bool]) -> Callable[[int], sp.Expr]:
    powers = [p for p in itertools.product(range(4), repeat=gates) if wanted(p)]
    xi = [sp.Symbol(f"xi{k}", real=True) for k in range(gates)]

    def loss(b: int) -> sp.Expr:
        coefficient = {p: sp.Symbol(f"c{b}_" + "".join(map(str, p)), real=True) for p in powers}
        return sp.Add(*(c * sp.Mul(*(x**i for x, i in zip(xi, p, strict=True))) for p, c in coefficient.items()))

    return loss


def _sums(masks: Masks, values: Sequence[sp.Expr]) -> np.ndarray:
    """Return the sums of one value a sample over the two sides of gate 0, [side, 1]."""
    sides = [[value for mask, value in zip(masks, values, strict=True) if mask[0] == side] for side in (0, 1)]
    return np.array([[sp.Add(*side)] for side in sides], dtype=object)


def _count(masks: Masks) -> np.ndarray:
    return _sums(masks, [sp.Integer(1)] * len(masks))


def by_first_order(masks: Masks, losses: Values, slopes: Sequence[Values], theta: Values) -> sp.Expr:
    """Return the shipped mean slope."""
    return estimates.first_order(_count(masks), _sums(masks, [row[0] for row in slopes]))[0]


def by_difference(masks: Masks, losses: Values, slopes: Sequence[Values], theta: Values) -> sp.Expr:
    """Return the shipped difference in means."""
    return estimates.difference(_count(masks), _sums(masks, losses))[0]


def by_trapezoid(masks: Masks, losses: Values, slopes: Sequence[Values], theta: Values) -> sp.Expr:
    """Return the shipped trapezoid."""
    return estimates.trapezoid(_count(masks), _sums(masks, [row[0] for row in slopes]))[0]


def by_horvitz_thompson(masks: Masks, losses: Values, slopes: Sequence[Values], theta: Values) -> sp.Expr:
    """Return the shipped Horvitz–Thompson estimate of each loss less the mean of the others."""
    values = np.array(losses, dtype=object)
    centred = values - estimates.mean_of_others(values)
    return estimates.horvitz_thompson(len(masks), _sums(masks, list(centred)), np.array(theta[:1], dtype=object))[0]


def by_control(masks: Masks, losses: Values, slopes: Sequence[Values], theta: Values) -> sp.Expr:
    """Return the shipped difference in means, less what the other gates did by the other samples' mean slopes."""
    return _controlled(masks, losses, estimates.mean_of_others(np.array(slopes, dtype=object)), theta)


def by_own_control(masks: Masks, losses: Values, slopes: Sequence[Values], theta: Values) -> sp.Expr:
    """Return `by_control` with each sample's own slopes."""
    return _controlled(masks, losses, np.array(slopes, dtype=object), theta)


def _controlled(masks: Masks, losses: Values, slopes: np.ndarray, theta: Values) -> sp.Expr:
    given = (np.array(value, dtype=object) for value in (losses, masks, slopes, theta))
    return by_difference(masks, list(estimates.less_other_gates(*given)[:, 0]), [], theta)


def check_corrected(curvature_of: Callable[[sp.Expr], sp.Expr] = lambda f: sp.diff(f, XI, 2)) -> Outcome:
    """Check: the shipped ḡ − (ξ̄ − ½)ĉ has mean D for every batch's ξ̄, ĉ being f″, and quadratic losses.

    The mean given the masks: ḡ has mean (1−ξ̄) f'(0) + ξ̄ f'(1), the samples' losses being exchangeable.
    """
    f, share = polynomial(2), sp.Symbol("share", nonnegative=True)
    slope = sp.diff(f, XI)
    mean_slope = (1 - share) * slope.subs(XI, 0) + share * slope.subs(XI, 1)
    found = sp.nsimplify(estimates.corrected(mean_slope, share, curvature_of(f)))
    remainder = sp.expand(found - (f.subs(XI, 1) - f.subs(XI, 0)))
    scope = "all polynomials of degree ≤ 2, all shares"
    return refuted(scope, {"remainder": str(remainder)}) if remainder != 0 else proved(scope)


@claim("estimators-first-order", "E f'(ξ) = D + (θ − ½)·f″ for f quadratic in ξ, ξ ~ Ber(θ)", "symbolic")
def first_order() -> Outcome:
    """Prove the statement: the bias of ∂ℓ/∂ξ as an estimate of D; for ½(y − Σ ξ_k f_k)², f″ = f_k²."""
    return check_rule(first_order_mean, lambda f: (THETA - sp.Rational(1, 2)) * sp.diff(f, XI, 2), 2)


@claim(
    "estimators-corrected",
    "the mean slope less (x − ½)·f″ has mean D for quadratic f, whatever the share x of samples with ξ = 1",
    "symbolic",
)
def corrected() -> Outcome:
    """Prove the statement: the estimate `curvature` of the trainer, given ĉ = f″."""
    return check_corrected()


@claim("estimators-trapezoid", "½(f'(0) + f'(1)) = D + ½∫₀¹ t(1−t) f‴(t) dt; exact for quadratic f", "symbolic")
def trapezoid() -> Outcome:
    """Prove the statement: the Peano kernel, power by power; and f‴/12 for cubic f."""
    cubic = check_rule(trapezoid_mean, lambda f: sp.diff(f, XI, 3) / 12, 3)
    return cubic if cubic.witness else check_unbiased_rule()


@claim(
    "estimators-trapezoid-batch", "the batch's trapezoid has mean D, for quadratic losses, given both sides", "symbolic"
)
def trapezoid_batch() -> Outcome:
    """Prove the statement for samples with different losses; other gates random."""
    return check_batch(by_trapezoid, quadratic(2), gates=2, samples=3, given_both=True)


@claim("estimators-difference", "the difference in means has mean D given both sides, whatever the loss", "symbolic")
def difference_in_means() -> Outcome:
    """Prove the statement for samples with different losses; other gates random."""
    return check_batch(by_difference, any_loss(2), gates=2, samples=3, given_both=True)


@claim("estimators-horvitz-thompson", "the centred Horvitz–Thompson estimate has mean D, whatever the loss", "symbolic")
def horvitz_thompson() -> Outcome:
    """Prove the statement without a condition on the sides."""
    return check_batch(by_horvitz_thompson, any_loss(2), gates=2, samples=2, given_both=False)


@claim(
    "estimators-control",
    "less Σ_{j≠k} (mean slope of the other samples)_j (ξ_j − θ_j), the difference in means still has mean D",
    "symbolic",
)
def control() -> Outcome:
    """Prove the statement for any loss and any slopes."""
    return check_batch(by_control, any_loss(2), gates=2, samples=3, given_both=True)


@claim("estimators-control-own", "with each sample's own slopes it has mean D for quadratic losses", "symbolic")
def control_own() -> Outcome:
    """Prove the statement, and not beyond: a loss with a term ξ_j²ξ_k refutes it."""
    return check_batch(by_own_control, quadratic(2), gates=2, samples=2, given_both=True)


CLAIMS: tuple[Claim, ...] = (
    first_order,
    corrected,
    trapezoid,
    trapezoid_batch,
    difference_in_means,
    horvitz_thompson,
    control,
    control_own,
)
