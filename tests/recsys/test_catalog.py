"""What is known of an item: feeds, changes and, where no feed has spoken, the events."""

from __future__ import annotations

import msgspec
import pytest

from recsys.catalog import (
    CatalogChange,
    ComingSale,
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


def test_what_a_coming_sale_cannot_be_is_refused() -> None:
    for field, value, expected in (
        ("price", -1.0, "0 to 1000000000"),
        ("price", 1e10, "0 to 1000000000"),
        ("start_ms", -1, f"0 to {2**53 - 1}"),
        ("start_ms", 2**70, f"0 to {2**53 - 1}"),
        ("end_ms", 1, f"2 to {2**53}"),
        ("end_ms", 2**70, f"2 to {2**53}"),
    ):
        with pytest.raises(msgspec.ValidationError) as caught:
            change("patch", "a", {"coming_sale": {"price": 5.0, "start_ms": 1, "end_ms": 2, field: value}})
        told = f"Expected {expected}, got {value} - at `$.item.coming_sale.{field}`"
        assert str(caught.value) == told


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("published_ms", f"{-(2**53)} to {2**53}"),
        ("sale_end_ms", f"0 to {2**53}"),
        ("min_age", "0 to 200"),
    ],
)
def test_a_number_that_no_record_could_hold_is_refused(field: str, expected: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        change("patch", "a", {field: 2**70})
    got = str(caught.value).replace(f"{float(2**53):.0f}", str(2**53))
    assert got == f"Expected {expected}, got {2**70} - at `$.item.{field}`"


class TestASaleThatTurnsByItself:
    """Announced for AT_MS + 100 until AT_MS + 200."""

    coming = msgspec.structs.replace(
        TENT, sale_price=None, coming_sale=ComingSale(150.0, AT_MS + 100, AT_MS + 200)
    )

    def test_tells_what_the_item_was_sold_at_meanwhile(self) -> None:
        fed = apply_change(None, change("upsert", fields=self.coming))
        over = fed.at_sales_of(AT_MS + 300)
        assert [over.price_at(AT_MS + at) for at in (0, 99, 100, 199, 200, 300)] == [
            200.0, 200.0, 150.0, 150.0, 200.0, 200.0
        ]  # fmt: skip
        told_again = apply_change(fed, change("upsert", fields=TENT, at_ms=AT_MS + 150))
        assert told_again.price_at(AT_MS + 120) == 150.0, "not since the feed said so"

    def test_ends_or_changes_when_a_patch_says_so(self) -> None:
        fed = apply_change(None, change("upsert", fields=self.coming))
        for at_ms in (AT_MS + 50, AT_MS + 150):
            ended = apply_change(fed, change("patch", fields={"sale_price": None}, at_ms=at_ms))
            assert ended.at_sales_of(AT_MS + 160).price_now == 200.0
            lower = apply_change(fed, change("patch", fields={"sale_price": 99.0}, at_ms=at_ms))
            assert lower.at_sales_of(AT_MS + 160).price_now == 99.0
        other = apply_change(fed, change("patch", fields={"stock": 3}, at_ms=AT_MS + 50))
        assert other.at_sales_of(AT_MS + 160).price_now == 150.0


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
