"""A rendering asked for again: what of the first one still holds, and what is told of its items now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from threading import Barrier

import grpc
import msgspec
import pytest

from recsys.banner import Banner
from recsys.catalog import Item, PriceSince
from recsys.placement import DEFAULT_PLACEMENTS
from recsys.ports import StoreUnavailable
from recsys.profile import CartLine, Profile
from server.pb import headrace_pb2 as pb
from server.renders import MAX_STEPS
from tests.fakes import MemoryStore
from tests.server.shop import PRODUCTS, Shop, product, put_items, put_visitor, until, viewed
from tests.server.test_renders import CART, Clock, bulk, ids, render

HOUR_MS = 3_600_000


def changes(block: pb.Block) -> list[tuple[str, str, str]]:
    return [(one.item_id, one.replaced_by, one.why) for one in block.changes]


def put(shop: Shop, *items: Item) -> None:
    """Until the server knows of them."""
    put_items(shop.store, items)
    columns = shop.running.live.shelf.columns
    until(lambda: [columns.items[columns.row(item.id)] for item in items] == list(items))


def test_what_is_told_of_the_items_is_true_when_it_is_told(tmp_path: Path, store: MemoryStore) -> None:
    clock = Clock()
    with Shop(tmp_path, store=store, now_ms=clock).open() as shop:
        put_visitor(shop.store, "v1", Profile(cart=(CartLine("p4", 1, 50.0, clock() // 1000),)))
        mug = msgspec.structs.replace(product(4), price=101.0, stock_ms=clock())
        put(
            shop,
            msgspec.structs.replace(mug, sale_price=50.0, sale_end_ms=clock() + HOUR_MS, stock=2),
        )
        first = render(shop, "cart/1", CART).blocks[0]
        assert (first.items[0].item.id, first.items[0].item.price) == ("p4", 50.0)
        assert first.items[0].urgency == pb.Urgency(stock=2, sale_end_ms=clock() + HOUR_MS)
        assert render(shop, "cart/1", CART).blocks[0] == first
        clock.ms += 2 * HOUR_MS  # the sale is over, and there are more again
        put(shop, msgspec.structs.replace(mug, stock_ms=clock(), stock=40))
        again = render(shop, "cart/1", CART).blocks[0]
        assert (again.items[0].item.price, again.items[0].HasField("urgency")) == (101.0, False)
        assert [(one.item_id, one.replaced_by, one.why) for one in again.changes] == [
            ("p4", "p4", "told_anew")
        ]
        assert (again.decision_id, ids(again)) == (first.decision_id, ids(first))
        assert again.items[1:] == first.items[1:]
        assert len(until(shop.served)) == 1


def test_what_a_reason_said_of_a_price_makes_its_item_go_with_it(tmp_path: Path, store: MemoryStore) -> None:
    drop = pb.Slot(placement="email.price_drop")
    with Shop(tmp_path, store=store).open() as shop:
        now_ms = int(time.time() * 1000)
        put_visitor(shop.store, "v1", viewed("p3", "p4", at_ms=now_ms - 5_000_000))
        prices = (PriceSince(now_ms - 9_000_000, 80.0), PriceSince(now_ms - 1000, 40.0))
        both = [msgspec.structs.replace(product(n), price=40.0, prices=prices) for n in (3, 4)]
        put(shop, *both)
        first = render(shop, "drop/1", drop).blocks[0]
        assert set(ids(first)) == {"p3", "p4"}
        assert "40.00" in first.items[0].reason.text
        up = msgspec.structs.replace(both[0], price=80.0, prices=(*prices, PriceSince(now_ms, 80.0)))
        put(shop, up)
        again = render(shop, "drop/1", drop).blocks[0]
        assert ids(again) == ["p4"]
        assert changes(again) == [("p3", "", "sold_out")]


def test_two_servers_that_decide_at_the_same_moment_count_one_impression(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, both, claim_many = Clock(), Barrier(2), store.claim_many

    def claim_together(claims: Sequence[tuple[str, bytes]], ttl_s: int) -> list[bytes]:
        both.wait(10)
        return claim_many(claims, ttl_s)

    monkeypatch.setattr(store, "claim_many", claim_together)
    with (
        Shop(tmp_path, store=store, now_ms=clock).open() as one,
        Shop(tmp_path, one.log, store, now_ms=clock).open() as other,
        ThreadPoolExecutor(2) as callers,
    ):
        answers = list(callers.map(lambda shop: render(shop, "spring/1").blocks[0], (one, other)))
        assert answers[0] == answers[1]
        both.reset()
        list(callers.map(lambda shop: render(shop, "spring/2"), (one, other)))
        until(lambda: one.running.queue.depth == other.running.queue.depth == 0 and one.served())
        served = [event["properties"]["render_id"] for event in one.served()]
        assert sorted(served) == ["spring/1", "spring/2"]


@contextmanager
def hanging(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state that keeps what is claimed and does not say so."""
    claim_many = shop.store.claim_many

    def keep_and_hang(claims: Sequence[tuple[str, bytes]], ttl_s: int) -> list[bytes]:
        claim_many(claims, ttl_s)
        raise StoreUnavailable("no answer in time")

    with monkeypatch.context() as patched:
        patched.setattr(shop.store, "claim_many", keep_and_hang)
        yield


