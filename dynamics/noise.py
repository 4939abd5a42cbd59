"""A bound for SGD on the probability that noise carries a certified gate out of its region (claims `noise-*`).

The certificate of a linear gate speaks of an ODE. Training takes steps of size h with noisy gradients:

    ρ_{k+1} ≤ ρ_k + h(ηθ_k − λρ_k) + h·ε_ρ,      θ_{k+1} ≤ θ_k + h·r(ηρ_k − κ + ε_θ),  clipped to [0, 1].

**Theorem.** Let φ₀ < 0 and a = 1 + hμ₊. Then

    P(φ ≥ 0 at some step up to the first at which θ would be ≤ 0)  ≤  exp(−φ₀²(a² − 1) / (2h²σ²)),

with σ² = r²σ_θ² + s²σ_ρ². If only K steps are taken, σ² may be multiplied by 1 − a^{−2K}.

**Assumptions.**

1. The constants hold: η bounds the pull (D ≥ −ηρ, as for the certificate) and κ does not fall below its value.
2. Given the past, ε_ρ and ε_θ have mean zero, are σ_ρ- and σ_θ-sub-Gaussian (E exp(tε) ≤ exp(t²σ²/2) for all
   t) and independent of one another. If they may depend on one another, take σ = rσ_θ + |s|σ_ρ instead
   (`independent=False`). Nothing is assumed about different steps beyond "given the past".
3. ρ obeys the first inequality. It does where the branch has one weight with a sign and D = −ηw (then ρ stands
   for w), or where w is a vector, D is linear in it and ρ stands for its component along the pull. For the norm
   of a vector it does not, because noise also pushes ‖w‖ outward: use `update_moment`, see below.
4. The gate is removed, or no longer looked at, from the first step at which θ would be ≤ 0.

**Proof.** (1, −s) is a left eigenvector of the linear system with eigenvalue μ₊, and both entries are positive,
so the inequalities give φ_{k+1} ≤ aφ_k + hζ_k with ζ = rε_θ − sε_ρ, which is σ-sub-Gaussian given the past. The
clip at θ = 1 lowers θ and thus φ. The clip at θ = 0 raises it, but happens no earlier than the end. Divide by
a^{k+1}: M_k = φ_k/a^k satisfies M_{k+1} ≤ M_k + hζ_k/a^{k+1}, and for every c > 0

    Z_k = exp(c(M_k − φ₀) − ½c²h²σ²·Σ_{j≤k} a^{−2j})

is a nonnegative supermartingale with Z_0 = 1. The sum is (1 − a^{−2K})/(a² − 1) up to K and 1/(a² − 1) in all.
If φ_k ≥ 0 then Z_k ≥ exp(c|φ₀| − ½c²h²σ²/(a² − 1)); by Ville's inequality this ever happens with probability at
most the inverse. c = |φ₀|(a² − 1)/(h²σ²) makes that smallest and gives the theorem. ∎
(claim `noise-supermartingale`)

**Steps that shrink.** With steps h_j ≤ h known beforehand and r unchanged, as under one learning-rate schedule for
weights and gates, the same bound holds. With a_j = 1 + h_jμ₊
and M_k = φ_k/(a_1…a_k), the sum in Z becomes Σ h_j²/(a_1…a_j)². Its terms are h_j²/(a_j² − 1), which grows with h_j and
so is at most h²/(a² − 1), times (a_j² − 1)/(a_1…a_j)² = 1/(a_1…a_{j−1})² − 1/(a_1…a_j)², which sum to 1 − 1/(a_1…a_K)²
≤ 1 − a^{−2K}. ∎

**After the face is reached** nothing like it can hold for ever: if the noise has unbounded support, it lifts θ
off the face again and again, and every excursion has a chance, however small, to escape. What the same proof
gives, started afresh at each visit: for a gate that stays in training, P(φ ≥ 0 within K steps) ≤ B(φ₀) +
Σ_{k≤K} E[B(φ_k); θ_k = 0], where B is the bound above (1 if φ_k ≥ 0). So the price of not removing a gate grows
with the time that it spends at zero, and is small while its weights are: φ = −θ* − |s|(ρ* − ρ) there.

**Vector weights.** Let w_{k+1} = w_k + hU_k with ⟨E U, w⟩ ≤ θηρ − λρ² (from the certificate's
second condition ⟨∇D, w⟩ ≥ −ηρ), ⟨U − E U, w/ρ⟩ σ_ρ-sub-Gaussian, and ‖U‖² ≤ V. For every δ > 0, since the root
lies below its tangent, ρ_δ = √(ρ² + δ²) satisfies

    ρ_δ,k+1 ≤ ρ_δ + h⟨w, U⟩/ρ_δ + h²‖U‖²/(2ρ_δ) ≤ ρ_δ + h(ηθ − λρ_δ + b) + h·ε_ρ,      b = λδ + hV/(2δ),

smallest at δ = √(hV/(2λ)), where b = √(2λhV). The extra drift b moves the saddle down to θ* − b/η, so the
theorem holds with φ(ρ_δ, θ) + b/η in place of φ(ρ, θ). ∎ (claim `noise-vector`). If V bounds only E‖U‖² the drift
inequality still holds in the mean, but h(‖U‖² − E‖U‖²)/(2ρ_δ) joins the noise, and σ_ρ must bound the sum of
both; that it does is then an assumption, not something proved here.
"""

