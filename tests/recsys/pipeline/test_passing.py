"""Which rows pass a filter, while the catalogue changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalog import Item
from recsys.filters import Attributes, compile_filter
from recsys.filters.attributes import MAX_CHANGES
from recsys.filters.evaluate import Rows
from recsys.pipeline.passing import Passing

FILTERS = ("price_now < 50.0", '"Tents" in category', 'attributes.color == "red" || brand == "A"')
CAPACITY = 40

products = st.builds(
    Item,
    st.just("p"),
    price=st.sampled_from([None, 10.0, 90.0]),
    brand=st.sampled_from(["A", "B"]),
    category=st.sampled_from([(), ("Tents",), ("Mugs", "Tents")]),
    attributes=st.sampled_from([{}, {"color": "red"}]),
)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, CAPACITY + 2), products), max_size=6), max_size=6))
def test_after_every_change_it_is_as_if_looked_at_anew(steps: list[list[tuple[int, Item]]]) -> None:
    attributes = Attributes(capacity=1)
    passing = Passing(attributes)
    for changes in steps:
        for row, item in changes:
            attributes.set(row, item)
        for text in FILTERS:
            anew = compile_filter(text).rows(attributes)[:CAPACITY].tolist()
            assert passing.rows(text, CAPACITY).tolist() == anew + [False] * (CAPACITY - len(anew))


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each evaluation looked at."""
    counts: list[int] = []
    whole = Rows.__init__

    def counted(rows: Rows, *given: object) -> None:
        whole(rows, *given)  # type: ignore[arg-type]
        counts.append(rows.n)

    monkeypatch.setattr(Rows, "__init__", counted)
    return counts


def test_what_has_not_changed_is_not_looked_at_again(looked_at: list[int]) -> None:
    attributes = Attributes()
    passing = Passing(attributes)
    for row in range(2000):
        attributes.set(row, Item(f"p{row}", price=10.0))
    before = passing.rows("price_now < 50.0", 2000)
    for row in (3, 7, 3):
        attributes.set(row, Item(f"p{row}", price=90.0))
    after = passing.rows("price_now < 50.0", 2000)
    assert looked_at == [2000, 2]
    assert before.all(), "a request that goes on has the answer that it had"
    assert [row for row, one in enumerate(after.tolist()) if not one] == [3, 7]
    passing.rows("price_now < 50.0", 2000)
    assert looked_at == [2000, 2]
    for row in range(MAX_CHANGES + 1):
        attributes.set(row, Item(f"p{row}", price=90.0))
    assert passing.rows("price_now < 50.0", 2000).sum() == 2000 - MAX_CHANGES - 1
    assert looked_at == [2000, 2, 2000]
