"""Residuals of a child and of a parent, given all that the other parents say of them, linearly.

The information I(X; Y | Z) of a child X with a parent Y, given the other parents Z, conditions on as many dimensions as
there are other parents: far too many for cells. Here Z is replaced by the two numbers of it that matter most, the
least-squares predictions x̂ = E[X|Z] and ŷ = E[Y|Z], and X and Y by the residuals r = X − x̂ and s = Y − ŷ.

Derived here. (1) Always I(X; Y | Z) = I(r; s | Z): given Z, the residuals are X and Y shifted by constants. (2) For
jointly Gaussian (X, Y, Z) the residuals are uncorrelated with Z, so (r, s) is independent of Z, hence of (x̂, ŷ), and
I(X; Y | Z) = I(r; s) = I(r; s | x̂, ŷ) = I(X; Y | x̂, ŷ) = −½ log(1 − ρ²), ρ the partial correlation. So nothing is
lost; and as the residuals, not X and Y, are put into cells, the cells of x̂ and ŷ can be coarse: all linear dependence
on Z is gone already. (3) Otherwise the cells of x̂ and ŷ take up dependence that varies with them, as of a ReLU that is
off; what of Z acts neither linearly nor through them (Y = Z², X = Z² with noise) is not conditioned on.

All pairs at once. With Ω the inverse of the parents' covariance and σ the covariances with a child:

    s_p = (YΩ)_p / Ω_pp        residual of parent p given all other parents, of variance 1/Ω_pp
    β = Ωσ, e = X − Yβ         coefficients and residual of the child given all parents
    r_p = e + β_p s_p          residual of the child given all parents but p (Frisch, Waugh and Lovell)

which is O(n·P·(P + C)) for all and O(n) a pair. These identities hold of any positive definite matrix, so of the
covariance plus a ridge on its diagonal: as if each activation had noise of its own of that variance. A constant
activation has nothing but this noise; of a parent that is a copy of another, what is left is below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["Regression", "Residuals", "standardised"]


def standardised(values: Float[np.ndarray, "sample column"]) -> Float[np.ndarray, "sample column"]:
    """Return mean 0 and deviation 1 in each column; a constant one becomes 0."""
    centred, deviation = values - values.mean(0), values.std(0)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)


@dataclass(frozen=True)
class Residuals:
    """Of one parent and all children, given all other parents; in standard deviations, noise of the ridge included.

    Attributes:
        parent: residual of the parent. [sample]
        children: of each child. [sample, child]
        parent_rest: prediction of the parent from the other parents. [sample]
        children_rest: of each child. [sample, child]
    """

    parent: np.ndarray
    children: np.ndarray
    parent_rest: np.ndarray
    children_rest: np.ndarray


class Regression:
    """Of all children and parents of a layer.

    Args:
        children: activations, standardised.
        parents: activations, standardised.
        ridge: variance of the noise, > 0.
    """

    def __init__(
        self, children: Float[np.ndarray, "sample child"], parents: Float[np.ndarray, "sample parent"], ridge: float
    ) -> None:
        n, count = parents.shape
        inverse = np.linalg.inv(parents.T @ parents / n + ridge * np.eye(count))
        joint = parents.T @ children / n
        self._children, self._parents = children, parents
        self._variance = 1 / np.diag(inverse)
        self._left = parents @ inverse * self._variance  # of each parent given the others
        self._coefficients = inverse @ joint
        self._child_left = children - parents @ self._coefficients
        explained = (joint * self._coefficients).sum(0)
        self._child_variance = np.maximum(1 - explained, 0) + ridge

    def without(self, parent: int) -> Residuals:
        """Return the residuals for one parent's pairs: given all the others."""
        own, coefficient, variance = self._left[:, parent], self._coefficients[parent], self._variance[parent]
        children = self._child_left + own[:, None] * coefficient
        return Residuals(
            own / np.sqrt(variance),
            children / np.sqrt(self._child_variance + coefficient**2 * variance),
            self._parents[:, parent] - own,
            self._children - children,
        )
