"""Cheaper than it was, to be had again, bought already, and what presses."""

from __future__ import annotations

import msgspec
import pytest

from recsys.block import Urgency
from recsys.catalog import ComingSale, Item, apply_change, decode_change, encode_change
from recsys.events import Action
from recsys.pipeline.shelf import Shelf
from recsys.placement import DEFAULT_PLACEMENTS
from recsys.ports import Position
from recsys.profile import Order, Profile, Session, Touch
from tests.recsys.pipeline.shops import CATALOGUE, NOW_MS, NOW_S, ask, product, shelf, shown, slot, visitor

DAY_S = 86_400


def changed(item: Item | None, ago_s: int, op: str = "patch", **fields: object) -> Item:
    """The item after a change that came through the log."""
    given: object = Item("t1", title="Tent 1", **fields) if op == "upsert" else fields
    raw = encode_change(op, "t1", given)
    return apply_change(item, decode_change(raw, Position(0, 0), NOW_MS - ago_s * 1000))


def on(*items: Item) -> Shelf:
    known = {item.id: item for item in items}
    return shelf([known.get(item.id, item) for item in CATALOGUE])


def looked(item: str, ago_s: int, action: Action = Action.VIEW) -> Profile:
    return Profile(touches=(Touch(item, int(action), NOW_S - ago_s),))


def test_the_history_of_prices_is_the_logs_word_and_not_the_feeds() -> None:
    item = changed(None, 30 * DAY_S, "upsert", price=50.0, back_ms=5, stock_ms=7)
    assert (item.back_ms, item.stock_ms) == (0, 0)
    item = changed(item, 20 * DAY_S, "upsert", price=50.0)
    item = changed(item, 10 * DAY_S, sale_price=39.0, available=False)
    item = changed(item, 5 * DAY_S, available=True)
    at = [item.price_at(NOW_MS - days * DAY_S * 1000) for days in (31, 30, 11, 10, 0)]
    assert at == [None, 50.0, 50.0, 39.0, 39.0]
    assert item.back_ms == NOW_MS - 5 * DAY_S * 1000


def test_only_the_newest_prices_are_kept() -> None:
    item = changed(None, 30 * DAY_S, "upsert", price=1.0)
    for step in range(20):
        item = changed(item, 20 * DAY_S - step, price=2.0 + step)
    assert [one.price for one in item.prices] == [float(price) for price in range(14, 22)]


def cheaper() -> Item:
    return changed(changed(None, 30 * DAY_S, "upsert", price=50.0, currency="EUR"), DAY_S, sale_price=39.0)


@pytest.mark.parametrize("action", [Action.VIEW, Action.WISH, Action.CART_ADD])
def test_what_became_cheaper_since_is_told_with_both_prices(action: Action) -> None:
    (block,) = ask(on(cheaper()), looked("t1", 10 * DAY_S, action), slot("email.price_drop", 6))
    assert shown(block) == ["t1"]
    (item,) = block.items
    assert item.reason.source == "price_drop"
    assert item.reason.text.startswith("it is 39.00 EUR now, and was 50.00 EUR when you ")
    assert item.reason.text.endswith(" on 11 Sep")
    assert item.reason.evidence_at_ms == (NOW_S - 10 * DAY_S) * 1000
    assert block.fallback == ""


@pytest.mark.parametrize(
    "profile",
    [
        looked("t1", 3600),  # at today's price
        looked("t1", 60 * DAY_S),  # before the price was known
        looked("t2", 10 * DAY_S),
        Profile(touches=(*looked("t1", 10 * DAY_S).touches, Touch("t1", int(Action.ORDER), NOW_S - 5))),
        None,
    ],
)
def test_what_did_not_become_cheaper_for_this_person_is_no_news(profile: Profile | None) -> None:
    (block,) = ask(on(cheaper()), profile, slot("email.price_drop", 6))
    assert (shown(block), block.fallback) == ([], "no_match")


