from __future__ import annotations

import numpy as np
import pytest

from recsys.models.kernels import kth_largest


@pytest.mark.parametrize("n_different", [1, 2, 7, 10_000])
@pytest.mark.parametrize("n", [1, 2, 3, 50, 800])
def test_the_kth_largest_is_that_of_a_sort_with_and_without_equals(n, n_different):
    generator = np.random.default_rng(n)
    values = generator.integers(0, n_different, n).astype(np.float32)
    for k in {1, 2, n // 3, n - 1, n} & set(range(1, n + 1)):
        assert kth_largest(values.copy(), n, k) == np.sort(values)[::-1][k - 1]


@pytest.mark.parametrize("falling", [True, False])
def test_the_kth_largest_of_what_is_in_order_already(falling):
    values = np.arange(301, dtype=np.float32)[:: -1 if falling else 1].copy()
    assert kth_largest(values, 301, 40) == 261.0


def test_what_lies_behind_the_values_asked_about_stays():
    values = np.array((3, 1, 2, 9, 8), np.float32)
    assert kth_largest(values, 3, 1) == 3
    assert values[3:].tolist() == [9, 8]


def test_values_that_are_no_numbers_end_the_search_as_well():
    values = np.array((1, np.nan, 3, np.nan, 2, np.nan), np.float32)
    kth_largest(values, 6, 2)
    assert sorted(values[~np.isnan(values)].tolist()) == [1, 2, 3]
