"""The escape bound: laws, extreme values, both backends, and wrong bounds that Monte Carlo must refute."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mpmath import mpf

from dynamics import BilinearGate, LinearGate
from dynamics.claims import noise as claims
from dynamics.noise import escape_exponent, escape_probability, exponent_from_margin
from dynamics.proofs.claim import Status

GATE = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
NOISE = {"sigma_rho": 1.0, "sigma_theta": 1.0}

positive = st.floats(1e-3, 1e3)


def reference(phi: float, mu: float, h: float, sigma: float, steps: int | None = None) -> float:
    """The exponent written plainly, the discounted sum term by term."""
    a = 1 + h * mu
    total = 1 / (a * a - 1) if steps is None else sum(a ** (-2 * j) for j in range(1, steps + 1))
    return phi**2 / (2 * h**2 * sigma**2 * total) if phi < 0 else 0.0


@given(phi=st.floats(-10, 1), mu=positive, h=positive, sigma=positive)
def test_exponent_is_the_plain_formula(phi, mu, h, sigma):
    got = float(exponent_from_margin(phi, unstable_rate=mu, step=h, noise=sigma))
    assert got == pytest.approx(reference(phi, mu, h, sigma), rel=1e-9)  # the reference cancels in a² − 1


@given(mu=st.floats(0.01, 5), h=st.floats(0.01, 1), shares=st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_steps_that_shrink_have_no_more_noise_than_equal_ones(mu, h, shares):
    """Σ h_j²/(a_1…a_j)² against the sum for equal steps, of which the exponent is the inverse; any order of steps."""
    product, total = 1.0, 0.0
    for one in shares:
        product *= 1 + one * h * mu
        total += (one * h / product) ** 2
    exponent = float(exponent_from_margin(-1.0, unstable_rate=mu, step=h, noise=1.0, steps=len(shares)))
    assert total <= 1 / (2 * exponent) * (1 + 1e-9)


@given(phi=st.floats(-10, 0), mu=st.floats(0.01, 5), h=st.floats(0.01, 1), steps=st.integers(1, 300))
def test_finite_horizon_is_the_finite_sum_and_only_helps(phi, mu, h, steps):
    finite, forever = (
        float(exponent_from_margin(phi, unstable_rate=mu, step=h, noise=1.0, steps=k)) for k in (steps, math.inf)
    )
    assert finite == pytest.approx(reference(phi, mu, h, 1.0, steps), rel=1e-9)
    assert finite >= forever * (1 - 1e-12)


@given(
    rho=st.floats(0, 2),
    theta=st.floats(0, 1),
    h=st.floats(1e-4, 1.0),
    sigma=st.floats(1e-3, 1e3),
    grow=st.floats(1, 10),
)
def test_more_noise_and_later_separatrix_never_lower_the_bound(rho, theta, h, sigma, grow):
    def bound(**change):
        values = {"step": h, "sigma_rho": sigma, "sigma_theta": sigma, **change}
        return float(escape_probability(GATE, rho, theta, **values))

    base = bound()
    assert 0 <= base <= 1
    assert (base == 1) or bool(GATE.certified(rho, theta))
    assert bound(sigma_rho=sigma * grow) >= base
    assert bound(sigma_theta=sigma * grow) >= base
    assert bound(independent=False) >= base * (1 - 1e-9)
    assert bound(update_moment=sigma**2) >= base * (1 - 1e-9)
    assert bound(steps=100) <= base * (1 + 1e-9)


constants = st.floats(0.05, 20)


@given(
    gate=st.builds(LinearGate, decay=constants, coupling=constants, cost=constants, rate=constants),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    sigma_rho=st.floats(0, 3),
    sigma_theta=st.floats(0, 3),
)
def test_gate_form_is_the_scalar_form(gate, shares, sigma_rho, sigma_theta):
    """σ from the slope s of φ and the rate r, at every r: √((rσ_θ)² + (sσ_ρ)²), or rσ_θ + |s|σ_ρ if dependent."""
    assume(gate.saddle[1] <= 1)  # else the margin is cut off, and the bound speaks of φ
    rho, theta = shares[0] * float(gate.saddle[0]), shares[1] * float(gate.saddle[1])
    slope, rate = float(gate.margin(1.0, 0.1) - gate.margin(0.0, 0.1)), float(gate.parameters["rate"])
    phi, mu = float(gate.margin(rho, theta)), float(gate.eigenvalues[-1])
    assume(phi < -1e-6 and max(sigma_rho * slope, rate * sigma_theta) > 1e-3)
    parts = rate * sigma_theta, slope * sigma_rho
    for independent, sigma in ((True, math.hypot(*parts)), (False, sum(parts))):
        noises = {"sigma_rho": sigma_rho, "sigma_theta": sigma_theta, "independent": independent}
        found = float(escape_exponent(gate, rho, theta, step=0.05, **noises))
        assert found == pytest.approx(reference(phi, mu, 0.05, sigma), rel=1e-6)


def test_noises_that_may_depend_on_one_another_are_worse_than_independent_ones():
    """(rσ_θ + |s|σ_ρ)² is up to twice r²σ_θ² + s²σ_ρ², and exactly twice where both shares are equal."""
    gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=3.0)
    slope = float(gate.margin(1.0, 0.1) - gate.margin(0.0, 0.1))
    equal_shares = {"step": 0.01, "sigma_rho": 0.3 / slope, "sigma_theta": 0.1}
    independent, any_noise = (
        float(escape_exponent(gate, 0.2, 0.1, independent=choice, **equal_shares)) for choice in (True, False)
    )
    assert 0 < any_noise == pytest.approx(independent / 2)


def test_small_steps_approach_the_limit_formula():
    phi, mu = float(GATE.margin(0.2, 0.1)), float(GATE.eigenvalues[-1])
    h = 1e-6
    assert float(exponent_from_margin(phi, unstable_rate=mu, step=h, noise=2.0)) == pytest.approx(
        mu * phi**2 / (h * 4), rel=1e-5
    )


def test_vector_correction_by_hand():
    h, V = 1e-3, 4.0
    delta, excess = math.sqrt(h * V / 2), math.sqrt(2 * h * V)
    share = float(GATE.margin(1.0, 0.1) - GATE.margin(0.0, 0.1))
    phi = float(GATE.margin(math.hypot(0.2, delta), 0.1)) + excess / 2
    by_hand = reference(phi, float(GATE.eigenvalues[-1]), h, math.hypot(1, share))
    got = float(escape_exponent(GATE, 0.2, 0.1, step=h, update_moment=V, **NOISE))
    assert got == pytest.approx(by_hand)
    same = escape_exponent(GATE, 0.2, 0.1, step=h, update_moment=V, smoothing=delta, **NOISE)
    assert float(same) == pytest.approx(by_hand)
    no_moment = escape_exponent(GATE, 0.2, 0.1, step=h, update_moment=0.0, **NOISE)
    assert float(no_moment) == pytest.approx(float(escape_exponent(GATE, 0.2, 0.1, step=h, **NOISE)))


def test_edges():
    at = {"unstable_rate": 1.0, "step": 0.1}
    exponents = [float(exponent_from_margin(p, noise=s, **at)) for p, s in ((-1, 0), (0, 0), (1, 0), (-math.inf, 1))]
    assert exponents == [math.inf, 0, 0, math.inf]
    assert float(exponent_from_margin(-1.0, unstable_rate=0.0, step=0.1, noise=1.0)) == 0  # a random walk returns
    assert float(exponent_from_margin(-1.0, unstable_rate=0.0, step=0.1, noise=1.0, steps=50)) == pytest.approx(1.0)
    unpulled = LinearGate(decay=1.0, coupling=0.0, cost=1.0, rate=1.0)
    free = LinearGate(decay=1.0, coupling=1.0, cost=0.0, rate=1.0)
    no_decay = LinearGate(decay=0.0, coupling=1.0, cost=1.0, rate=1.0)
    assert float(escape_probability(unpulled, 5.0, 0.9, step=0.1, **NOISE)) == 0
    endless = LinearGate(decay=1.0, coupling=math.inf, cost=1.0, rate=1.0)
    assert float(escape_probability(endless, 0.1, 0.1, step=0.1, update_moment=1.0, **NOISE)) == 1
    assert float(escape_probability(free, 0.0, 0.5, step=0.1, **NOISE)) == 1
    assert float(escape_probability(no_decay, 0.1, 0.1, step=1e-3, update_moment=1.0, **NOISE)) == 1
    assert float(escape_probability(no_decay, 0.1, 0.1, step=1e-3, update_moment=1.0, smoothing=0.1, **NOISE)) < 1


def test_extreme_values_give_probabilities():
    """Against 60-digit arithmetic: right where hμ is representable, and never too large an exponent elsewhere."""
    values = [1e-300, 1e-30, 1e-4, 1.0, 1e4, 1e30, 1e300]
    for mu, h, sigma in itertools.product(values, repeat=3):
        got = float(exponent_from_margin(-0.5, unstable_rate=mu, step=h, noise=sigma))
        product = mpf(h) * mpf(mu)
        exact = mpf(0.25) * product * (2 + product) / (2 * mpf(h) ** 2 * mpf(sigma) ** 2)
        if not 1e-300 < product < 1e300:
            assert got == math.inf or got <= exact * (1 + mpf(1e-9))
        if got == math.inf:
            assert exact > 1e300
        elif 1e-300 < product < 1e300 and exact > 1e-290:
            assert got == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_and_numpy_agree(dtype):
    rng = np.random.default_rng(0)
    rho, theta = rng.uniform(0, 0.5, (2, 50)).astype(str(dtype).removeprefix("torch."))
    for moment in (None, 0.01):
        here = escape_probability(GATE, rho, theta, step=0.02, update_moment=moment, **NOISE)
        there = escape_probability(
            GATE, torch.from_numpy(rho), torch.from_numpy(theta), step=0.02, update_moment=moment, **NOISE
        )
        assert there.dtype == dtype and here.dtype == rho.dtype
        np.testing.assert_allclose(there.numpy(), here, rtol=1e-4 if dtype == torch.float32 else 1e-12)


def test_a_gate_does_not_depend_on_its_batch():
    gates = LinearGate(decay=1.0, coupling=np.array([1.0, 2.0, 3.0]), cost=1.0, rate=1.0)
    batch = escape_probability(gates, 0.1, 0.1, step=0.1, **NOISE)
    alone = [float(escape_probability(GATE.with_coupling(c), 0.1, 0.1, step=0.1, **NOISE)) for c in (1.0, 2.0, 3.0)]
    assert batch.tolist() == alone


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0.0}, "step must be > 0; got 0.0"),
        ({"step": math.nan}, "step must be finite and ≥ 0; got nan"),
        ({"sigma_rho": -1.0}, "sigma_rho must be finite and ≥ 0; got -1.0"),
        ({"sigma_theta": math.inf}, "sigma_theta must be finite and ≥ 0; got inf"),
        ({"steps": 0}, "steps must be at least 1; got 0.0"),
        ({"update_moment": -2.0}, "update_moment must be finite and ≥ 0; got -2.0"),
        ({"update_moment": 1.0, "smoothing": 0.0}, "smoothing must be finite and > 0; got 0.0"),
        ({"smoothing": 0.1}, "smoothing needs update_moment"),
        ({"theta": 1.5}, r"theta must be in \[0, 1\]; got 1.5"),
        ({"gate": BilinearGate(decay=1.0, coupling=1.0, cost=1.0, rate=1.0)}, "gate must be a LinearGate"),
    ],
)
def test_bad_input_names_the_argument(change, message):
    values = {"gate": GATE, "rho": 0.1, "theta": 0.1, "step": 0.1, **NOISE, **change}
    with pytest.raises(ValueError, match=message):
        escape_probability(**values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": math.nan}, "margin must be a number; got nan"),
        ({"unstable_rate": -1.0}, "unstable_rate must be finite and ≥ 0; got -1.0"),
        ({"noise": math.nan}, "noise must be finite and ≥ 0; got nan"),
    ],
)
def test_bad_margin_input(change, message):
    values = {"margin": -1.0, "unstable_rate": 1.0, "step": 0.1, "noise": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        exponent_from_margin(**values)


def test_a_doubled_exponent_is_refuted():
    """Forgetting the 2 of 2h²σ² squares the bound; Monte Carlo sees it."""
    cases = list(claims.settings(12, np.random.default_rng(1)))
    outcome = claims.compare(cases, 10_000, 2, bound=lambda *a, **k: escape_probability(*a, **k) ** 2)
    assert outcome.status is Status.REFUTED
    assert outcome.witness["observed"] > outcome.witness["bound"]


def test_a_bound_without_the_weights_noise_is_refuted():
    cases = list(claims.settings(12, np.random.default_rng(1)))
    outcome = claims.compare(cases, 10_000, 2, bound=lambda *a, **k: escape_probability(*a, **{**k, "sigma_rho": 0.0}))
    assert outcome.status is Status.REFUTED


def test_dependent_noise_taken_for_independent_is_refuted():
    cases = list(claims.settings(30, np.random.default_rng(1)))
    assert any(case.dependent for case in cases)
    outcome = claims.compare(
        cases, 10_000, 2, bound=lambda *a, **k: escape_probability(*a, **{**k, "independent": True})
    )
    assert outcome.status is Status.REFUTED and "dependent=True" in outcome.witness["setting"]


def test_the_vector_correction_is_needed():
    """Without the second moment the claim's own trials refute the bound."""
    outcome = claims.vectors_check(lambda *a, **k: escape_probability(*a, **{**k, "update_moment": None}), paths=200)
    assert outcome.status is Status.REFUTED
    assert outcome.witness["observed"] > 2 * outcome.witness["bound"]