@pytest.mark.parametrize(
    ("then", "now", "is_news"),
    [(50.0, 50.0, False), (50.0, 60.0, False), (50.0, 49.6, False), (50.0, 49.4, True)],
)
def test_a_price_is_news_only_if_it_fell_by_more_than_a_hundredth(then, now, is_news: bool) -> None:
    item = changed(changed(None, 30 * DAY_S, "upsert", price=then), DAY_S, price=now)
    (block,) = ask(on(item), looked("t1", 10 * DAY_S), slot("email.price_drop", 6))
    assert shown(block) == (["t1"] if is_news else [])


def test_what_was_never_gone_is_not_back() -> None:
    here = changed(None, 30 * DAY_S, "upsert", price=50.0)
    told_again = changed(changed(here, 10 * DAY_S, price=40.0), 2 * DAY_S, available=True)
    assert shown(ask(on(told_again), looked("t1", 20 * DAY_S), slot("email.back_in_stock", 6))[0]) == []


def test_a_sale_is_over_when_it_ends_though_no_feed_says_so() -> None:
    def costs(shop: Shelf, less: str) -> bool:
        (block,) = ask(
            shop, None, msgspec.structs.replace(slot("home.feed", 18), filter=f'id == "t1" && {less}')
        )
        return shown(block) == ["t1"]

    sold = product("t", 1, price=50.0, sale_price=39.0, sale_end_ms=NOW_MS + 1000)
    shop = shelf([sold])
    row = shop.columns.row("t1")
    shop.turn_sales(NOW_MS + 999)
    assert costs(shop, "price_now < 40.0")
    assert shop.columns.price[row] == 39
    shop.turn_sales(NOW_MS + 1000)
    assert costs(shop, "price_now == 50.0 && sale_price == null")
    assert shop.columns.price[row] == 50
    shop.upsert(msgspec.structs.replace(sold, sale_end_ms=NOW_MS + 5000))  # prolonged
    assert costs(shop.with_bundle(None), "price_now < 40.0")
    shop.turn_sales(NOW_MS + 4999)
    assert costs(shop, "price_now < 40.0")
    over = msgspec.structs.replace(sold, sale_end_ms=NOW_MS)
    assert costs(shelf([over]), "price_now == 50.0")


def test_a_sale_that_a_feed_has_announced_begins_and_ends_though_none_says_so_again() -> None:
    coming = product("t", 1, price=50.0, coming_sale=ComingSale(39.0, NOW_MS + 1000, NOW_MS + 5000))
    shop = shelf([coming])

    def price() -> float | None:
        item = shop.columns.items[shop.columns.row("t1")]
        assert item is not None
        return item.price_now

    assert price() == 50
    for now_ms, expected in ((999, 50.0), (1000, 39.0), (4999, 39.0), (5000, 50.0)):
        shop.turn_sales(NOW_MS + now_ms)
        assert price() == expected
    begun = msgspec.structs.replace(coming, coming_sale=ComingSale(39.0, NOW_MS - 1, NOW_MS + 5000))
    over = msgspec.structs.replace(coming, coming_sale=ComingSale(39.0, NOW_MS - 2, NOW_MS))
    for item, expected in ((begun, 39.0), (over, 50.0)):
        shop = shelf([item])
        assert price() == expected


def test_what_can_be_had_again_is_told_and_what_cannot_is_not_shown() -> None:
    here = changed(None, 30 * DAY_S, "upsert", price=50.0)
    gone = changed(here, 10 * DAY_S, available=False)
    back = changed(gone, 2 * DAY_S, available=True)
    profile = looked("t1", 20 * DAY_S)
    (block,) = ask(on(back), profile, slot("email.back_in_stock", 6))
    assert shown(block) == ["t1"]
    assert block.items[0].reason.text == "you viewed it on 1 Sep, and it is here again since 19 Sep"
    assert shown(ask(on(gone), profile, slot("email.back_in_stock", 6))[0]) == []
    assert shown(ask(on(back), looked("t1", DAY_S), slot("email.back_in_stock", 6))[0]) == []


