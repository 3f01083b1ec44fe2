"""Many cells at once are the same cells."""

from __future__ import annotations

import pytest

from recsys.picked import picked


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
