"""Claims about the escape bound: its proof step by step, and Monte Carlo of the two-dimensional recursion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from scipy import stats

from dynamics import noise
from dynamics.gates.linear import LINEAR, RATIO, RHO, SADDLE_RHO, LinearGate, scaled_margin, separatrix_slope
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from dynamics.noise import MARGIN, MOMENT, NOISE, SMOOTHING, STEP, UNSTABLE, escape_probability
from dynamics.proofs.claim import Claim, Outcome, claim, held, proved, refuted, undecided

__all__ = [
    "CLAIMS",
    "Setting",
    "Trial",
    "compare",
    "outward_settings",
    "settings",
    "simulate",
    "vector_settings",
    "vectors_check",
]

Bound = Callable[..., np.ndarray]

LEVEL = 1e-3  # chance that a sound bound is refuted by sampling error, all settings of a claim together


@claim(
    "noise-supermartingale",
    "φ/(1+hμ₊)^k plus noise gives an exponential supermartingale, and Ville's inequality the escape bound",
    "symbolic",
)
def supermartingale() -> Outcome:
    """Prove every algebraic step of the proof at the top of `dynamics.noise`."""
    ratios = {RATIO: DECAY / COUPLING, SADDLE_RHO: COST / COUPLING}
    phi, mu = scaled_margin().subs(ratios), noise.normal_rate().subs(ratios)
    rho_dot, theta_dot = LINEAR.field
    moved = phi.subs({RHO: RHO + STEP * rho_dot, THETA: THETA + STEP * theta_dot}, simultaneous=True)
    kick_rho, kick_theta = sp.symbols("kick_rho kick_theta", real=True)
    kicked = phi.subs({RHO: RHO + kick_rho, THETA: THETA + RATE * kick_theta}, simultaneous=True) - phi
    by_rho, by_theta = (sp.diff(kicked, kick) for kick in (kick_rho, kick_theta))
    shares = {by_theta: noise.SIGMA_THETA, by_rho: noise.SIGMA_RHO}
    K, c, d = sp.Symbol("K", positive=True), sp.Symbol("c", positive=True), sp.Symbol("d", positive=True)
    a = 1 + STEP * UNSTABLE
    discounted = (1 - a ** (-2 * K)) / (a**2 - 1)  # Σ_{j≤K} a^{−2j}
    log_ville = c**2 * STEP**2 * NOISE**2 / (2 * (a**2 - 1)) - c * d  # d = |φ₀|
    best = d * (a**2 - 1) / (STEP**2 * NOISE**2)
    shipped = (noise.deviations().subs(MARGIN, -d)) ** 2 / 2
    zero = {
        "one step multiplies φ by 1 + hμ₊": moved - (1 + STEP * mu) * phi,
        "φ rises with θ at rate 1": sp.diff(phi, THETA) - 1,
        "φ rises with ρ at rate −s": noise.weight_share().subs(ratios) + separatrix_slope(),
        "φ is linear in the noises": kicked - by_rho * kick_rho - by_theta * kick_theta,
        "σ² of independent noises": noise.gate_noise().subs(ratios) ** 2 - sum((a * s) ** 2 for a, s in shares.items()),
        "σ of dependent noises": noise.dependent_noise().subs(ratios) - sum(a * s for a, s in shares.items()),
        "μ₊ is the unstable eigenvalue": mu - LINEAR.eigenvalues[-1],
        "the sum starts at 0": discounted.subs(K, 0),
        "the sum grows by a^{−2(K+1)}": discounted.subs(K, K + 1) - discounted - a ** (-2 * (K + 1)),
        "c is stationary": sp.diff(log_ville, c).subs(c, best),
        "the exponent is the one shipped": log_ville.subs(c, best) + shipped,
    }
    positive = {
        "s < 0": noise.weight_share(),
        "the exponent is convex in c": sp.diff(log_ville, c, 2),
    }
    return _algebra(zero, positive)


@claim(
    "noise-vector",
    "for √(‖w‖²+δ²) noise adds at most the drift b = λδ + hV/(2δ) ≥ √(2λhV), which shifts φ by b/η",
    "symbolic",
)
def vector() -> Outcome:
    """Prove the statement: tangent of the root, the drift, its smallest value, and the shifted fixed point of the
    recursion.
    """
    root, change = sp.Symbol("rho_delta", positive=True), sp.Symbol("change", real=True)
    b, excess = sp.Symbol("b", positive=True), noise.drift_excess()
    best = sp.sqrt(STEP * MOMENT / (2 * DECAY))
    smooth = sp.sqrt(RHO**2 + SMOOTHING**2)
    # (ηθρ − λρ²)/ρ_δ + hV/(2ρ_δ) against ηθ − λρ_δ + b, in three parts, each ≥ 0.
    slack = COUPLING * THETA * (1 - RHO / smooth) + DECAY * SMOOTHING * (1 - SMOOTHING / smooth)
    slack += STEP * MOMENT / 2 * (1 / SMOOTHING - 1 / smooth)
    left = (COUPLING * THETA * RHO - DECAY * RHO**2 + STEP * MOMENT / 2) / smooth
    right = COUPLING * THETA - DECAY * smooth + excess
    ratios = {RATIO: DECAY / COUPLING, SADDLE_RHO: COST / COUPLING}
    share, mu = noise.weight_share().subs(ratios), noise.normal_rate().subs(ratios)
    zero = {
        # tangent² − root² = (change/(2ρ_δ))² ≥ 0
        "the root lies below its tangent": (root + change / (2 * root)) ** 2
        - (root**2 + change)
        - (change / (2 * root)) ** 2,
        "drift of ρ_δ": right - left - slack,
        "δ is stationary": sp.diff(excess, SMOOTHING).subs(SMOOTHING, best),
        "smallest excess": excess.subs(SMOOTHING, best) - sp.sqrt(2 * DECAY * STEP * MOMENT),
        "b/η turns φ' = μ₊φ + |s|b into pure growth": share * b - mu * b / COUPLING,
    }
    return _algebra(zero, {"the excess is convex in δ": sp.diff(excess, SMOOTHING, 2)})


def _algebra(zero: dict[str, sp.Expr], positive: dict[str, sp.Expr]) -> Outcome:
    for name, expression in zero.items():
        remainder = sp.simplify(sp.expand(expression))
        if remainder != 0:
            return refuted(name, {"remainder": str(remainder)})
    for name, expression in positive.items():
        if not sp.simplify(expression).is_positive:
            return refuted(name, {"not positive": str(expression)})
    return proved()


@dataclass(frozen=True)
class Setting:
    """One Monte Carlo experiment: a gate, its start, the step and the noise.

    `kind` draws the noise: "normal", "signs" (±σ, the extreme sub-Gaussian) or "uniform" on [−√3σ, √3σ] (variance
    σ²; sub-Gaussian with scale σ, since its even moments are below the normal's). `dimension` 0 is one weight with
    a sign under D = −ηw; otherwise w is a vector under D = −η‖w‖ with noise uniform on a sphere of radius
    σ_ρ√dimension, which is σ_ρ-sub-Gaussian along every direction, and `moment` bounds ‖U‖². The noises on the weight
    and on the gate are independent, or one and the same if `dependent`.
    """

    gate: LinearGate
    rho: float
    theta: float
    step: float
    sigma_rho: float
    sigma_theta: float
    kind: str = "normal"
    dimension: int = 0
    moment: float | None = None
    dependent: bool = False

    def bound(self, bound: Bound = escape_probability) -> float:
        """Return the bound on the escape probability."""
        noises = {"sigma_rho": self.sigma_rho, "sigma_theta": self.sigma_theta}
        options = {"step": self.step, "update_moment": self.moment, "independent": not self.dependent}
        return float(bound(self.gate, self.rho, self.theta, **options, **noises))


@dataclass(frozen=True)
class Trial:
    """What became of the simulated paths: `open` ones had neither escaped nor died when the steps ran out."""

    escaped: int
    died: int
    open: int


def simulate(
    setting: Setting, paths: int, rng: np.random.Generator, *, steps: int = 20_000, absorb: bool = True
) -> Trial:
    """Run the projected recursion of (w, θ), each path until φ ≥ 0 (escaped) or θ ≤ 0 (died).

    Escape is looked at first, with θ before it is clipped at 0, as in the theorem. With `absorb=False` a path
    goes on from θ = 0 and only escapes or stays open.
    """
    decay, coupling, cost, rate = (float(setting.gate.parameters[k]) for k in ("decay", "coupling", "cost", "rate"))
    ratios = {RATIO: decay / coupling, SADDLE_RHO: cost / coupling, RATE: rate}
    level = float(scaled_margin().subs({**ratios, RHO: 0, THETA: 0}))
    share = float(noise.weight_share().subs(ratios))
    h = setting.step
    rho, theta = np.full(paths, setting.rho), np.full(paths, setting.theta)
    escaped = died = 0
    for _ in range(steps):
        if not len(theta):
            break
        pull = np.where(rho > 0, coupling * theta, 0.0) if setting.dimension else coupling * theta
        along, across, kick_theta = _kicks(setting, len(theta), rng)
        moved = rho + h * (pull - decay * rho + along)
        theta = np.minimum(theta + h * rate * (coupling * rho - cost + kick_theta), 1.0)
        rho = np.hypot(moved, h * across) if setting.dimension else moved
        out = theta + share * rho + level >= 0
        dead = ~out & (theta <= 0) & absorb
        escaped, died = escaped + int(out.sum()), died + int(dead.sum())
        rho, theta = rho[~(out | dead)], np.maximum(theta[~(out | dead)], 0.0)
    return Trial(escaped, died, len(theta))


def _kicks(setting: Setting, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | float, np.ndarray]:
    """Return the noise on the weights along w, the size of what is across it, and the noise on the gate.

    The noise of a vector is uniform on a sphere, and the rest is symmetric about w: so w's norm is a Markov chain of
    its own, in which one coordinate of the sphere is all that is drawn, whatever the dimension.
    """
    draw: dict[str, Callable[[int], np.ndarray]] = {
        "normal": rng.standard_normal,
        "signs": lambda count: rng.integers(0, 2, count) * 2.0 - 1.0,
        "uniform": lambda count: rng.uniform(-(3**0.5), 3**0.5, count),
    }
    shared = draw[setting.kind](n)
    kick_theta = setting.sigma_theta * shared
    if not setting.dimension:
        return setting.sigma_rho * (shared if setting.dependent else draw[setting.kind](n)), 0.0, kick_theta
    first = rng.standard_normal(n)
    rest = rng.chisquare(setting.dimension - 1, n)
    radius = setting.sigma_rho * setting.dimension**0.5
    length = np.sqrt(first**2 + rest)
    return radius * first / length, radius * np.sqrt(rest) / length, kick_theta


def settings(count: int, rng: np.random.Generator) -> Iterator[Setting]:
    """Return random gates, starts and steps, with noise such that the bound lies between 0.02 and 0.9."""
    for i in range(count):
        gate, rho, theta = _certified_start(rng)
        h = float(10 ** rng.uniform(-2, -0.3) / gate.eigenvalues[-1])
        share = rng.uniform(0.05, 0.95)
        target = np.linspace(0.02, 0.9, count)[i]
        # The exponent is inverse to the square of the noise.
        dependent = i % 2 == 1
        sizes = {"sigma_rho": share, "sigma_theta": 1 - share}
        exponent = float(noise.escape_exponent(gate, rho, theta, step=h, independent=not dependent, **sizes))
        scale = float(np.sqrt(exponent / -np.log(target)))
        kind = ("normal", "signs", "uniform")[i % 3]
        yield Setting(gate, rho, theta, h, share * scale, (1 - share) * scale, kind, dependent=dependent)


def vector_settings(count: int, rng: np.random.Generator) -> Iterator[Setting]:
    """Return random cases for vector weights, where the bound is not vacuous only if the step is small."""
    found = 0
    while found < count:
        gate, rho, theta = _certified_start(rng)
        h = float(10 ** rng.uniform(-3, -1) / gate.eigenvalues[-1])
        d = int(rng.integers(2, 30))
        sigma_rho, sigma_theta = (float(10 ** rng.uniform(-1, 1)) * v for v in (theta, rho))
        # Inside the region ρ is below the separatrix's foot; ‖U‖ ≤ max(ηθ, λρ) + radius of the sphere.
        share = float(noise.weight_share().subs({RATIO: _ratio(gate), RATE: float(gate.parameters["rate"])}))
        foot = float(gate.saddle[0]) + float(gate.saddle[1]) / share
        drift = max(float(gate.coupling), float(gate.parameters["decay"]) * foot)
        setting = Setting(gate, rho, theta, h, sigma_rho, sigma_theta, "normal", d, (drift + sigma_rho * d**0.5) ** 2)
        if 0.02 < setting.bound() < 0.9:
            found += 1
            yield setting


def outward_settings(count: int, rng: np.random.Generator) -> Iterator[Setting]:
    """Return cases in which noise across w pushes ‖w‖ outward, over the line, while there is hardly any along w.

    The push hV/(2ρ) moves the saddle down to about θ*(1 − ε²), with ε = √(hV/(2λ))/ρ*. The start lies between this and
    the line; without the correction the bound is below 1 %, and wrong.
    """
    found = 0
    while found < count:
        gate, _, _ = _certified_start(rng)
        decay, saddle_rho, saddle_theta = float(gate.parameters["decay"]), *map(float, gate.saddle)
        h, epsilon, d = float(10 ** rng.uniform(-2.3, -1.7) / gate.eigenvalues[-1]), rng.uniform(0.5, 0.9), 100_000
        moment = 2 * decay * (epsilon * saddle_rho) ** 2 / h
        share = float(noise.weight_share().subs({RATIO: _ratio(gate), RATE: float(gate.parameters["rate"])}))
        drift = max(float(gate.coupling), decay * (saddle_rho + saddle_theta / share))
        theta = saddle_theta * (1 - 0.5 * epsilon**2)
        radius = moment**0.5 - drift
        if radius < 0.8 * moment**0.5 or theta < 0.05:
            continue
        setting = Setting(gate, saddle_rho, theta, h, radius / d**0.5, 1e-3 * theta, "normal", d, moment)
        if replace(setting, moment=None).bound() < 0.01:
            found += 1
            yield setting


def _ratio(gate: LinearGate) -> float:
    return float(gate.parameters["decay"]) / float(gate.coupling)


def _certified_start(rng: np.random.Generator) -> tuple[LinearGate, float, float]:
    """Return a gate with its saddle in the strip and a certified state, not within a percent of the separatrix."""
    while True:
        decay, coupling, cost, rate = (float(x) for x in 10 ** rng.uniform([-1.5, -0.5, -1, -1], [0.5, 1, 0.5, 1]))
        gate = LinearGate(decay=decay, coupling=coupling, cost=cost, rate=rate)
        rho, theta = rng.uniform(0, 2) * float(gate.saddle[0]), rng.uniform(0, 1)
        if float(gate.saddle[1]) < 0.9 and float(gate.margin(rho, theta)) < -0.01 and theta > 0.02:
            return gate, float(rho), float(theta)


def compare(cases: list[Setting], paths: int, seed: int, bound: Bound = escape_probability) -> Outcome:
    """Compare observed escapes with the bound, setting by setting.

    Refuted if for any setting the one-sided Clopper–Pearson lower limit, at level LEVEL / number of settings,
    lies above the bound: a sound bound meets that with probability at most LEVEL.
    """
    rng = np.random.default_rng(seed)
    ratios, slack = [], []
    for case in cases:
        trial, limit = simulate(case, paths, rng), case.bound(bound)
        if trial.open:
            return undecided(f"{trial.open} of {paths} paths were still under way", cases=len(cases))
        k, level = trial.escaped, LEVEL / len(cases)
        low = float(stats.beta.ppf(level, k, paths - k + 1)) if k else 0.0
        if low > limit:
            witness = {
                "bound": limit,
                "observed": k / paths,
                "at least": low,
                "paths": paths,
                "setting": repr(case),
            }
            return refuted("observed frequency above the bound", witness, margin=limit - low)
        slack.append(limit - low)
        ratios.append(limit / max(k / paths, 1 / paths))
    scope = (
        f"{len(cases)} random settings, {paths} paths each, level {LEVEL} for all together; bound over observed "
        f"frequency: median {np.median(ratios):.1f}, from {min(ratios):.1f} to {max(ratios):.1f}"
    )
    return held(scope, cases=len(cases), margin=min(slack))


@claim(
    "noise-bound",
    "the frequency of escapes of (w, θ) under SGD is never above the escape bound, for independent noises or dependent",
    "Monte Carlo",
)
def bound_holds() -> Outcome:
    """Test the statement: one weight with a sign, D = −ηw; normal, two-point and uniform noise."""
    return compare(list(settings(30, np.random.default_rng(11))), paths=20_000, seed=12)


def vectors_check(bound: Bound = escape_probability, paths: int = 2_500) -> Outcome:
    """Compare the bound with vectors: where it is not vacuous, and where noise alone carries ‖w‖ over the line."""
    cases = [*vector_settings(10, np.random.default_rng(13)), *outward_settings(5, np.random.default_rng(15))]
    return compare(cases, paths=paths, seed=14, bound=bound)


@claim(
    "noise-bound-vector",
    "the same for vector weights under D = −η‖w‖, with the bound corrected by the update's second moment; without the "
    "correction it would be refuted",
    "Monte Carlo",
)
def vector_bound_holds() -> Outcome:
    """Test the statement: noise uniform on a sphere; and that the same trials tell a bound without the correction."""
    uncorrected = vectors_check(without_correction)
    if not uncorrected.witness:
        return undecided("the trials do not tell the correction from none")
    return vectors_check()


def without_correction(*state: Any, update_moment: Any, **options: Any) -> np.ndarray:
    """Return the bound as if noise did not push the norm outward."""
    return escape_probability(*state, **options)


CLAIMS: tuple[Claim, ...] = (supermartingale, vector, bound_holds, vector_bound_holds)
