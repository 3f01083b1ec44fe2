"""The shelf: rows, changes, and readers beside the writer."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalog import Item
from recsys.counters import HALF_LIFE_S, ItemCounters
from recsys.events import Action
from recsys.pipeline.cold import MAX_COLD_ITEMS, ColdItems
from recsys.pipeline.columns import ANY_TYPE, ARTICLE, HOT_ITEMS, PRODUCT, TYPE_SETS, Columns
from recsys.pipeline.shelf import Shelf
from recsys.profile import Session
from tests.recsys.pipeline.shops import (
    CATALOGUE,
    NOW_S,
    article,
    ask,
    bare_shelf,
    known_bundle,
    product,
    shelf,
    shown,
    slot,
    visitor,
)


def eligible(on: Shelf) -> set[str]:
    return {
        item.id for row, item in enumerate(on.columns.items) if item is not None and on.columns.offer[row]
    }


def bits(on: Shelf, types: int) -> set[str]:
    columns = on.columns
    flags = np.unpackbits(columns.eligible_bits[types], bitorder="little")
    return {item_id for row, item_id in enumerate(known_bundle().item_ids) if flags[row]}


def test_rows_are_the_bundles_first() -> None:
    on = shelf([product("t", 1), Item("later", title="Later")])
    ids = known_bundle().item_ids
    assert [on.columns.row(item_id) for item_id in ids] == list(range(len(ids)))
    assert on.columns.row("later") == len(ids)
    assert on.columns.row("nobody") == -1


def test_an_item_the_catalogue_does_not_have_is_not_eligible() -> None:
    on = shelf([product("t", 1)])
    assert eligible(on) == {"t1"}
    assert bits(on, ANY_TYPE) == {"t1"}


def test_an_item_known_from_events_is_eligible_with_its_title() -> None:
    on = bare_shelf([Item("named", title="Named"), Item("nameless"), Item("fed", fed=True)])
    assert eligible(on) == {"named", "fed"}


def test_types_have_their_own_bits() -> None:
    on = shelf()
    assert bits(on, PRODUCT) | bits(on, ARTICLE) == bits(on, ANY_TYPE) == {item.id for item in CATALOGUE}
    assert bits(on, ARTICLE) == {"article:pitch", "article:brew", "article:knots"}


def test_the_types_of_which_anything_may_be_shown_follow_the_catalogue() -> None:
    on = bare_shelf([product("t", 1), article("pitch", "tent")])
    assert on.columns.offered_types[ANY_TYPE] == ANY_TYPE
    on.upsert(article("pitch", "tent", available=False))
    assert on.columns.offered_types[ANY_TYPE] == PRODUCT
    assert on.columns.offered_types[ARTICLE] == ARTICLE  # a slot of articles alone stays one
    on.upsert(article("knots", "rope"))
    assert on.columns.offered_types[ANY_TYPE] == ANY_TYPE


def test_prices_and_categories_are_columns() -> None:
    on = bare_shelf([product("t", 1, sale_price=5.0), Item("free", title="x")])
    columns = on.columns
    assert columns.price[columns.row("t1")] == 5.0
    assert np.isnan(columns.price[columns.row("free")])
    assert columns.leaf[columns.row("t1")] == columns.leaf_codes["Tents"]
    assert columns.leaf[columns.row("free")] == -1


def test_a_change_is_served_from_then_on() -> None:
    on = shelf()
    on.upsert(product("t", 2, available=False))
    assert "t2" not in eligible(on) | bits(on, ANY_TYPE)
    on.upsert(product("t", 2, title="Tent 2, blue"))
    assert "t2" in eligible(on) & bits(on, PRODUCT)
    assert on.columns.items[on.columns.row("t2")].title == "Tent 2, blue"


def test_an_item_is_serialised_once_for_each_version() -> None:
    calls: list[str] = []

    def serialise(item: Item) -> bytes:
        calls.append(item.id)
        return item.title.encode()

    on = Shelf.build(CATALOGUE, None, {}, NOW_S, serialise)
    on.upsert(product("t", 2, title="Blue"))
    on.upsert(product("t", 2, title="Blue"))
    on = on.with_bundle(known_bundle())
    assert len(calls) == len(CATALOGUE) + 1
    assert on.columns.wire[on.columns.row("t2")] == b"Blue"


def test_a_new_bundle_keeps_items_counters_and_what_is_hot() -> None:
    before = bare_shelf(counters={"m3": ItemCounters(5, 0, 0, NOW_S)})
    before.upsert(Item("later", title="Later tent", description="tent canvas"))
    after = before.with_bundle(known_bundle())
    assert eligible(after) == eligible(before)
    assert [after.columns.items[row].id for row in after.columns.hot[ANY_TYPE]] == ["m3"]
    assert len(before.columns.items) == len(CATALOGUE) + 1
    assert len(after.columns.cold.nearest(after.bundle.content.embed("tent canvas"), 5)[0]) == 1


def test_filters_find_the_same_items_on_a_new_bundle() -> None:
    before = bare_shelf()
    before.upsert(Item("later", title="Later tent", price=3.0, tags=("new",)))
    before.upsert(product("t", 2, price=2.0))
    after = before.with_bundle(known_bundle())

    def passing(on: Shelf, text: str) -> set[str]:
        columns = on.columns
        return {columns.ids[row] for row in np.flatnonzero(on.passing.rows(text, columns.capacity))}

    for text in ('"new" in tags', "price < 2.5", "price >= 0.0", 'title.startsWith("Later")'):
        assert passing(after, text) == passing(before, text) != set()
    after.upsert(Item("later", title="Later tent", price=3.0))
    assert passing(after, '"new" in tags') == set()


def test_demand_of_different_times_is_compared_at_one_time() -> None:
    counters = {
        "t1": ItemCounters(8, 0, 0, NOW_S - 2 * HALF_LIFE_S),  # 2 by now
        "t2": ItemCounters(3, 0, 0, NOW_S),
        "t3": ItemCounters(0, 0, 1, NOW_S),  # an order counts like six views
        "t4": ItemCounters(0, 0, 0, NOW_S),
    }
    on = bare_shelf(counters=counters)
    assert [on.columns.items[row].id for row in on.columns.hot[PRODUCT]] == ["t3", "t2", "t1"]
    on.count("t1", ItemCounters(9, 0, 0, NOW_S))
    assert [on.columns.items[row].id for row in on.columns.hot[PRODUCT]] == ["t1", "t3", "t2"]


def test_what_is_gone_is_not_hot_and_comes_back_hot() -> None:
    on = bare_shelf(counters={"t1": ItemCounters(8, 0, 0, NOW_S)})
    on.upsert(product("t", 1, available=False))
    assert len(on.columns.hot[PRODUCT]) == 0
    on.upsert(product("t", 1))
    assert len(on.columns.hot[PRODUCT]) == 1


def test_the_hot_list_is_bounded_and_has_the_hottest() -> None:
    items = [Item(f"i{number}", title="x") for number in range(2 * HOT_ITEMS)]
    on = bare_shelf(items)
    for number in range(2 * HOT_ITEMS):
        on.count(f"i{number}", ItemCounters(1 + number, 0, 0, NOW_S))
    hot = [on.columns.items[row].id for row in on.columns.hot[ANY_TYPE]]
    assert hot == [f"i{number}" for number in range(2 * HOT_ITEMS - 1, HOT_ITEMS - 1, -1)]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), st.booleans()), min_size=12, max_size=40))
def test_what_is_hot_after_each_change_is_what_it_would_be_computed_anew(
    changes: list[tuple[int, int, bool]],
) -> None:
    on = bare_shelf([Item(f"i{number}", title="x") for number in range(8)])
    for number, views, available in changes:
        on.upsert(Item(f"i{number}", title="x", available=available))
        on.count(f"i{number}", ItemCounters(views, 0, 0, NOW_S))
        columns = on.columns
        for types in TYPE_SETS:
            assert columns.hot[types].tolist() == columns.warmest(columns.heat, types).tolist()


def test_what_is_in_demand_in_the_category_of_the_session_comes_first() -> None:
    items = [product("t", number) for number in range(12)] + [product("m", number) for number in range(12)]
    counters = {item.id: ItemCounters(50 if item.id[0] == "t" else 3, 0, 0, NOW_S) for item in items}
    on = bare_shelf(items, counters)
    in_mugs = visitor("x", session=Session((NOW_S - 60) * 1000, NOW_S * 1000, category="Outdoor > Mugs"))
    (block,) = ask(on, in_mugs, slot("home.feed", 12))
    assert {item[0] for item in shown(block)} == {"m"}
    (block,) = ask(on, visitor("x"), slot("home.feed", 12))
    assert {item[0] for item in shown(block)} == {"t"}


def test_cold_items_are_bounded_and_the_newest_stay() -> None:
    cold = ColdItems.empty(2)
    for row in range(MAX_COLD_ITEMS + 10):
        cold = cold.with_item(row, np.array([1.0, row], np.float32))
    assert len(cold.rows) <= MAX_COLD_ITEMS
    assert cold.vector(0) is None
    assert cold.vector(MAX_COLD_ITEMS + 9) is not None
    rows, scores = cold.nearest(np.array([0.0, 1.0], np.float32), 2)
    assert rows.tolist() == [MAX_COLD_ITEMS + 9, MAX_COLD_ITEMS + 8]
    assert scores[0] > scores[1]


def test_a_cold_item_has_the_vector_of_its_newest_text() -> None:
    cold = (
        ColdItems.empty(2)
        .with_item(7, np.array([1, 0], np.float32))
        .with_item(7, np.array([0, 1], np.float32))
    )
    assert cold.nearest(np.array([1, 0], np.float32), 5)[0].tolist() == []
    assert cold.nearest(np.array([0, 1], np.float32), 5)[0].tolist() == [7]


@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_readers_never_see_half_a_change(build) -> None:
    """One thread sells out and restocks, adds and counts; others ask. Sold out for good before the
    readers start: never shown. Rows grow over several times the first capacity."""
    on = build()
    on.upsert(product("t", 5, available=False))
    done = threading.Event()
    broken: list[str] = []

    def read() -> None:
        try:
            while not done.is_set():
                profile = visitor("t1", "added-3", "t2", "added-200", cart=("s1",))
                blocks = ask(on, profile, slot("home.feed", 12), slot("product.similar", 4, "added-7"))
                items = [item for block in blocks for item in shown(block)]
                if "t5" in items or len(items) != len(set(items)) or not items:
                    broken.append(str(items))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            broken.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(400):
        on.upsert(Item(f"added-{number}", title=f"Tent {number}", category=("Tents",), changed_ms=number))
        on.upsert(product("t", 2, available=number % 2 == 0))
        on.count(f"added-{number}", ItemCounters(number, 0, 0, NOW_S))
    done.set()
    for reader in readers:
        reader.join()
    assert broken == []
    assert len(eligible(on)) == len(CATALOGUE) + 400 - 2


def test_a_request_meets_the_first_item_of_a_category_while_it_is_written(monkeypatch) -> None:
    on, answers, written = bare_shelf(), [], Columns.write_codes

    def write_codes(columns: Columns, row: int, item: Item) -> None:
        written(columns, row, item)
        slots = (slot("product.complements", 3, "lamp"), slot("product.similar", 3, "lamp"))
        answers.extend(ask(on, visitor("t1"), *slots))

    monkeypatch.setattr(Columns, "write_codes", write_codes)
    on.upsert(Item("lamp", title="Lamp", category=("Outdoor", "Lamps"), fed=True))
    assert [len(block.items) for block in answers] == [3, 3]


def test_who_still_decides_on_older_columns_hears_nothing_of_a_newer_item_that_is_the_warmest() -> None:
    on = bare_shelf(counters={"t1": ItemCounters().counted([(Action.VIEW, 1, NOW_S)])})
    before = on.columns
    known = before.greatest.tolist()
    assert bare_shelf().columns.greatest.tolist() == [float("-inf")] * 3
    for number in range(before.capacity):
        on.upsert(Item(f"new{number}", title="New", fed=True))
    newest = f"new{before.capacity - 1}"
    on.count(newest, ItemCounters().counted([(Action.VIEW, 2, NOW_S), (Action.VIEW, 1, NOW_S)]))
    assert (on.columns.greatest > known).all()
    assert on.columns.row(newest) >= before.capacity
    assert before.greatest.tolist() == known
