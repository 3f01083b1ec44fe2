"""What is known of an item: feeds, changes and, where no feed has spoken, the events."""

from __future__ import annotations

import msgspec
import pytest

from recsys.catalog import (
    CatalogChange,
    Item,
    PriceSince,
    apply_change,
    apply_evidence,
    decode_change,
    encode_change,
    patched,
    split_category,
    type_of,
)
from recsys.events import Line
from recsys.ports import Position

AT_MS = 1_760_000_000_000
TENT = Item("tent", title="Trail Tent", category=("Outdoor", "Tents"), price=200.0, sale_price=150.0)
SEEN = Line(
    "tent", price=99.0, name="Tent!", category="Sale > All", brand="B", url="https://u", image="https://i"
)


def change(op: str, item_id: str = "tent", fields: object = None, at_ms: int = AT_MS) -> CatalogChange:
    return decode_change(encode_change(op, item_id, fields), Position(0, 1), at_ms)  # type: ignore[arg-type]


def test_a_feeds_word_beats_what_events_tell() -> None:
    fed = apply_change(None, change("upsert", fields=TENT))
    since = (PriceSince(AT_MS, 150.0),)
    assert fed == msgspec.structs.replace(TENT, fed=True, changed_ms=AT_MS, prices=since)
    assert apply_evidence(fed, SEEN, AT_MS + 1)[0] is fed
    from_events, _ = apply_evidence(None, SEEN, AT_MS - 1)
    assert apply_change(from_events, change("upsert", fields=TENT)) == fed


def test_an_item_no_feed_has_named_is_known_by_the_events() -> None:
    item, told = apply_evidence(None, SEEN, AT_MS)
    assert item == Item(
        "tent",
        title="Tent!",
        category=("Sale", "All"),
        brand="B",
        price=99.0,
        link="https://u",
        image_link="https://i",
        changed_ms=AT_MS,
    )
    newer, told = apply_evidence(item, Line("tent", price=89.0), AT_MS + 5, told)
    assert newer == msgspec.structs.replace(item, price=89.0, changed_ms=AT_MS + 5)
    assert apply_evidence(newer, Line("tent"), AT_MS + 9, told) == (newer, told)
    late = Line("tent", price=95.0, name="Old tent")
    assert apply_evidence(newer, late, AT_MS + 4, told)[0] == msgspec.structs.replace(
        newer, title="Old tent", changed_ms=AT_MS + 5
    )
    assert apply_evidence(newer, late, AT_MS - 1, told) == (newer, told)
    assert apply_evidence(None, Line("article:a", name="Pitching"), AT_MS)[0].type == "article"


def test_a_patch_keeps_the_rest() -> None:
    fed = apply_change(None, change("upsert", fields=TENT))
    sold_out = apply_change(fed, change("patch", fields={"available": False}, at_ms=AT_MS + 5))
    assert sold_out == msgspec.structs.replace(fed, available=False, changed_ms=AT_MS + 5)
    renamed = apply_change(
        fed, change("patch", fields={"id": "other", "category": ["A"], "sale_price": None})
    )
    assert (renamed.id, renamed.category, renamed.price_now) == ("tent", ("A",), 200.0)
    unknown = apply_change(None, change("patch", "article:a", {"price": 5}))
    assert (unknown.id, unknown.type, unknown.price, unknown.fed) == ("article:a", "article", 5.0, False)


def test_what_was_removed_keeps_its_name_and_can_come_back() -> None:
    fed = apply_change(None, change("upsert", fields=TENT))
    removed = apply_change(fed, change("remove", at_ms=AT_MS + 5))
    assert removed == msgspec.structs.replace(fed, removed=True, available=False, changed_ms=AT_MS + 5)
    assert apply_evidence(removed, SEEN, AT_MS + 6)[0] is removed
    assert apply_change(removed, change("patch", fields={"price": 1})).removed
    back = change("upsert", fields=TENT, at_ms=AT_MS + 9)
    assert apply_change(removed, back) == msgspec.structs.replace(
        fed, changed_ms=AT_MS + 9, back_ms=AT_MS + 9
    )
    never_known = apply_change(None, change("remove", "article:a"))
    assert (never_known.type, never_known.removed, never_known.available) == ("article", True, False)


def test_the_sale_price_is_the_price_now() -> None:
    assert TENT.price_now == 150.0
    assert Item("a", price=3.0).price_now == 3.0
    assert Item("a", price=3.0, sale_price=0.0).price_now == 0.0
    assert Item("a").price_now is None
    assert Item("a", price=3.0, sale_price=5.0).price_now == 3.0, "no sale"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"price": "cheap"}, "Expected `float | null`, got `str` - at `$.price`"),
        ({"category": ["A", 1]}, "Expected `str`, got `int` - at `$.category[1]`"),
        ({"type": "video"}, "Invalid enum value 'video' - at `$.type`"),
    ],
)
def test_a_wrong_patch_says_where(fields: dict[str, object], message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        patched({"id": "a"}, msgspec.json.encode(fields))
    assert str(caught.value) == message
    with pytest.raises(msgspec.ValidationError) as caught:
        change("patch", "a", fields)
    assert str(caught.value) == message.replace("`$.", "`$.item.")


def test_a_coming_sale_of_no_possible_price_is_refused() -> None:
    for price in (-1.0, 1e10):
        with pytest.raises(msgspec.ValidationError) as caught:
            change("patch", "a", {"coming_sale": {"price": price, "start_ms": 1, "end_ms": 2}})
        told = f"Expected 0 to 1000000000, got {price} - at `$.item.coming_sale.price`"
        assert str(caught.value) == told


def test_what_is_sold_out_cannot_be_had_until_there_is_stock_again() -> None:
    assert TENT.can_be_had
    sold_out = apply_change(TENT, change("patch", TENT.id, {"stock": 0}, at_ms=AT_MS + 1))
    assert sold_out.available
    assert not sold_out.can_be_had
    ordered_ahead = apply_change(
        sold_out, change("patch", TENT.id, {"attributes": {"availability": "preorder"}})
    )
    assert ordered_ahead.can_be_had
    back = apply_change(sold_out, change("patch", TENT.id, {"stock": 4}, at_ms=AT_MS + 9))
    assert back.can_be_had
    assert back.back_ms == AT_MS + 9


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Outdoor > Tents", ("Outdoor", "Tents")),
        ("Home/Apparel/Hats/", ("Home", "Apparel", "Hats")),
        ("Food/Drink > Tea", ("Food/Drink", "Tea")),
        (" > ", ()),
        ("", ()),
        (None, ()),
        (" > ".join("abcdefghijkl"), tuple("abcdefgh")),
    ],
)
def test_a_category_is_split_from_the_root(text: str | None, parts: tuple[str, ...]) -> None:
    assert split_category(text) == parts


def test_articles_are_told_by_their_prefix() -> None:
    assert (type_of("article:12"), type_of("12")) == ("article", "product")
