"""GetBlocks, through a real client."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from uuid import UUID

import grpc
import pytest

from recsys.block import Block
from recsys.decide import Asked, decide_all
from recsys.keys import FLOW_KEY
from recsys.placement import Placement
from recsys.ports import Position
from recsys.progress import FlowProgress, encode_progress
from server.pb import headrace_pb2 as pb
from server.people import Found, People
from server.requests import Asker
from tests.fakes import MemoryStore
from tests.server.shop import (
    PRODUCTS,
    Shop,
    article,
    catalogue,
    product,
    put_customer,
    put_items,
    put_visitor,
    until,
    viewed,
)


def now_ms() -> int:
    return int(time.time() * 1000)


def ask(shop: Shop, *placements: str, timeout: float | None = 5.0, **fields: object) -> pb.GetBlocksResponse:
    slots = [pb.Slot(placement=placement) for placement in placements or ("home.feed",)]
    return shop.client.GetBlocks(pb.GetBlocksRequest(slots=slots, **fields), timeout=timeout)


def refused(shop: Shop, request: pb.GetBlocksRequest) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        shop.client.GetBlocks(request, timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details()


def ids(block: pb.Block) -> list[str]:
    return [item.item.id for item in block.items]


def test_strangers_are_told_apart_and_who_is_known_is_themselves(tmp_path: Path, store: MemoryStore) -> None:
    asked: list[tuple[str, str]] = []

    def note(views: Sequence[Asked], placements: Mapping[str, Placement]) -> list[list[Block]]:
        asked.extend((one.view.person, one.view.stranger) for one in views)
        return decide_all(views, placements)

    put_visitor(store, "known", viewed("p3", at_ms=1))
    with Shop(tmp_path, store=store, decider=note).open() as shop:
        for names in ({"anonymous_id": "known"}, {"anonymous_id": "new"}, {"user_id": "ann"}, {}):
            ask(shop, "home.hero", **names)
    assert asked == [("a:known", ""), ("", "a:new"), ("", "u:ann"), ("", "")]


class TestAnswer:
    def test_nobody_gets_a_full_block_that_says_why_it_is_not_personal(self, shop: Shop) -> None:
        (block,) = ask(shop).blocks
        assert len(block.items) == 20
        assert block.fallback
        assert (block.slot, block.placement, block.title) == ("home.feed", "home.feed", "You may like")
        assert UUID(block.decision_id)
        assert block.freshness.reached

    def test_items_carry_what_the_catalogue_says(self, shop: Shop) -> None:
        item = ask(shop).blocks[0].items[0].item
        number = int(item.id.removeprefix("p"))
        assert item.title == f"Trail Tent {number}"
        assert item.url == f"https://shop.example/p/{number}"
        assert (item.price, item.currency) == (100.0 + number, "EUR")
        assert item.type == pb.ITEM_TYPE_PRODUCT

    def test_slots_are_answered_in_order_and_share_no_item(self, shop: Shop) -> None:
        blocks = ask(shop, "home.feed", "home.hero", "article.next").blocks
        assert [block.placement for block in blocks] == ["home.feed", "home.hero", "article.next"]
        shown = [item for block in blocks for item in ids(block)]
        assert len(shown) == len(set(shown))
        assert {item.item.type for item in blocks[2].items} == {pb.ITEM_TYPE_ARTICLE}

    def test_limit_and_exclude(self, shop: Shop) -> None:
        slot = pb.Slot(name="top", placement="home.feed", limit=4, exclude=["p1", "p2"])
        (block,) = shop.client.GetBlocks(pb.GetBlocksRequest(slots=[slot])).blocks
        assert block.slot == "top"
        assert len(block.items) == 4
        assert not {"p1", "p2"} & set(ids(block))

    def test_request_id_comes_back(self, shop: Shop) -> None:
        assert ask(shop, request_id="r-1").request_id == "r-1"

    def test_two_calls_are_two_decisions(self, shop: Shop) -> None:
        one, other = ask(shop), ask(shop)
        assert one.blocks[0].decision_id != other.blocks[0].decision_id

    def test_an_article_may_be_named_without_its_prefix(self, shop: Shop) -> None:
        slot = pb.Slot(placement="product.similar", item_id="1", item_type=pb.ITEM_TYPE_ARTICLE)
        assert shop.client.GetBlocks(pb.GetBlocksRequest(slots=[slot])).blocks[0].items


class TestPerson:
    def test_a_visitor(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", "p4", at_ms=now_ms()))
        answer = ask(shop, anonymous_id="v1")
        assert (answer.person.person, answer.person.known) == ("a:v1", True)
        assert answer.person.intent_tier
        assert 0 < answer.blocks[0].freshness.event_at_ms <= now_ms()

    def test_a_visitor_who_is_known_as_a_customer(self, shop: Shop) -> None:
        put_customer(shop.store, "ann", viewed("p3", at_ms=now_ms()))
        put_visitor(shop.store, "v1", user_id="ann")
        assert ask(shop, anonymous_id="v1").person.person == "u:ann"

    def test_the_named_customer_wins_over_whom_the_device_is_linked_to(self, shop: Shop) -> None:
        put_customer(shop.store, "ann", viewed("p3", at_ms=now_ms()))
        put_customer(shop.store, "bob", viewed("p4", at_ms=now_ms()))
        put_visitor(shop.store, "v1", user_id="ann")
        assert ask(shop, anonymous_id="v1", user_id="bob").person.person == "u:bob"

    def test_a_new_customer_on_somebody_elses_device_is_not_shown_their_profile(self, shop: Shop) -> None:
        put_customer(shop.store, "ann", viewed("p3", at_ms=now_ms()))
        put_visitor(shop.store, "v1", user_id="ann")
        assert not ask(shop, anonymous_id="v1", user_id="new").person.known

    def test_a_new_customer_keeps_what_the_device_did_before_the_login(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=now_ms()))
        assert ask(shop, anonymous_id="v1", user_id="new").person.person == "a:v1"

    @pytest.mark.parametrize("blocked", ["null", " 0 ", "Anonymous"])
    def test_an_id_that_names_nobody_is_nobody(self, shop: Shop, blocked: str) -> None:
        put_visitor(shop.store, blocked.strip(), viewed("p3", at_ms=now_ms()))
        assert not ask(shop, anonymous_id=blocked).person.known

    def test_a_record_of_a_later_version_is_served_as_unknown(self, shop: Shop) -> None:
        shop.store.put_many({"v:v1": b"\xffwhatever"})
        assert not ask(shop, anonymous_id="v1").person.known


class TestFreshness:
    def test_waits_for_the_position(self, shop: Shop) -> None:
        at = Position(2, 10)
        put_visitor(shop.store, "v1", viewed("p3", at_ms=now_ms()), at=Position(2, 9))
        answers: list[pb.GetBlocksResponse] = []
        asking = Thread(
            target=lambda: answers.append(ask(shop, anonymous_id="v1", at_least_as_fresh=str(at), timeout=20))
        )
        asking.start()
        until(lambda: shop.running.live.shelf)
        put_visitor(shop.store, "v1", viewed("p3", "p4", at_ms=now_ms()), at=at)
        asking.join()
        assert answers[0].blocks[0].freshness.reached

    def test_answers_at_the_deadline_with_what_there_is(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=now_ms()), at=Position(2, 9))
        answer = ask(shop, anonymous_id="v1", at_least_as_fresh="2-10", timeout=2)
        assert answer.person.person == "a:v1"
        assert not answer.blocks[0].freshness.reached
        assert answer.blocks[0].items
        assert shop.figure("headrace_freshness_waits_total", outcome="late") == 1

    def test_without_a_deadline_of_the_callers_the_configured_one_holds(
        self, tmp_path: Path, store: MemoryStore
    ) -> None:
        with Shop(tmp_path, store=store, deadline_ms=60).open() as shop:
            answer = ask(shop, anonymous_id="v1", at_least_as_fresh="2-10", timeout=None)
        assert not answer.blocks[0].freshness.reached

    def test_an_event_that_changed_nobody_is_waited_for_until_the_flow_is_past_it(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=now_ms()), at=Position(2, 9))
        shop.store.put_many({FLOW_KEY: encode_progress(FlowProgress(partitions=((2, 10),)))})
        answer = ask(shop, anonymous_id="v1", at_least_as_fresh="2-10", timeout=20)
        assert answer.blocks[0].freshness.reached
        assert answer.server_ms < 10_000

    def test_nobody_has_nothing_to_wait_for(self, store: MemoryStore) -> None:
        people = People(store, sleep_s=pytest.fail)
        found = people.find_fresh(Asker(None, None), Position(2, 10), time.monotonic() + 60, lambda: True)
        assert found == Found(reached=False)

    def test_waits_never_take_the_last_thread(self, tmp_path: Path, store: MemoryStore) -> None:
        with Shop(tmp_path, store=store, threads=4, deadline_ms=5000).open() as shop:
            waiting = [
                shop.client.GetBlocks.future(
                    pb.GetBlocksRequest(
                        anonymous_id="v1", at_least_as_fresh="0-99", slots=[pb.Slot(placement="home.hero")]
                    ),
                    timeout=3,
                )
                for _ in range(4)
            ]
            first = min(waiting, key=lambda call: call.result().server_ms).result()
            assert not first.blocks[0].freshness.reached
            assert ask(shop).blocks


class TestCatalogueChanges:
    def test_a_new_item_is_known_to_the_running_server(self, shop: Shop) -> None:
        put_items(shop.store, [product(77)])
        slot = pb.Slot(placement="home.feed", limit=200)
        request = pb.GetBlocksRequest(slots=[slot])
        assert until(lambda: "p77" in ids(shop.client.GetBlocks(request).blocks[0]))

    def test_a_sold_out_item_is_shown_no_more(self, shop: Shop) -> None:
        put_items(shop.store, [product(3, available=False)])
        slot = pb.Slot(placement="home.feed", limit=200)
        request = pb.GetBlocksRequest(slots=[slot])
        assert until(lambda: "p3" not in ids(shop.client.GetBlocks(request).blocks[0]))

    def test_a_trimmed_journal_is_a_reason_to_read_all_again(self, tmp_path: Path) -> None:
        store = MemoryStore(journal_kept=3)
        put_items(store, catalogue())
        with Shop(tmp_path, store=store).open() as shop:
            store.down = True
            until(lambda: shop.figure("headrace_refresh_failures_total", of="catalogue"))
            store.down = False
            put_items(store, [product(number) for number in range(80, 90)])
            request = pb.GetBlocksRequest(slots=[pb.Slot(placement="home.feed", limit=200)])
            assert until(lambda: "p80" in ids(shop.client.GetBlocks(request).blocks[0]))

    def test_until_the_catalogue_is_read_the_server_says_so(self, tmp_path: Path, store: MemoryStore) -> None:
        store.down = True
        with Shop(tmp_path, store=store).open(loaded=False) as shop:
            assert shop.health() == 2  # NOT_SERVING
            with pytest.raises(grpc.RpcError) as caught:
                ask(shop)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            store.down = False
            assert shop.running.loaded.wait(10)
            assert until(lambda: shop.health() == 1)


class TestDegraded:
    def test_without_the_state_everybody_still_gets_a_block(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=now_ms()))
        shop.store.down = True
        answer = ask(shop, anonymous_id="v1")
        assert answer.blocks[0].fallback == "store_down"
        assert len(answer.blocks[0].items) == 20
        assert until(lambda: shop.figure("headrace_fallbacks_total", fallback="store_down")) == 1

    def test_with_no_time_left_nobody_is_looked_up(self, tmp_path: Path, store: MemoryStore) -> None:
        put_visitor(store, "v1", viewed("p3", at_ms=now_ms()))
        with Shop(tmp_path, store=store, deadline_ms=1).open() as shop:
            answer = ask(shop, anonymous_id="v1", timeout=None)
        assert answer.blocks[0].fallback == "deadline"
        assert answer.blocks[0].items

    def test_a_fault_of_ours_is_internal_and_tells_nothing(self, tmp_path: Path, store: MemoryStore) -> None:
        def broken(*_: object) -> list[object]:
            raise ZeroDivisionError("secret")

        with Shop(tmp_path, store=store, decider=broken).open() as shop:
            with pytest.raises(grpc.RpcError) as caught:
                ask(shop)
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert "secret" not in caught.value.details()
            assert shop.figure("headrace_requests_total", rpc="GetBlocks", code="INTERNAL") == 1


class TestWrongRequests:
    def test_an_unknown_placement(self, shop: Shop) -> None:
        said = refused(shop, pb.GetBlocksRequest(slots=[pb.Slot(placement="home.heroo")]))
        assert said == (
            "Expected one of article.next, cart.cross_sell, email.back_in_stock, email.cart_recovery,"
            " email.digest, email.price_drop, home.feed, home.hero, home.mixed, product.complements,"
            " product.similar, got `home.heroo` - at `slots[0].placement`"
        )

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"slots": []}, "Expected 1 to 16, got 0 - at `slots`"),
            ({"slots": [pb.Slot(placement="home.hero")] * 17}, "Expected 1 to 16, got 17 - at `slots`"),
            (
                {"slots": [pb.Slot(placement="home.hero")] * 2},
                "Expected a name of its own, got `home.hero` again - at `slots[1].name`",
            ),
            (
                {"slots": [pb.Slot(placement="home.hero", limit=201)]},
                "Expected at most 200, got 201 - at `slots[0].limit`",
            ),
            (
                {"slots": [pb.Slot(placement="product.similar")]},
                "Expected an item, which `product.similar` needs, got nothing - at `slots[0].item_id`",
            ),
            (
                {"slots": [pb.Slot(placement="home.hero", item_id="é" * 101)]},
                "Expected at most 200 bytes, got 202 bytes - at `slots[0].item_id`",
            ),
            (
                {"slots": [pb.Slot(placement="home.hero", item_id="x", item_type=9)]},
                "Expected an ItemType, got 9 - at `slots[0].item_type`",
            ),
            (
                {"slots": [pb.Slot(placement="home.hero", exclude=["x"] * 1001)]},
                "Expected at most 1000, got 1001 - at `slots[0].exclude`",
            ),
            (
                {"slots": [pb.Slot(placement="home.hero", exclude=["a", "x" * 201])]},
                "Expected at most 200 bytes, got 201 bytes - at `slots[0].exclude[1]`",
            ),
            ({"anonymous_id": "v" * 201}, "Expected at most 200 bytes, got 201 bytes - at `anonymous_id`"),
            (
                {"anonymous_id": "user:ann"},
                "Expected an id not starting with `headrace:` or `user:`, got `user:ann` - at `anonymous_id`",
            ),
            ({"user_id": "v" * 201}, "Expected at most 200 bytes, got 201 bytes - at `user_id`"),
            ({"request_id": "v" * 201}, "Expected at most 200 bytes, got 201 bytes - at `request_id`"),
            ({"render_id": "v" * 201}, "Expected at most 200 bytes, got 201 bytes - at `render_id`"),
            (
                {"context": pb.Context(page_url="u" * 501)},
                "Expected at most 500 bytes, got 501 bytes - at `context.page_url`",
            ),
            (
                {"at_least_as_fresh": "soon"},
                "Expected a position that Track returned, like `3-1042`, got `soon` - at `at_least_as_fresh`",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_says_where_what_was_expected_and_what_came(
        self, shop: Shop, fields: dict[str, object], said: str
    ) -> None:
        request = pb.GetBlocksRequest(**{"slots": [pb.Slot(placement="home.hero")], **fields})
        assert refused(shop, request) == said

    def test_programs_are_told_the_field(self, shop: Shop) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            shop.client.GetBlocks(pb.GetBlocksRequest(slots=[pb.Slot(placement="nowhere")]))
        (details,) = (
            value for name, value in caught.value.trailing_metadata() if name == "grpc-status-details-bin"
        )
        assert b"type.googleapis.com/google.rpc.BadRequest" in details
        assert b"slots[0].placement" in details
        assert shop.figure("headrace_requests_total", rpc="GetBlocks", code="INVALID_ARGUMENT") == 1


def test_articles_are_in_the_fixture() -> None:
    assert article(1).id == "article:1"


def test_pages_of_a_feed_follow_each_other(shop: Shop) -> None:
    seen: list[str] = []
    slot = pb.Slot(placement="home.feed", limit=8)
    while True:
        (block,) = shop.client.GetBlocks(pb.GetBlocksRequest(slots=[slot], anonymous_id="v1")).blocks
        if not block.items:
            break
        seen += [entry.item.id for entry in block.items]
        slot.cursor = block.next_cursor
        if not slot.cursor:
            break
    assert sorted(seen) == sorted(f"p{number}" for number in range(PRODUCTS))


def test_a_cursor_of_somebody_elses_is_refused(shop: Shop) -> None:
    request = pb.GetBlocksRequest(slots=[pb.Slot(placement="home.feed", cursor="page=2")])
    with pytest.raises(grpc.RpcError) as refused:
        shop.client.GetBlocks(request)
    assert refused.value.details() == (
        "Expected the `next_cursor` of a block, got `page=2` - at `slots[0].cursor`"
    )


def test_a_callers_filter_is_heeded(shop: Shop) -> None:
    slot = pb.Slot(placement="home.feed", filter="price < 103.0")
    (block,) = shop.client.GetBlocks(pb.GetBlocksRequest(slots=[slot], anonymous_id="v1")).blocks
    assert {entry.item.id for entry in block.items} == {"p0", "p1", "p2"}
    put_items(shop.store, [product(7, sale_price=50.0), product(1, available=False)])
    slot.filter = "price_now < 103.0"
    until(
        lambda: (
            {
                entry.item.id
                for entry in shop.client.GetBlocks(pb.GetBlocksRequest(slots=[slot])).blocks[0].items
            }
            == {"p0", "p2", "p7"}
        )
    )


def test_what_is_wrong_with_a_filter_is_told_with_its_position(shop: Shop) -> None:
    request = pb.GetBlocksRequest(slots=[pb.Slot(placement="home.feed", filter='price < "a"')])
    with pytest.raises(grpc.RpcError) as refused:
        shop.client.GetBlocks(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == ("Expected `int` or `double`, got `string` - at 8 of `slots[0].filter`")