from __future__ import annotations

from math import inf

import numpy as np
import sympy as sp

from dynamics.gates.linear import RATIO, RHO, SADDLE_RHO, LinearGate, scaled_margin
from dynamics.gates.ode import COUPLING, DECAY, RATE, THETA
from dynamics.numeric import Array, Operands, compile_expressions, operands, require

__all__ = [
    "dependent_noise",
    "deviations",
    "drift_excess",
    "escape_exponent",
    "escape_probability",
    "exponent_from_margin",
    "gate_noise",
    "normal_rate",
    "weight_share",
]

MARGIN = sp.Symbol("margin", real=True)  # φ₀
STEP = sp.Symbol("step", positive=True)  # h
NOISE = sp.Symbol("noise", positive=True)  # σ, scale of the noise on φ
UNSTABLE = sp.Symbol("unstable_rate", positive=True)  # μ₊
STEPS = sp.Symbol("steps", positive=True)  # K
SIGMA_RHO = sp.Symbol("sigma_rho", nonnegative=True)
SIGMA_THETA = sp.Symbol("sigma_theta", nonnegative=True)
MOMENT = sp.Symbol("update_moment", positive=True)  # V ≥ ‖U‖²
SMOOTHING = sp.Symbol("smoothing", positive=True)  # δ


def deviations() -> sp.Expr:
    """Return z such that the bound is exp(−z²/2): |φ₀| in standard deviations of the whole discounted noise.

    The exponent's root and not the exponent, because squares of φ₀/σ over- and underflow first.
    """
    return -MARGIN / NOISE * sp.sqrt(UNSTABLE * (2 + STEP * UNSTABLE) / STEP)


def weight_share() -> sp.Expr:
    """Return −s = ∂φ/∂ρ > 0, the share that noise on the weights has in noise on φ."""
    return sp.diff(scaled_margin(), RHO)


def normal_rate() -> sp.Expr:
    """Return μ₊ = −ηs, the growth rate of φ (the claim `noise-supermartingale` derives it)."""
    return COUPLING * weight_share()


def gate_noise() -> sp.Expr:
    """Return σ = √(r²σ_θ² + s²σ_ρ²)."""
    return sp.sqrt((RATE * SIGMA_THETA) ** 2 + (weight_share() * SIGMA_RHO) ** 2)


def dependent_noise() -> sp.Expr:
    """Return σ = rσ_θ + |s|σ_ρ, for noises that may depend on one another."""
    return RATE * SIGMA_THETA + weight_share() * SIGMA_RHO


def drift_excess() -> sp.Expr:
    """Return b = λδ + hV/(2δ), by which noise pushes √(‖w‖² + δ²) outward, per unit of time."""
    return DECAY * SMOOTHING + STEP * MOMENT / (2 * SMOOTHING)


_deviations = compile_expressions([MARGIN, NOISE, UNSTABLE, STEP], [deviations()])
_gate = compile_expressions(
    [RHO, THETA, RATIO, SADDLE_RHO, RATE, COUPLING, SIGMA_RHO, SIGMA_THETA],
    [scaled_margin(), normal_rate(), gate_noise(), dependent_noise()],
)
_excess = compile_expressions([DECAY, SMOOTHING, STEP, MOMENT], [drift_excess()])


