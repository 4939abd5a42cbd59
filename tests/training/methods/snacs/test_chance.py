"""What chance alone gives: against SciPy's distribution, scikit-learn's expectation, and every way to pair samples."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from training.methods.snacs.chance import by_chance, times_log

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=40)


def margins(labels):
    rows, columns = np.array(labels).T
    return np.bincount(rows, minlength=4), np.bincount(columns, minlength=5)


@given(st.lists(LABELS, min_size=1, max_size=2))
@settings(max_examples=15)
def test_it_is_the_expectation_of_the_hypergeometric_distribution(tables):
    sides = [margins(labels) for labels in tables]
    expected = sum(
        hypergeom(sum(rows), a, b).expect(lambda k: k * np.log(np.maximum(k, 1)))
        for rows, columns in sides
        for a, b in itertools.product(rows, columns)
    )
    found = by_chance(*(np.stack(side)[None] for side in zip(*sides, strict=True)))
    assert found == pytest.approx([expected], abs=1e-8)


@given(LABELS)
def test_less_it_mutual_information_is_the_adjusted_one_of_scikit_learn(labels):
    rows, columns = margins(labels)
    n = len(labels)
    log = times_log(n)
    table = contingency_matrix(*np.array(labels).T, sparse=True)
    expected = expected_mutual_information(table.astype(np.int64), n)
    found = (by_chance(rows[None, None], columns[None, None])[0] + log[n] - log[rows].sum() - log[columns].sum()) / n
    assert found == pytest.approx(expected, abs=1e-9)


def test_it_is_the_mean_over_all_ways_to_pair_the_samples():
    rows, columns = [0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 2, 2]
    values = []
    for order in itertools.permutations(columns):
        counts = np.zeros((3, 3), int)
        np.add.at(counts, (rows, list(order)), 1)
        values.append(times_log(6)[counts].sum())
    assert by_chance(np.array([[[2, 3, 1]]]), np.array([[[1, 3, 2]]])) == pytest.approx([np.mean(values)])