@pytest.mark.parametrize(("dimension", "rho", "theta"), [(2, 0.4, 0.3), (30, 0.3, 0.2)])
def test_norms_alone_are_as_good_as_whole_vectors(dimension, rho, theta):
    """Against the recursion of w itself, vector by vector: the share of escapes and of deaths within the steps."""
    gate, h, sigma, steps, paths = LinearGate(decay=0.5, coupling=1.0, cost=0.6, rate=1.0), 0.1, 0.5, 40, 4000
    case = claims.Setting(gate, rho, theta, h, sigma, 0.3, "normal", dimension, 100.0)
    fast = claims.simulate(case, paths, np.random.default_rng(0), steps=steps)
    rng = np.random.default_rng(1)
    w, theta = np.zeros((paths, dimension)), np.full(paths, theta)
    w[:, 0] = rho
    escaped, died = np.zeros((2, paths), dtype=bool)
    for _ in range(steps):
        rho = np.linalg.norm(w, axis=1)
        sphere = rng.standard_normal(w.shape)
        sphere *= sigma * dimension**0.5 / np.linalg.norm(sphere, axis=1, keepdims=True)
        w = w + h * ((theta / rho - 0.5)[:, None] * w + sphere)
        theta = np.minimum(theta + h * (rho - 0.6 + 0.3 * rng.standard_normal(paths)), 1)
        out = gate.margin(np.linalg.norm(w, axis=1), np.maximum(theta, 0)) + np.minimum(theta, 0) >= 0
        escaped |= out & ~died
        died |= (theta <= 0) & ~escaped
        theta = np.maximum(theta, 0)
    for one, other in ((fast.escaped, escaped.sum()), (fast.died, died.sum())):
        assert abs(one - other) < 5 * np.sqrt(paths / 2), (fast, escaped.sum(), died.sum())
    assert min(fast.escaped, fast.died) > 100