def exponent_from_margin(
    margin: Array, *, unstable_rate: Array, step: Array, noise: Array, steps: Array = inf
) -> Array:
    """Return x such that P(φ reaches 0 before θ does) ≤ exp(−x), from φ₀ and the constants of its recursion.

    Args:
        margin: φ₀, any number or ±∞. It must be φ itself, not a distance that was cut off elsewhere.
        unstable_rate: μ₊ ≥ 0.
        step: h > 0, the weights' effective step, lr / (1 − momentum).
        noise: σ ≥ 0, sub-Gaussian scale of the noise on φ, per unit of step (one step adds h·ζ).
        steps: K ≥ 1, how many steps are taken; ∞ for ever.

    Returns:
        0 where φ₀ ≥ 0 (no bound), ∞ where escape is impossible (σ = 0, or no separatrix).

    Raises:
        ValueError: for a value outside these ranges, NaN, or shapes that do not broadcast.

    Example:
        >>> round(float(exponent_from_margin(-0.1, unstable_rate=1.0, step=0.01, noise=0.5)), 3)
        4.02
    """
    parameters = {STEP.name: step, NOISE.name: noise, UNSTABLE.name: unstable_rate, STEPS.name: steps}
    given = operands({MARGIN.name: margin}, parameters)
    require(MARGIN.name, given[MARGIN.name], given, "a number", lambda v, xp: ~xp.isnan(v))
    for name in (STEP.name, NOISE.name, UNSTABLE.name):
        require(name, given[name], given, "finite and ≥ 0", lambda v, xp: xp.isfinite(v) & (v >= 0))
    require(STEP.name, given[STEP.name], given, "> 0", lambda v, xp: v > 0)
    require(STEPS.name, given[STEPS.name], given, "at least 1", lambda v, xp: v >= 1)
    return _exponent(given)


def escape_exponent(
    gate: LinearGate,
    rho: Array,
    theta: Array,
    *,
    step: Array,
    sigma_rho: Array,
    sigma_theta: Array,
    steps: Array = inf,
    update_moment: Array | None = None,
    smoothing: Array | None = None,
    independent: bool = True,
) -> Array:
    """Return −log of `escape_probability`, for where the probability itself underflows. Same arguments."""
    if not isinstance(gate, LinearGate):
        raise ValueError(f"gate must be a LinearGate, the system of the bound; got {type(gate).__name__}")
    gate.checked_state(rho, theta)  # checks the state
    noises = {STEP.name: step, SIGMA_RHO.name: sigma_rho, SIGMA_THETA.name: sigma_theta, STEPS.name: steps}
    if smoothing is not None and update_moment is None:
        raise ValueError("smoothing needs update_moment: without it no norm of a vector is smoothed")
    moment = {} if update_moment is None else {MOMENT.name: update_moment}
    given = operands({RHO.name: rho, THETA.name: theta}, {**gate.parameters, **noises, **moment})
    for name in (STEP.name, SIGMA_RHO.name, SIGMA_THETA.name, *moment):
        require(name, given[name], given, "finite and ≥ 0", lambda v, xp: xp.isfinite(v) & (v >= 0))
    require(STEP.name, given[STEP.name], given, "> 0", lambda v, xp: v > 0)
    require(STEPS.name, given[STEPS.name], given, "at least 1", lambda v, xp: v >= 1)

    xp, eta, cost = given.xp, given[COUPLING.name], given["cost"]
    pulled = eta > 0
    safe = xp.where(pulled, eta, xp.ones_like(eta))
    given.values |= {RATIO.name: given[DECAY.name] / safe, SADDLE_RHO.name: cost / safe}
    shift = _smooth(given, safe, smoothing) if moment else 0.0
    phi, unstable, independent_noise, any_noise = _gate(given)
    phi = phi + shift
    phi = xp.where(xp.isnan(phi), xp.full_like(phi, inf), phi)  # ∞ − ∞ of a vanishing decay: no bound
    unpulled = xp.where(cost > 0, xp.full_like(phi, -inf), given[THETA.name])
    given.values |= {
        MARGIN.name: xp.where(pulled, phi, unpulled),
        UNSTABLE.name: unstable,
        NOISE.name: independent_noise if independent else any_noise,
    }
    return _exponent(given)


