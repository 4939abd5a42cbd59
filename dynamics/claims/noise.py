"""Claims about the escape bound: its proof step by step, and Monte Carlo of the two-dimensional recursion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import sympy as sp
from scipy import stats

from dynamics import noise
from dynamics.gates.linear import LINEAR, RATIO, RHO, SADDLE_RHO, LinearGate, scaled_margin, separatrix_slope
from dynamics.gates.ode import COST, COUPLING, DECAY, RATE, THETA
from dynamics.noise import MARGIN, MOMENT, NOISE, SMOOTHING, STEP, UNSTABLE, escape_probability
from dynamics.proofs.claim import Claim, Outcome, claim, held, proved, refuted, undecided

__all__ = ["CLAIMS", "Setting", "Trial", "compare", "settings", "simulate", "vector_settings"]

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
    σ_ρ√dimension, which is σ_ρ-sub-Gaussian along every direction, and `moment` bounds ‖U‖².
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

    def bound(self, bound: Bound = escape_probability) -> float:
        """Return the bound on the escape probability."""
        noises = {"sigma_rho": self.sigma_rho, "sigma_theta": self.sigma_theta}
        return float(bound(self.gate, self.rho, self.theta, step=self.step, update_moment=self.moment, **noises))


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
    h, d = setting.step, max(setting.dimension, 1)
    w = np.zeros((paths, d))
    w[:, 0] = setting.rho
    theta = np.full(paths, setting.theta)
    escaped = died = 0
    for _ in range(steps):
        if not len(theta):
            break
        rho = np.linalg.norm(w, axis=1) if setting.dimension else w[:, 0]
        pull = w / np.where(rho > 0, rho, 1.0)[:, None] if setting.dimension else np.ones_like(w)  # −∇D/η
        kick_w, kick_theta = _kicks(setting, len(theta), rng)
        w = w + h * (coupling * theta[:, None] * pull - decay * w + kick_w)
        theta = np.minimum(theta + h * rate * (coupling * rho - cost + kick_theta), 1.0)
        reached = np.linalg.norm(w, axis=1) if setting.dimension else w[:, 0]
        out = theta + share * reached + level >= 0
        dead = ~out & (theta <= 0) & absorb
        escaped, died = escaped + int(out.sum()), died + int(dead.sum())
        w, theta = w[~(out | dead)], np.maximum(theta[~(out | dead)], 0.0)
    return Trial(escaped, died, len(theta))


def _kicks(setting: Setting, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    draw: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
        "normal": rng.standard_normal,
        "signs": lambda shape: rng.integers(0, 2, shape) * 2.0 - 1.0,
        "uniform": lambda shape: rng.uniform(-(3**0.5), 3**0.5, shape),
    }
    kick_theta = setting.sigma_theta * draw[setting.kind]((n,))
    if not setting.dimension:
        return setting.sigma_rho * draw[setting.kind]((n, 1)), kick_theta
    direction = rng.standard_normal((n, setting.dimension))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return setting.sigma_rho * setting.dimension**0.5 * direction, kick_theta


def settings(count: int, rng: np.random.Generator) -> Iterator[Setting]:
    """Return random gates, starts and steps, with noise such that the bound lies between 0.02 and 0.9."""
    for i in range(count):
        gate, rho, theta = _certified_start(rng)
        h = float(10 ** rng.uniform(-2, -0.3) / gate.eigenvalues[-1])
        share = rng.uniform(0.05, 0.95)
        target = np.linspace(0.02, 0.9, count)[i]
        # The exponent is inverse to the square of the noise.
        exponent = float(noise.escape_exponent(gate, rho, theta, step=h, sigma_rho=share, sigma_theta=1 - share))
        scale = float(np.sqrt(exponent / -np.log(target)))
        kind = ("normal", "signs", "uniform")[i % 3]
        yield Setting(gate, rho, theta, h, share * scale, (1 - share) * scale, kind)


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


@claim("noise-bound", "the frequency of escapes of (w, θ) under SGD is never above the escape bound", "Monte Carlo")
def bound_holds() -> Outcome:
    """Test the statement: one weight with a sign, D = −ηw; normal, two-point and uniform noise."""
    return compare(list(settings(30, np.random.default_rng(11))), paths=20_000, seed=12)


@claim(
    "noise-bound-vector",
    "the same for vector weights under D = −η‖w‖, with the bound corrected by the update's second moment",
    "Monte Carlo",
)
def vector_bound_holds() -> Outcome:
    """Test the statement: noise uniform on a sphere."""
    return compare(list(vector_settings(10, np.random.default_rng(13))), paths=2_500, seed=14)


CLAIMS: tuple[Claim, ...] = (supermartingale, vector, bound_holds, vector_bound_holds)
