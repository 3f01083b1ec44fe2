"""Many cells at once are the same cells."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.picked import FLOAT32S, INT32S, INT64S, picked


@pytest.mark.parametrize("keys", [(), (2,), (2, 0, 2)], ids=len)
def test_cells_come_in_the_order_of_their_keys(keys: tuple[int, ...]) -> None:
    assert picked(keys, ["a", "b", "c"]) == tuple(["a", "b", "c"][key] for key in keys)
    assert picked(keys, {0: "a", 2: "c"}) == tuple({0: "a", 2: "c"}[key] for key in keys)


@pytest.mark.parametrize("keys", [(7,), (0, 7)], ids=len)
def test_a_missing_cell_is_told(keys: tuple[int, ...]) -> None:
    with pytest.raises(IndexError):
        picked(keys, ["a"])
    with pytest.raises(KeyError, match="7"):
        picked(keys, {0: "a"})


def test_numbers_are_packed_as_arrays_have_them() -> None:
    for cells, kind in ((INT32S, np.int32), (INT64S, np.int64), (FLOAT32S, np.float32)):
        packed = cells[3].pack(1, -2, 3)
        assert packed == np.array([1, -2, 3], kind).tobytes()
        assert cells[3].unpack(packed) == (1, -2, 3)