def logged(shop: Shop) -> list[str]:
    """Ids of the decisions that were logged as shown."""
    until(lambda: shop.running.queue.depth == 0 and shop.served())
    return [event["properties"]["decision_id"] for event in shop.served()]


def test_what_the_state_kept_without_saying_so_is_an_impression_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hanging(shop, monkeypatch), pytest.raises(grpc.RpcError) as caught:
        render(shop, "spring/1")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    first = render(shop, "spring/1")
    assert render(shop, "spring/1").blocks == first.blocks
    assert logged(shop) == [first.blocks[0].decision_id]


def test_of_what_nobody_was_shown_only_what_followed_it_counts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_visitor(shop.store, "v1", viewed("p3", at_ms=int(time.time() * 1000)))
    with hanging(shop, monkeypatch), pytest.raises(grpc.RpcError):
        render(shop, "spring/1")
    put_visitor(shop.store, "v1", viewed("p3", at_ms=int(time.time() * 1000), personalization=False))
    second = render(shop, "spring/1").blocks[0]
    assert logged(shop) == [second.decision_id]


def test_a_retry_that_was_answered_without_the_state_is_one_impression(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = pb.GetBlocksRequest(slots=[CART], anonymous_id="v1", request_id="r1")
    with hanging(shop, monkeypatch):
        first = shop.client.GetBlocks(request, timeout=10).blocks[0]
    assert shop.client.GetBlocks(request, timeout=10).blocks[0].decision_id == first.decision_id
    assert logged(shop) == [first.decision_id]


def test_a_customer_is_one_by_whatever_device(shop: Shop) -> None:
    def block(**names: str) -> pb.Block:
        request = pb.GetBlocksRequest(slots=[CART], render_id="cart/anna", **names)
        return shop.client.GetBlocks(request, timeout=10).blocks[0]

    mailed = block(user_id="anna")
    assert block(user_id="anna", anonymous_id="phone") == mailed
    assert block(user_id="anna", anonymous_id="laptop") == mailed
    assert block(anonymous_id="phone").decision_id != mailed.decision_id


def test_mailings_and_explain_wait_for_a_state_that_pages_do_not_wait_for(
    tmp_path: Path, store: MemoryStore
) -> None:
    hurried = MemoryStore()
    hurried.down = True
    with Shop(tmp_path, store=store, asked=hurried).open() as shop:
        put_visitor(store, "v1", viewed("p3", "p9", at_ms=int(time.time() * 1000)))
        page = shop.client.GetBlocks(pb.GetBlocksRequest(slots=[CART], anonymous_id="v1"), timeout=10)
        assert page.blocks[0].fallback == "store_down"
        (mail,) = bulk(shop, [pb.BulkPerson(anonymous_id="v1", render_id="may/v1")])
        assert mail.person.known
        decision = mail.blocks[0].decision_id
        assert shop.client.Explain(pb.ExplainRequest(decision_id=decision), timeout=10).as_taken


FEED, HERO = (
    pb.Slot(name="a", placement="home.feed", limit=5),
    pb.Slot(name="b", placement="home.hero", limit=5),
)


def all_ids(answer: pb.GetBlocksResponse) -> list[str]:
    return [item for block in answer.blocks for item in ids(block)]


def sell_out(shop: Shop, *items: str) -> None:
    put(shop, *(product(int(item[1:]), available=False) for item in items))


@pytest.mark.parametrize("is_over", [False, True], ids=["each loses one", "the time of one is over"])
def test_no_item_stands_twice_where_several_slots_change(
    tmp_path: Path, store: MemoryStore, is_over: bool
) -> None:
    clock = Clock()
    hero = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.hero"], render_ttl_s=60 if is_over else None)
    with Shop(tmp_path, store=store, now_ms=clock, placements={"home.hero": hero}).open() as shop:
        first = render(shop, "m/1", FEED, HERO)
        gone = [ids(first.blocks[0])[0]] if is_over else [ids(block)[0] for block in first.blocks]
        sell_out(shop, *gone)
        clock.ms += 120_000
        now = render(shop, "m/1", FEED, HERO)
        assert len(all_ids(now)) == len(set(all_ids(now))) == 10
        assert not set(gone) & set(all_ids(now))
        kept = [item for block in first.blocks[: 2 - is_over] for item in ids(block) if item not in gone]
        assert set(kept) <= set(all_ids(now))
        # So it is whatever of it is asked for again, and whoever asks.
        assert render(shop, "m/1", HERO, FEED).blocks[1] == now.blocks[0]
        assert render(shop, "m/1", HERO).blocks[0] == now.blocks[1]


@pytest.mark.parametrize(
    ("rules", "alike", "fields"),
    [
        ({}, {"p1", "p5", "p6", "p7", "p8"}, {"group": "g"}),
        ({"max_per_brand": 1}, {f"p{n}" for n in range(1, 10)}, {"brand": "Ridge"}),
        ({"max_per_category": 1}, {f"p{n}" for n in range(1, 10)}, {"category": ("Mugs",)}),
    ],
    ids=["variants", "brand", "category"],
)
def test_a_replacement_keeps_to_the_rules_of_its_block(
    tmp_path: Path, store: MemoryStore, rules: dict[str, int], alike: set[str], fields: dict[str, object]
) -> None:
    feed = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.feed"], explore=0.0, **rules)
    store_of = {f"p{n}": msgspec.structs.replace(product(n), category=(f"c{n}",)) for n in range(30)}
    with Shop(tmp_path, store=store, placements={"home.feed": feed}).open() as shop:
        put(
            shop,
            *(
                msgspec.structs.replace(item, **fields) if name in alike else item
                for name, item in store_of.items()
            ),
        )
        block = render(shop, "m/1", FEED).blocks[0]
        assert len(alike.intersection(ids(block))) == 1
        for _ in range(3):
            sell_out(shop, next(item for item in ids(block) if item not in alike))
            block = render(shop, "m/1", FEED).blocks[0]
            assert len(alike.intersection(ids(block))) == 1
            assert len(block.items) == 5


MIXED = pb.Slot(placement="home.mixed")


@pytest.mark.parametrize("how", ["ended", "other market", "taken out"])
def test_a_banner_stands_in_a_rendering_no_longer_than_its_rules_say(
    tmp_path: Path, store: MemoryStore, how: str
) -> None:
    clock = Clock()
    ends = datetime.fromtimestamp(clock() / 1000 + 3600, timezone.utc)
    flash = Banner(title="Ends tonight", ends=ends, markets=("DE",), max_per_day=1)

    def block(shop: Shop, market: str = "DE") -> pb.Block:
        context = pb.Context(market=market)
        request = pb.GetBlocksRequest(slots=[MIXED], anonymous_id="v1", render_id="m/1", context=context)
        return shop.client.GetBlocks(request, timeout=10).blocks[0]

    with Shop(tmp_path, store=store, banners={"flash": flash}, now_ms=clock).open() as shop:
        first = block(shop)
        assert "banner:flash" in ids(first)
        assert block(shop) == first, "its cap counts this very rendering"
        if how == "ended":
            clock.ms += 2 * HOUR_MS
        elif how == "other market":
            now = block(shop, "FR")
        else:
            with Shop(tmp_path, shop.log, store, now_ms=clock).open() as other:
                now = block(other)
        if how == "ended":
            now = block(shop)
        assert len(now.items) == len(first.items)
        place = ids(first).index("banner:flash")
        assert changes(now) == [("banner:flash", ids(now)[place], "sold_out")]


@pytest.mark.parametrize("limit", [1, 5])
def test_however_often_items_sell_out_none_that_has_is_shown(shop: Shop, limit: int) -> None:
    slot = pb.Slot(placement="home.feed", limit=limit)
    block = render(shop, "m/1", slot).blocks[0]
    for n in range(MAX_STEPS):
        assert len(block.items) == limit
        gone = ids(block)[0]
        sell_out(shop, gone)
        block = render(shop, "m/1", slot).blocks[0]
        assert gone not in ids(block)
        last = n == MAX_STEPS - 1
        assert changes(block) == [(gone, "" if last else ids(block)[0], "sold_out")]
        assert render(shop, "m/1", slot).blocks[0] == block
    assert len(block.items) == limit - 1
    assert (block.fallback == "no_match") is (limit == 1)
    # And with nothing that is left in the shop there is nothing, at whichever step.
    sell_out(shop, *(f"p{number}" for number in range(PRODUCTS)))
    block = render(shop, "m/1", slot).blocks[0]
    assert (ids(block), block.fallback) == ([], "no_match")
    assert len(until(shop.served)) == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"min_age": 18}, ""),
        ({"not_markets": ("DE",)}, ""),
        ({"price": 900.0}, "price_now < 200.0"),
    ],
    ids=["age", "market", "filter"],
)
def test_what_the_rules_of_a_decision_keep_out_goes_from_a_rendering(
    shop: Shop, fields: dict[str, object], text: str
) -> None:
    slot = pb.Slot(placement="home.feed", limit=5, filter=text)

    def block(render_id: str) -> pb.Block:
        context = pb.Context(market="DE")
        request = pb.GetBlocksRequest(slots=[slot], anonymous_id="v1", render_id=render_id, context=context)
        return shop.client.GetBlocks(request, timeout=10).blocks[0]

    first = block("m/1")
    item = ids(first)[1]
    put(shop, msgspec.structs.replace(product(int(item[1:])), **fields))
    now = block("m/1")
    assert item not in ids(block("m/2"))
    assert changes(now) == [(item, ids(now)[1], "sold_out")]
    assert len(now.items) == 5
    assert block("m/1") == now


def test_a_mail_about_a_cart_that_was_bought_since_does_not_lead_with_it(shop: Shop) -> None:
    now_s = int(time.time())
    lines = (CartLine("p3", 1, 100.0, now_s), CartLine("p4", 1, 100.0, now_s))
    put_visitor(shop.store, "v1", viewed("p3", at_ms=now_s * 1000, cart=lines))
    first = render(shop, "m/1", CART).blocks[0]
    assert {"p3", "p4"} == set(ids(first)[:2])
    put_visitor(shop.store, "v1", viewed("p3", at_ms=now_s * 1000, cart=lines[1:]))
    one_left = render(shop, "m/1", CART).blocks[0]
    assert (ids(one_left)[0], one_left.fallback) == ("p4", first.fallback)
    assert ("p3", "left_cart") in [(one.item_id, one.why) for one in one_left.changes]
    assert render(shop, "m/1", CART).blocks[0] == one_left
    put_visitor(shop.store, "v1", viewed("p3", at_ms=now_s * 1000))
    none_left = render(shop, "m/1", CART).blocks[0]
    assert none_left.fallback == render(shop, "m/2", CART).blocks[0].fallback == "no_cart"
    assert "cart" not in [one.source for one in none_left.items]