def test_a_cart_that_was_left_counts_as_caring() -> None:
    dear = changed(None, 30 * DAY_S, "upsert", price=50.0)
    now_cheaper = changed(dear, 10, price=20.0)
    (block,) = ask(on(now_cheaper), visitor("m1", cart=("t1",)), slot("email.price_drop", 6))
    assert block.items[0].reason.text.startswith(
        "it is 20.00 now, and was 50.00 when you put it into your cart on "
    )


def test_what_was_bought_lately_is_not_offered_again_until_the_days_are_over() -> None:
    feed = {"home.feed": msgspec.structs.replace(DEFAULT_PLACEMENTS["home.feed"], bought_within_days=30)}
    orders = (
        Order("o0", NOW_S - 31 * DAY_S, 1.0, ("t0",)),
        Order("o1", NOW_S - 29 * DAY_S, 1.0, ("t1", "s1")),
        Order("o2", NOW_S - 28 * DAY_S, 1.0, ("m1",), refunded=True),
    )
    for consent in (True, False):
        profile = visitor("t2", orders=orders, personalization=consent)
        (block,) = ask(shelf(), profile, slot("home.feed", 18), placements=feed)
        assert {"t0", "m1"} <= set(shown(block))
        assert not {"t1", "s1"} & set(shown(block))


def pressed(item: Item, profile: Profile, **rules: object) -> Urgency | None:
    hero = msgspec.structs.replace(
        DEFAULT_PLACEMENTS["home.feed"], urgent_stock=3, urgent_sale_s=DAY_S, **rules
    )
    (block,) = ask(on(item), profile, slot("home.feed", 18), placements={"home.feed": hero})
    return next(entry.urgency for entry in block.items if entry.item == item.id)


def ready() -> Profile:
    session = Session((NOW_S - 60) * 1000, NOW_MS - 1000, checkouts=1)
    return visitor("t2", cart=("s1",), session=session, cart_ms=NOW_MS - 1000)


def stocked(**fields: object) -> Item:
    return product("t", 1, **{"stock": 3, "stock_ms": NOW_MS - 3_600_000, **fields})


def test_what_presses_is_said_to_who_is_ready_to_buy() -> None:
    ends = NOW_MS + 3_600_000
    assert pressed(stocked(sale_price=9.0, sale_end_ms=ends), ready()) == Urgency(3, ends)
    assert pressed(stocked(), visitor("t2")) is None
    assert pressed(stocked(), visitor("t2"), urgent_tiers=("browsing",)) == Urgency(3)


@pytest.mark.parametrize(
    "fields",
    [
        {"stock": 4},
        {"stock": None},
        {"stock": 0, "attributes": {"availability": "preorder"}},
        {"stock_ms": NOW_MS - 86_400_001},
        {"stock": None, "sale_price": 9.0, "sale_end_ms": NOW_MS - 1},
        {"stock": None, "sale_price": 9.0, "sale_end_ms": NOW_MS + 86_400_001},
        {"stock": None, "sale_price": 9.0},
        {"stock": None, "sale_end_ms": NOW_MS + 5},
    ],
)
def test_what_the_catalogue_does_not_say_now_is_never_said(fields: dict[str, object]) -> None:
    assert pressed(stocked(**fields), ready()) is None


def test_a_number_of_pieces_ages_with_the_feed_that_told_it() -> None:
    item = changed(None, 30 * DAY_S, "upsert", price=50.0, stock=2)
    item = changed(item, 60, title="Tent One")
    assert item.stock_ms == NOW_MS - 30 * DAY_S * 1000
    assert changed(item, 60, stock=2).stock_ms == NOW_MS - 60_000
