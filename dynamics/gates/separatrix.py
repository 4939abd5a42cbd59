"""The boundary of the basin of zero of a reduced gate system, by following the saddle's stable manifold.

In x = ln(z/z*) the manifold is the graph of a falling function θ_sep(x). Why it is one: left of the saddle, above
the nullcline θ_n = B/α, the flow has x' > 0 and θ' < 0, and it crosses the nullcline downwards and the line z = z*
to the right, so that this quadrant is never left backwards in time; the left half of the manifold starts in it.
The quadrant right of the saddle and below the nullcline is the mirror image. So θ_sep solves

    dθ/dx = r (f − κ) / (θα − B)

away from the saddle, where the right-hand side is 0/0 and a power series takes over. Backwards in time the
manifold attracts, so that errors made near the saddle fade along the curve.

The saddle need not lie in the strip 0 ≤ θ ≤ 1. Where θ* > 1, a state that slides along θ = 1 falls below z* and
returns, as long as it starts left of the first z₁ > z* with α(z₁) = B; from the point (z₁, 1), an unstable
equilibrium on the face, the boundary continues backwards in time to the right. Without such a z₁ the whole strip
is the basin.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np
import scipy  # its parts load when they are first used, half a second that not every command needs
from numpy.typing import NDArray

from dynamics.gates.reduced import GRID, ORDER, Reduced

__all__ = ["Branch", "Separatrix", "separatrix"]

Floats = NDArray[np.float64]

#: The curve is followed up to this height and down to this depth, in units of θ* and of the slope there. Where it
#: is a slow manifold, which costs many steps, only a little beyond the strip: its sign is all that counts there.
HIGHEST, LOWEST, BEYOND = 1e4, -1e12, 10.0


class Branch:
    """One half of the curve, θ(x) from a starting point outwards, integrated as far as it was asked for.

    Beyond the end that the integration reaches, values err to the safe side (too low): to the left the last
    value, as the curve falls; to the right the last value where that is below θ = 0, −∞ otherwise.

    Args:
        slope: dθ/dx as a function of (x, θ).
        start: (x, θ) to start from.
        sign: +1 to go to the right, −1 to the left.
        limit: the x at which to stop.
        scale: typical size of θ, for the absolute tolerance.
        stiff: start with the implicit method at once.
    """

    def __init__(
        self,
        slope: Callable[[float, float], float],
        start: tuple[float, float],
        sign: int,
        limit: float,
        scale: float,
        stiff: bool,
    ) -> None:
        self.slope, self.limit, self.scale = slope, limit, scale
        self.sign = float(sign)
        self.ends, self.last = [start[0]], start[1]
        self.pieces: list[Callable[[Floats], Floats]] = []
        self.alive = (limit - start[0]) * sign > 0
        self.stiff = stiff
        self.solver = self._solver() if self.alive else None

    def _solver(self) -> scipy.integrate.OdeSolver:
        method, rtol = (scipy.integrate.Radau, 1e-11) if self.stiff else (scipy.integrate.DOP853, 1e-12)
        return method(
            lambda x, y: [self.slope(x, float(y[0]))],
            self.ends[-1],
            [self.last],
            self.limit,
            first_step=min(0.01 if len(self.ends) > 1 else 1e-3, abs(self.limit - self.ends[-1])),
            rtol=rtol,
            atol=1e-14 * self.scale,
        )

    def reach(self, x: float) -> None:
        """Continue the curve up to x, or to where it ends."""
        while self.alive and (x - self.ends[-1]) * self.sign > 0:
            if len(self.pieces) == 500 and not self.stiff:  # tiny explicit steps: a slow manifold
                self.stiff = True
                self.solver = self._solver()
            assert self.solver is not None
            try:
                self.solver.step()
                height = float(self.solver.y[0])
            except (ArithmeticError, ValueError, np.linalg.LinAlgError):
                height = math.nan
            if self.solver.status == "failed" or not math.isfinite(height) or len(self.pieces) > 4000:
                self.alive = False
                return
            self.pieces.append(self.solver.dense_output())
            self.ends.append(float(self.solver.t))
            self.last = height
            self.alive = self.solver.status == "running" and self._wanted(height)

    def _wanted(self, height: float) -> bool:
        if self.stiff:
            return -BEYOND < height < BEYOND * (1 + self.scale)
        return LOWEST < height / self.scale < HIGHEST

    def __call__(self, x: Floats) -> Floats:
        """Return θ at every x on this branch's side."""
        if not x.size:
            return np.empty_like(x)
        outermost = float(x.max() if self.sign > 0 else x.min())
        self.reach(outermost)
        found = np.full_like(x, self.last if self.sign < 0 or self.last <= 0 else -np.inf)
        inside = (x - self.ends[-1]) * self.sign <= 0
        ends = np.asarray(self.ends) * self.sign
        which = np.clip(np.searchsorted(ends, x * self.sign, side="left") - 1, 0, max(len(self.pieces) - 1, 0))
        for index in np.unique(which[inside]) if self.pieces else ():
            here = inside & (which == index)
            found[here] = self.pieces[index](x[here])[0]
        return found


