"""The simulated shop, built once a file of tests."""

from __future__ import annotations

import pytest

from bench.shop import Shop


@pytest.fixture(scope="module")
def shop():
    return Shop()