def test_paths_that_did_not_end_leave_the_claim_undecided(monkeypatch):
    cases = list(claims.settings(1, np.random.default_rng(1)))
    monkeypatch.setattr(claims.simulate, "__kwdefaults__", {"steps": 1, "absorb": True})
    assert claims.compare(cases, 100, 2).status is Status.UNDECIDED


@pytest.mark.parametrize(("bound", "low", "high"), [(0.026, 0.002, 0.013), (0.40, 0.10, 0.22), (0.72, 0.20, 0.45)])
def test_how_tight(bound, low, high):
    """Observed frequencies of about 0.006, 0.16 and 0.31 belong to these three bounds."""
    gate, h = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0), 0.02
    exponent = float(escape_exponent(gate, 0.3, 0.3, step=h, **NOISE))
    scale = math.sqrt(exponent / -math.log(bound))
    case = claims.Setting(gate, 0.3, 0.3, h, scale, scale)
    assert case.bound() == pytest.approx(bound)
    trial = claims.simulate(case, 20_000, np.random.default_rng(0))
    assert low < trial.escaped / 20_000 < high


def test_absorption_is_an_assumption_not_a_convenience():
    """A gate that stays in training after θ = 0 escapes more often than the bound for the absorbed one."""
    gate, h = LinearGate(decay=0.2, coupling=1.0, cost=0.3, rate=1.0), 0.05
    case = claims.Setting(gate, 0.0, 0.02, h, 0.4, 0.4)
    bound = case.bound()
    absorbed = claims.simulate(case, 2_000, np.random.default_rng(0))
    forever = claims.simulate(case, 2_000, np.random.default_rng(0), steps=5_000, absorb=False)
    assert absorbed.escaped / 2_000 <= bound < 0.9 * forever.escaped / 2_000
