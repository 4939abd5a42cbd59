"""The larger bilinear region: its claims' wrong variants are refuted, and it contains the region of S."""

from __future__ import annotations

import numpy as np
import pytest

from dynamics.claims import bilinear_mean
from dynamics.gates import BilinearGate, MeanBilinearGate
from dynamics.gates.bilinear import RHO_IN, RHO_OUT
from dynamics.proofs.claim import Status
from tests.support.any_gate import BACKENDS, number


def test_the_product_of_the_norms_is_no_such_energy():
    assert bilinear_mean.mean_check(RHO_IN * RHO_OUT).status is Status.REFUTED


class ProductGate(BilinearGate):
    """Takes the product of the norms for X: too large a region."""

    def margin(self, rho_in, rho_out, theta):
        return super().margin(np.sqrt(rho_in * rho_out), np.sqrt(rho_in * rho_out), theta)


def test_the_region_of_the_product_is_refuted():
    assert bilinear_mean.sound_check(ProductGate, count=500).status is Status.REFUTED


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_moved_saddle_is_refuted(factor):
    assert bilinear_mean.exact_check(factor, count=2000).status is Status.REFUTED


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_contains_the_region_of_s_and_equals_it_for_equal_norms(backend):
    make, tolerance = BACKENDS[backend]
    constants = {"decay": 0.1, "coupling": 1.0, "cost": 0.5, "rate": 1.0}
    rng = np.random.default_rng(0)
    rho_in, rho_out, theta = (make(x) for x in (*rng.uniform(0, 2, (2, 200)), rng.uniform(0, 1, 200)))
    small, large = BilinearGate(**constants), MeanBilinearGate(**constants)
    assert (large.margin(rho_in, rho_out, theta) <= small.margin(rho_in, rho_out, theta) + tolerance).all()
    assert number(large.margin(rho_in[0], rho_in[0], theta[0])) == pytest.approx(
        number(small.margin(rho_in[0], rho_in[0], theta[0])), abs=tolerance
    )
    assert (
        large.headroom(rho_in, rho_out, theta) >= small.headroom(rho_in, rho_out, theta) * (1 - 10 * tolerance)
    ).all()