def escape_probability(
    gate: LinearGate,
    rho: Array,
    theta: Array,
    *,
    step: Array,
    sigma_rho: Array,
    sigma_theta: Array,
    steps: Array = inf,
    update_moment: Array | None = None,
    smoothing: Array | None = None,
    independent: bool = True,
) -> Array:
    """Bound on the probability that SGD carries a gate over its separatrix before θ reaches 0.

    What is proved, and under which assumptions, stands at the top of this module. Where the saddle lies above
    the strip (θ* > 1) the bound still speaks of the line φ = 0, not of the larger basin.

    Args:
        gate: the bounding linear gate, or an array of them.
        rho: ρ ≥ 0 now. With `update_moment` the norm of a vector; else a single weight or component.
        theta: θ in [0, 1] now.
        step: h > 0, the weights' effective step, lr / (1 − momentum).
        sigma_rho: σ_ρ ≥ 0, sub-Gaussian scale of the noise in the weights' gradient (along w).
        sigma_theta: σ_θ ≥ 0, the same for the gate's gradient, before the factor r.
        steps: K ≥ 1, how many steps are taken; ∞ for ever.
        update_moment: V ≥ 0 with ‖U‖² ≤ V, where h·U is the weights' step; None for a single weight.
        smoothing: δ > 0, with `update_moment`; any value gives a bound. Default √(hV/(2λ)), which is infinite,
            and the bound 1, for λ = 0.
        independent: whether the two noises are independent of one another given the past.

    Returns:
        A probability in [0, 1]: 1 where the gate is not certified.

    Raises:
        ValueError: for a value outside these ranges, NaN, another kind of gate, or shapes that do not broadcast.

    Example:
        >>> gate = LinearGate(decay=1.0, coupling=2.0, cost=1.0, rate=1.0)
        >>> noise = {"sigma_rho": 1.0, "sigma_theta": 1.0}
        >>> p = [escape_probability(gate, 0.3, 0.2, step=h, **noise) for h in (0.1, 0.03, 0.01)]
        >>> [round(float(x), 4) for x in p]
        [0.6411, 0.245, 0.0157]
    """
    exponent = escape_exponent(
        gate,
        rho,
        theta,
        step=step,
        sigma_rho=sigma_rho,
        sigma_theta=sigma_theta,
        steps=steps,
        update_moment=update_moment,
        smoothing=smoothing,
        independent=independent,
    )
    with np.errstate(under="ignore"):
        return (-exponent).exp() if hasattr(exponent, "exp") else np.exp(-exponent)


def _exponent(given: Operands) -> Array:
    """Return z²/2, with the cases that the smooth expression leaves out; arguments already checked."""
    xp, margin, noise, steps = given.xp, given[MARGIN.name], given[NOISE.name], given[STEPS.name]
    (z,) = _deviations(given)
    with np.errstate(all="ignore"):
        per_step = given[STEP.name] * given[UNSTABLE.name]
        # 1 − a^{−2K}; without growth the discounted sum of the variance is K itself.
        exponent = z * z / 2 / -xp.expm1(-2 * steps * xp.log1p(per_step))
        walk = margin / (given[STEP.name] * noise)
        walk = xp.where(xp.isfinite(steps), walk * walk / 2 / steps, xp.zeros_like(walk))
    exponent = xp.where(per_step > 0, exponent, walk)
    exponent = xp.where(xp.isfinite(per_step), exponent, xp.zeros_like(exponent))  # an overflow promises nothing
    exponent = xp.where((noise == 0) | (margin == -inf), xp.full_like(exponent, inf), exponent)
    return xp.where(margin < 0, exponent, xp.zeros_like(exponent))


def _smooth(given: Operands, coupling: Array, smoothing: Array | None) -> Array:
    """Put ρ_δ in the place of ρ and return b/η, the shift of the saddle."""
    xp, moment = given.xp, given[MOMENT.name]
    with np.errstate(all="ignore"):
        best = xp.sqrt(given[STEP.name] * moment / given[DECAY.name] / 2)
    best = xp.where(moment > 0, best, xp.zeros_like(best))  # 0/0 for V = λ = 0
    delta = best if smoothing is None else operands({SMOOTHING.name: smoothing}, given.values)[SMOOTHING.name]
    if smoothing is not None:
        require(SMOOTHING.name, delta, given, "finite and > 0", lambda v, xp: xp.isfinite(v) & (v > 0))
    given.values |= {SMOOTHING.name: delta, RHO.name: xp.hypot(given[RHO.name], delta)}
    (excess,) = _excess(given)
    with np.errstate(all="ignore"):
        return xp.where(delta > 0, excess, xp.zeros_like(excess)) / coupling