class Separatrix:
    """Where the certified region of one gate ends.

    Args:
        reduced: the system.
        values: a number for each of its parameters, and for decay, cost and rate.

    Attributes:
        log_size: ln z*; NaN where f does not reach κ (then nothing pulls), and where nothing is certified: κ = 0,
            an infinite coupling, f within rounding of κ, or without a slope where it reaches κ.
        theta: θ*.
        safe_everywhere: f stays below κ: θ falls at every state, and the whole strip is certified.
        log_limit: ln of the size up to which D is a valid bound (it and, for two weights, z f' do not fall).
        log_face: ln z₁ where the boundary starts on the face θ = 1, +∞ where the whole strip is certified.

    Raises:
        ValueError: if f falls before it reaches κ: then the system is not cooperative and comparison fails.
    """

    def __init__(self, reduced: Reduced, values: Mapping[str, float]) -> None:
        self.reduced = reduced
        self.own = [values[symbol.name] for symbol in reduced.parameters]
        self.cost, self.rate = values["cost"], values["rate"]
        self.log_size, self.theta, self.log_face = math.nan, math.nan, math.inf
        self.safe_everywhere = False
        self.log_limit = math.inf
        if self.cost > 0 and all(map(math.isfinite, self.own)):
            self.log_limit = self._find_limit()
            self._find_saddle()

    # -- where things are -------------------------------------------------------------------------------------

    def _find_limit(self) -> float:
        """Return ln z up to which everything that must rise does rise, on the grid."""
        with np.errstate(all="ignore"):
            pairs = [np.broadcast_to(v, GRID.shape) for v in self.reduced.rises(np.exp(GRID), *self.own)]
            falls = np.zeros(GRID.shape, dtype=bool)
            for value, rise in zip(pairs[::2], pairs[1::2], strict=True):
                rounding = 1e-12 * np.maximum.accumulate(np.abs(np.nan_to_num(value)))
                falls |= ~(rise >= -rounding)  # NaN counts as falling
        return (
            float(GRID[np.argmax(falls) - 1])
            if falls.any() and np.argmax(falls) > 0
            else (-math.inf if falls.any() else math.inf)
        )

    def _find_saddle(self) -> None:
        with np.errstate(all="ignore"):
            pull, growth = (np.broadcast_to(v, GRID.shape) for v in self.reduced.on_grid(np.exp(GRID), *self.own))
        above = pull >= self.cost
        first = int(np.argmax(above))
        if not above.any() and not np.isnan(pull).any():
            # θ' ≤ r(max f − κ) < 0 at every state: no comparison is needed. Within rounding of κ: undecided.
            self.safe_everywhere = bool(pull.max() < self.cost * (1 - 1e-9))
            self.log_limit = math.inf
            return
        if not above.any() or GRID[first] > self.log_limit + 0.1:
            raise ValueError(
                "difference must not rise with the weights until it reaches -cost (nor, of two weights, P D'(P) "
                f"with their product P), or comparison fails; it rises from size {math.exp(self.log_limit):.6g} on"
            )
        if first == 0:  # κ is reached below 1e-300: undecided, so not certified
            return
        at = self._root(lambda x: self._point(x)[0] - self.cost, GRID[first - 1], GRID[first])
        _, alpha, shrink = self._point(at)
        if not self.reduced.series(math.exp(at), *self.own)[0] > 1e-9 * self.cost:
            return
        self.log_size, self.shrink, self.theta = at, shrink, shrink / alpha
        if self.theta > 1:
            beyond = np.flatnonzero(~(growth < shrink) & (at < GRID))
            if beyond.size:  # NaN counts as reached, one grid step early
                left, right = max(GRID[beyond[0] - 1], at), GRID[beyond[0]]
                if math.isnan(growth[beyond[0]]):
                    self.log_face = float(left)
                else:
                    self.log_face = self._root(lambda x: self._point(x)[1] - shrink, left, right)

    def _root(self, function: Callable[[float], float], low: float, high: float) -> float:
        if function(low) >= 0:
            return float(low)
        return float(scipy.optimize.brentq(function, low, high, xtol=1e-15, rtol=1e-15, maxiter=200))

    def _point(self, log_size: float) -> tuple[float, float, float]:
        """Return (f, α, B) at one size; NaN where they are not defined."""
        try:
            pull, growth, shrink = self.reduced.at_point(math.exp(log_size), *self.own)
            return float(pull), float(growth), float(shrink)
        except (ArithmeticError, ValueError, TypeError):
            return math.nan, math.nan, math.nan

    # -- the curve --------------------------------------------------------------------------------------------

    def slope(self, x: float, theta: float) -> float:
        """Return dθ/dx along the flow, x = ln(z/z*)."""
        pull, growth, shrink = self._point(self.log_size + x)
        speed = theta * growth - shrink
        return self.rate * (pull - self.cost) / speed if speed != 0 else math.nan

    @functools.cached_property
    def _expansion(self) -> tuple[Floats, float]:
        """Return (s, stiffness): θ_sep = Σ s_k x^k at the saddle, from (θα − B) dθ/dx = r(f − κ) order by order.

        The stiffness is μ_u/|μ_s|, how fast the other direction contracts when the manifold is followed backwards.
        """
        given = self.reduced.series(math.exp(self.log_size), *self.own)
        f, alpha = [0.0, *map(float, given[:ORDER])], [float(v) for v in given[ORDER:]]
        # Order one: α₀ s₁² + θ*α₁ s₁ − r f₁ = 0, stable along the falling root; no cancelling difference.
        b = self.theta * alpha[1]
        root = math.hypot(b, 2 * math.sqrt(alpha[0] * self.rate * f[1]))
        s = [self.theta, -2 * self.rate * f[1] / (root - b) if b <= 0 else -(b + root) / (2 * alpha[0])]
        speed = [0.0, self.rate * f[1] / s[1]]  # of θα − B; the first is μ_s = s₁α₀ + b
        for k in range(2, ORDER + 1):
            known = sum(s[j] * alpha[k - j] for j in range(k))  # speed_k without its s_k α₀
            rest = self.rate * f[k] - known * s[1] - sum(speed[j] * (k + 1 - j) * s[k + 1 - j] for j in range(2, k))
            s.append(rest / (k * speed[1] + alpha[0] * s[1]))
            speed.append(known + s[k] * alpha[0])
        return np.array(s), s[1] * alpha[0] / speed[1]

    @functools.cached_property
    def _radius(self) -> float:
        """Return |x| up to which the series is used: its last two terms are at rounding there."""
        sizes = np.abs(self._expansion[0])
        radii = [(1e-14 * sizes[1] / sizes[k]) ** (1 / (k - 1)) for k in (ORDER - 1, ORDER) if sizes[k] > 0]
        return float(np.clip(min(radii, default=0.1), 1e-4, 0.1))

    def _branch(self, sign: int) -> Branch:
        """Return the curve to the left (−1) or to the right (+1) of the series."""
        series, stiffness = self._expansion
        start = sign * self._radius
        end = min(self.log_limit, float(GRID[-1])) if sign > 0 else self._smallest
        limit = sign * max(sign * (end - self.log_size), self._radius)
        height = float(np.polyval(series[::-1], start))
        return Branch(self.slope, (start, height), sign, limit, abs(series[0]) + abs(series[1]), stiffness > 30)

    @functools.cached_property
    def _left(self) -> Branch:
        return self._branch(-1)

    @functools.cached_property
    def _right(self) -> Branch:
        return self._branch(+1)

    @property
    def _smallest(self) -> float:
        """Return the ln of the smallest size to follow the curve to: beyond floating point where α(0) is a number."""
        try:
            return -1500.0 if math.isfinite(self.reduced.at_point(0.0, *self.own)[1]) else float(GRID[0])
        except (ArithmeticError, ValueError, TypeError):
            return float(GRID[0])

    def height(self, log_size: Floats) -> Floats:
        """Return θ_sep through the saddle, not cut at 0 or 1. Sizes may be zero (ln z = −∞)."""
        x = np.asarray(log_size, dtype=np.float64) - self.log_size
        near = np.clip(x, -self._radius, self._radius)
        found: Floats = np.polyval(self._expansion[0][::-1], near).astype(np.float64)
        for side, branch in ((x < -self._radius, self._left), (x > self._radius, self._right)):
            found[side] = branch(x[side])
        if self.reduced.stays_at_zero:
            found[np.isneginf(x)] = np.inf
        return found

    @functools.cached_property
    def _face(self) -> Branch:
        """Return x(θ) from the equilibrium (z₁, 1) on the face, downwards: there the curve is vertical in x."""

        def inverse(theta: float, x: float) -> float:
            pull, growth, shrink = self._point(self.log_size + x)
            return (theta * growth - shrink) / (self.rate * (pull - self.cost))

        return Branch(inverse, (1.0, self.log_face - self.log_size), -1, -1e6, 1.0, stiff=False)

    def face_height(self, log_size: Floats) -> Floats:
        """Return θ_sep right of z₁, for a boundary that starts on the face θ = 1."""
        x = np.asarray(log_size, dtype=np.float64) - self.log_size
        face, deepest = self._face, -1.0
        while face.alive and face.last < x.max(initial=-np.inf):
            face.reach(deepest)
            deepest *= 2
        lowest = face.ends[-1]
        low, high = np.full_like(x, lowest), np.ones_like(x)
        for _ in range(60):  # x falls as θ rises
            middle = (low + high) / 2
            right = face(middle) >= x
            low, high = np.where(right, middle, low), np.where(right, high, middle)
        return np.where(x > face.last, lowest if lowest <= 0 else -np.inf, low)

    def margin(self, log_size: Floats, theta: Floats) -> Floats:
        """Return θ − θ_sep with the cases above and outside the strip; negative = certified.

        Args:
            log_size: ln z of each state, −∞ for zero weights.
            theta: θ of each state, same shape.
        """
        if math.isnan(self.log_size):
            found = np.full_like(theta, -np.inf if self.safe_everywhere else np.inf)
        elif self.theta <= 1:
            found = theta - self.height(log_size)
        elif math.isinf(self.log_face):
            found = np.minimum(theta - self.height(log_size), 1 - self.theta)
        else:
            found = self._margin_from_face(log_size, theta)
        return np.where(log_size > self.log_limit, np.inf, found)

    def _margin_from_face(self, log_size: Floats, theta: Floats) -> Floats:
        """Return θ − θ_sep: left of z* against the curve through the saddle, up to z₁ against the nullcline, then the
        boundary.
        """
        found = np.empty_like(theta)
        left, right = log_size <= self.log_size, log_size > self.log_face
        between = ~left & ~right
        found[left] = theta[left] - self.height(log_size[left])
        found[right] = theta[right] - self.face_height(log_size[right])
        with np.errstate(all="ignore"):
            growth = np.broadcast_to(self.reduced.on_grid(np.exp(log_size), *self.own)[1], theta.shape)
        found[between] = theta[between] - self.shrink / growth[between]
        return found


@functools.lru_cache(maxsize=8192)
def separatrix(reduced: Reduced, names: tuple[str, ...], values: tuple[float, ...]) -> Separatrix:
    """Return the separatrix of one gate, computed once for each tuple of parameters."""
    return Separatrix(reduced, dict(zip(names, values, strict=True)))
