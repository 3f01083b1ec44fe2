"""The columns follow the items, row by row."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.catalog import Item
from recsys.filters import Attributes, compile_filter
from recsys.filters.attributes import MAX_CHANGES
from recsys.filters.ragged import Ragged
from tests.recsys.filters.expressions import items

FILTERS = (
    'brand == "A" || title < "Z"',
    '"Acme" in category',
    "brand in tags",
    'attributes.color == "A"',
    "size(tags) + size(attributes) > 2",
    "price_now == 1.5",
    'tags[1] == ""',
)


def rows_of(attributes: Attributes) -> list[list[bool]]:
    return [compile_filter(text).rows(attributes).tolist() for text in FILTERS]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), items), max_size=30))
def test_changed_rows_are_as_if_set_once(changes):
    changed, told, once = Attributes(capacity=1), Attributes(capacity=1), Attributes()
    before: dict[int, Item] = {}
    for row, item in changes:
        changed.set(row, item)
        told.set(row, item, before.get(row))
        before[row] = item
    for row, item in before.items():
        once.set(row, item)

    assert rows_of(changed) == rows_of(once)
    assert rows_of(told) == rows_of(once)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), items), max_size=12),
    st.permutations([*range(6), -1, -1]),
    st.lists(st.tuples(st.integers(0, 11), items), max_size=6),
)
def test_moved_rows_are_as_if_set_where_they_are_now(changes, from_rows, later):
    old, expected = Attributes(), Attributes()
    held: dict[int, Item] = {}
    for row, item in changes:
        old.set(row, item, held.get(row))
        held[row] = item
    moved = old.moved(np.array([row if row in held else -1 for row in from_rows], np.int32), 8)
    now = {place: held[row] for place, row in enumerate(from_rows) if row in held}
    for place, item in now.items():
        expected.set(place, item)
    assert rows_of(moved) == rows_of(expected)
    for place, item in later:
        moved.set(place, item, now.get(place))
        expected.set(place, item, now.get(place))
        now[place] = item
    assert rows_of(moved) == rows_of(expected)
    assert (moved.n_with_age, moved.n_with_market) == (expected.n_with_age, expected.n_with_market)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), items), min_size=1, max_size=30), st.integers(0, 30))
def test_of_the_changed_rows_alone_the_answer_is_that_of_all(changes, first_seen):
    attributes = Attributes(capacity=1)
    version, changed = 0, set()
    for place, (row, item) in enumerate(changes):
        if place == first_seen:
            version, changed = attributes.version, set()
        attributes.set(row, item)
        changed.add(row)
    rows = attributes.changed_since(version)
    assert rows.tolist() == sorted(changed)
    for text, whole in zip(FILTERS, rows_of(attributes), strict=True):
        of_changed = compile_filter(text).rows(attributes, rows).tolist()
        assert of_changed == [whole[row] for row in rows.tolist()]


def test_changes_of_long_ago_are_not_remembered():
    attributes = Attributes()
    for _ in range(MAX_CHANGES):
        attributes.set(1, Item("a"))
    assert attributes.changed_since(0).tolist() == [1]
    attributes.set(2, Item("b"))
    assert attributes.changed_since(0) is None
    assert attributes.changed_since(attributes.version).tolist() == []


def test_a_row_without_an_item_passes_nothing():
    attributes = Attributes()
    attributes.set(2, Item("a"))
    assert compile_filter('brand == ""').rows(attributes).tolist() == [False, False, True]


def test_each_change_is_a_version():
    attributes = Attributes()
    versions = [attributes.version]
    for brand in ("A", "B"):
        attributes.set(0, Item("a", brand=brand))
        versions.append(attributes.version)
    assert sorted(set(versions)) == versions


def test_texts_that_nobody_holds_are_dropped():
    attributes = Attributes()
    for number in range(10_000):
        attributes.set(number % 7, Item(f"i{number}", tags=(f"t{number}",), attributes={f"k{number}": "v"}))
    assert len(attributes.texts) < 1_200
    assert compile_filter('"t9999" in tags && has(attributes.k9999)').rows(attributes).sum() == 1
    assert compile_filter('"t1" in tags').rows(attributes).sum() == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 4), max_size=400)), max_size=30))
@settings(deadline=None, max_examples=50)
def test_ragged_lists_take_the_room_of_their_values(changes):
    ragged = Ragged(4)
    for row, values in changes:
        ragged.set(row, range(len(values)), values)
    kept = dict(changes)

    for value in range(5):
        assert ragged.holding(value, 4).tolist() == [value in kept.get(row, ()) for row in range(4)]
    assert ragged.at(2, 4).tolist() == [(kept.get(row, [])[2:3] or [-1])[0] for row in range(4)]
    assert ragged.count.tolist() == [len(kept.get(row, ())) for row in range(4)]
    assert len(ragged.values()) <= 4 * 400 * 2 + 1024
