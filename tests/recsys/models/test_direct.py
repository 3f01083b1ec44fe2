"""A kernel called directly answers what it answers through numba's dispatcher."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from recsys.models.direct import direct
from recsys.pipeline.pool_kernels import uniform


def test_it_does_what_the_kernel_does() -> None:
    through_numba, directly = np.zeros(5), np.zeros(5)
    uniform(7, through_numba)
    assert direct(uniform)(7, directly) is None
    assert through_numba.tolist() == directly.tolist() != [0.0] * 5


def test_it_goes_by_the_dispatcher_no_more() -> None:
    assert not hasattr(direct(uniform), "signatures")


@pytest.mark.parametrize("setting", ["BOUNDSCHECK", "DISABLE_JIT"])
def test_where_indices_are_checked_or_nothing_is_compiled_the_kernel_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(numba.config, setting, 1)
    assert direct(uniform) is uniform
