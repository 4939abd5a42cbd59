"""The coefficients of the integrator obey the conditions of its order: a wrong one would cost steps, not the result."""

from fractions import Fraction

import pytest

from dynamics.integrators import kernel as k

NODES = [Fraction(n) for n in ("0", "3/10", "4/5", "8/9", "1", "1")]  # of the stages that count: 1, 3, 4, 5, 6, 7
SOLUTION = [k.B1, k.B3, k.B4, k.B5, k.B6, 0.0]
ERROR = [k.E1, k.E3, k.E4, k.E5, k.E6, k.E7]


@pytest.mark.parametrize("power", range(5))
def test_the_solution_integrates_powers_of_time_exactly(power):
    assert sum(b * float(c**power) for b, c in zip(SOLUTION, NODES, strict=True)) == pytest.approx(1 / (power + 1))


@pytest.mark.parametrize("power", range(5))
def test_the_error_sees_nothing_up_to_order_four_and_the_fifth(power):
    """It is the difference of two solutions, of which the other one is of order 4."""
    seen = sum(e * float(c**power) for e, c in zip(ERROR, NODES, strict=True))
    assert (abs(seen) < 1e-15) == (power < 4)


@pytest.mark.parametrize(
    ("row", "node"),
    [
        ([k.A21], "1/5"),
        ([k.A31, k.A32], "3/10"),
        ([k.A41, k.A42, k.A43], "4/5"),
        ([k.A51, k.A52, k.A53, k.A54], "8/9"),
        ([k.A61, k.A62, k.A63, k.A64, k.A65], "1"),
    ],
)
def test_a_stage_stands_at_its_node(row, node):
    assert sum(row) == pytest.approx(float(Fraction(node)))
