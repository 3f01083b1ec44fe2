"""render_id: one decision for every rendering; and GetBlocksBulk, which is made of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import msgspec
import pytest

from recsys.catalog import Item
from recsys.placement import DEFAULT_PLACEMENTS
from recsys.profile import CartLine, Profile
from server.pb import headrace_pb2 as pb
from tests.fakes import MemoryStore
from tests.server.shop import Shop, product, put_items, put_visitor, until, viewed

DIGEST = pb.Slot(placement="email.digest")
CART = pb.Slot(placement="email.cart_recovery")


def people(count: int, campaign: str = "spring") -> list[pb.BulkPerson]:
    return [
        pb.BulkPerson(anonymous_id=f"v{number}", render_id=f"{campaign}/{number}") for number in range(count)
    ]


def bulk(shop: Shop, some: list[pb.BulkPerson], *slots: pb.Slot) -> list[pb.GetBlocksResponse]:
    request = pb.GetBlocksBulkRequest(slots=slots or (DIGEST,), people=some, request_id="r1")
    return list(shop.client.GetBlocksBulk(request, timeout=30))


def render(shop: Shop, render_id: str, *slots: pb.Slot, visitor: str = "v1") -> pb.GetBlocksResponse:
    request = pb.GetBlocksRequest(slots=slots or (DIGEST,), anonymous_id=visitor, render_id=render_id)
    return shop.client.GetBlocks(request, timeout=10)


@pytest.fixture
def other(tmp_path: Path, shop: Shop) -> Iterator[Shop]:
    """Another server on the same log and state."""
    with Shop(tmp_path, shop.log, shop.store).open() as other:
        yield other


def test_the_same_rendering_is_the_same_block_from_any_server(shop: Shop, other: Shop) -> None:
    first = render(shop, "spring/1")
    put_visitor(shop.store, "v1", viewed("p3", "p9", at_ms=int(time.time() * 1000)))
    again = [
        render(shop, "spring/1"),
        render(other, "spring/1"),
        bulk(other, [pb.BulkPerson(anonymous_id="v1", render_id="spring/1")])[0],
    ]
    assert [answer.blocks for answer in again] == [first.blocks] * 3
    assert first.render_id == "spring/1"


def ids(block: pb.Block) -> list[str]:
    return [item.item.id for item in block.items]


def test_what_has_sold_out_is_replaced_and_told_and_the_rest_stands(shop: Shop, other: Shop) -> None:
    first = render(shop, "spring/1").blocks[0]
    place, gone = 2, first.items[2].item.id
    # Articles do not sell out; whatever stands third, its word in the catalogue changes.
    put_items(shop.store, [sold_out(gone)])
    until(lambda: not any(may_be_shown(one, gone) for one in (shop, other)))
    second = render(shop, "spring/1").blocks[0]
    new = second.items[place].item.id
    assert ids(second) == [*ids(first)[:place], new, *ids(first)[place + 1 :]]
    assert new not in ids(first)
    assert [(one.item_id, one.replaced_by, one.why) for one in second.changes] == [(gone, new, "sold_out")]
    assert second.decision_id != first.decision_id
    # Every server, and every further rendering, says the same of it.
    assert render(other, "spring/1").blocks[0] == second
    assert bulk(other, [pb.BulkPerson(anonymous_id="v1", render_id="spring/1")])[0].blocks[0] == second
    # And should the replacement go as well, it is replaced in turn.
    put_items(shop.store, [sold_out(new)])
    until(lambda: not any(may_be_shown(one, new) for one in (shop, other)))
    third = render(other, "spring/1").blocks[0]
    assert not {gone, new} & set(ids(third))
    assert render(shop, "spring/1").blocks[0] == third
    # It was one impression all the time.
    render(shop, "spring/2")
    served = until(lambda: len(found := shop.served()) == 2 and found)
    assert [event["properties"]["render_id"] for event in served] == ["spring/1", "spring/2"]


def sold_out(item_id: str) -> Item:
    if item_id.startswith("article:"):
        return Item(item_id, "article", title="Gone", fed=True, removed=True)
    return product(int(item_id[1:]), available=False)


def may_be_shown(shop: Shop, item_id: str) -> bool:
    columns = shop.running.live.shelf.columns
    return bool(columns.offer[columns.row(item_id)])


def test_behind_its_time_a_rendering_is_decided_anew_and_says_what_changed(
    tmp_path: Path, store: MemoryStore
) -> None:
    clock = Clock()
    now_s = clock() // 1000
    with Shop(tmp_path, store=store, now_ms=clock, render_ttl_s=3600).open() as shop:
        first = render(shop, "spring/1").blocks[0]
        put_visitor(store, "v1", viewed("p17", "p23", at_ms=now_s * 1000))
        clock.ms += 3_599_000
        assert render(shop, "spring/1").blocks[0] == first
        clock.ms += 2_000
        second = render(shop, "spring/1")
        assert second.person.known
        assert second.blocks[0].decision_id != first.decision_id
        assert second.blocks[0].at_ms == clock.ms
        was, now = set(ids(first)), set(ids(second.blocks[0]))
        told = second.blocks[0].changes
        assert {one.item_id for one in told} - {""} == was - now
        assert {one.replaced_by for one in told} - {""} == now - was
        assert {one.why for one in told} <= {"decided_anew"}
        clock.ms += 1000
        assert render(shop, "spring/1").blocks == second.blocks
        # Two decisions, two impressions.
        assert len(until(lambda: len(found := shop.served()) == 2 and found)) == 2


def likes_tents(**said: bool) -> Profile:
    return viewed("p23", "p17", at_ms=int(time.time() * 1000), **said)


@pytest.mark.parametrize("clicks", [0, 1], ids=["as first shown", "after a replacement"])
def test_who_unsubscribes_gets_no_email_that_was_rendered_before(
    shop: Shop, other: Shop, clicks: int
) -> None:
    put_visitor(shop.store, "v1", likes_tents())
    first = render(shop, "spring/1").blocks[0]
    for item in ids(first)[:clicks]:
        put_items(shop.store, [sold_out(item)])
        until(lambda: not any(may_be_shown(one, item) for one in (shop, other)))  # noqa: B023
        render(shop, "spring/1")
    put_visitor(shop.store, "v1", likes_tents(email=False))
    empty = render(shop, "spring/1").blocks[0]
    assert (list(empty.items), empty.fallback) == ([], "unsubscribed")
    assert [(one.item_id, one.replaced_by, one.why) for one in empty.changes] == [
        (item, "", "unsubscribed") for item in ids(first)
    ]
    assert bulk(other, [pb.BulkPerson(anonymous_id="v1", render_id="spring/1")])[0].blocks[0] == empty
    assert render(shop, "spring/1").blocks[0] == empty


def test_unsubscribing_is_heeded_however_often_items_were_replaced(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.renders.MAX_STEPS", 1)  # the first decision is the last one looked up
    with Shop(tmp_path, store=store).open() as shop:
        put_visitor(store, "v1", likes_tents())
        assert render(shop, "spring/1").blocks[0].items
        put_visitor(store, "v1", likes_tents(email=False))
        empty = render(shop, "spring/1").blocks[0]
        assert (list(empty.items), empty.fallback) == ([], "unsubscribed")
        assert render(shop, "spring/1").blocks[0] == empty


def test_without_consent_a_rendering_of_before_is_personal_no_more(shop: Shop, other: Shop) -> None:
    in_cart = (CartLine("p17", 1.0, None, int(time.time())),)
    put_visitor(shop.store, "v1", msgspec.structs.replace(likes_tents(), cart=in_cart))
    slots = (CART, pb.Slot(placement="home.hero"))
    first = render(shop, "spring/1", *slots).blocks
    assert [block.fallback for block in first] == ["", ""]
    assert "p23" in ids(first[1])
    refused = msgspec.structs.replace(likes_tents(personalization=False), cart=in_cart)
    put_visitor(shop.store, "v1", refused)
    put_visitor(shop.store, "v2", refused)
    answer = render(shop, "spring/1", *slots)
    # Their own cart they still see; what is not of it says nothing of them.
    assert answer.blocks[0].items[0].item.id == "p17"
    assert answer.blocks[1].fallback == "no_consent"
    evidence = {item.reason.evidence_item_id for block in answer.blocks for item in block.items}
    assert evidence <= {"", "p17"}
    assert {one.why for one in answer.blocks[1].changes} == {"no_consent"}
    person = pb.BulkPerson(anonymous_id="v1", render_id="spring/1")
    assert bulk(other, [person], *slots)[0].blocks == answer.blocks
    # Who had refused before keeps the first answer.
    before = render(shop, "spring/1", *slots, visitor="v2").blocks
    assert render(other, "spring/1", *slots, visitor="v2").blocks == before
    assert not any(block.changes for block in before)


class Clock:
    """A server's clock that a test sets (epoch ms)."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms


def test_a_placement_has_a_time_of_its_own(tmp_path: Path, store: MemoryStore) -> None:
    clock = Clock()
    short = msgspec.structs.replace(DEFAULT_PLACEMENTS["email.cart_recovery"], render_ttl_s=60)
    with Shop(tmp_path, store=store, now_ms=clock, placements={"email.cart_recovery": short}).open() as shop:
        cart, digest = render(shop, "spring/1", CART, DIGEST).blocks
        clock.ms += 61_000
        again = render(shop, "spring/1", CART, DIGEST).blocks
        assert again[0].decision_id != cart.decision_id
        assert again[1] == digest


def test_a_rendering_is_one_impression(shop: Shop, other: Shop) -> None:
    block = render(shop, "spring/1").blocks[0]
    for _ in range(3):
        render(other, "spring/1")
    render(other, "spring/2")
    served = until(lambda: len(found := shop.served()) == 2 and found)
    # Two servers write to the log, each in its own time.
    renderings = {event["messageId"]: event["properties"]["render_id"] for event in served}
    assert renderings.pop(block.decision_id) == "spring/1"
    assert list(renderings.values()) == ["spring/2"]


def test_other_renderings_people_and_slots_are_other_decisions(shop: Shop) -> None:
    answers = [
        render(shop, "spring/1"),
        render(shop, "spring/2"),
        render(shop, "spring/1", visitor="v2"),
        render(shop, "spring/1", pb.Slot(placement="email.digest", name="second")),
    ]
    assert len({answer.blocks[0].decision_id for answer in answers}) == 4


def test_a_slot_added_later_repeats_no_item_of_those_there(shop: Shop) -> None:
    first = render(shop, "spring/1", CART).blocks[0]
    both = render(shop, "spring/1", CART, DIGEST).blocks
    assert both[0] == first
    shown = [item.item.id for block in both for item in block.items]
    assert both[1].items
    assert len(shown) == len(set(shown))


def test_the_decision_is_the_one_that_was_claimed_first(shop: Shop, other: Shop) -> None:
    """Two servers decide at once: the second finds the claim of the first only when it claims."""
    first = render(shop, "spring/1").blocks[0]
    claimed = dict(shop.store.records)
    look_up = other.store.get_many
    other.store.get_many = lambda keys: [
        None if key.startswith("d:") else value for key, value in zip(keys, look_up(keys), strict=True)
    ]
    try:
        assert render(other, "spring/1").blocks[0] == first
    finally:
        del other.store.get_many
    assert {key: value for key, value in shop.store.records.items() if key[0] == "d"} == {
        key: value for key, value in claimed.items() if key[0] == "d"
    }


def test_without_the_state_no_email_goes_out_less_personal(shop: Shop) -> None:
    shop.store.down = True
    with pytest.raises(grpc.RpcError) as caught:
        render(shop, "spring/1")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        bulk(shop, people(3))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_rendering_is_not_hurried(tmp_path: Path, store: MemoryStore) -> None:
    put_visitor(store, "v1", viewed("p3", at_ms=int(time.time() * 1000)))
    with Shop(tmp_path, store=store, deadline_ms=1).open() as shop:
        request = pb.GetBlocksRequest(slots=[DIGEST], anonymous_id="v1", render_id="spring/1")
        answer = shop.client.GetBlocks(request)
    assert answer.person.known
    assert answer.blocks[0].fallback != "deadline"


class TestBulk:
    def test_one_response_a_person_in_order(self, shop: Shop) -> None:
        answers = bulk(shop, people(150), DIGEST, CART)
        assert [answer.render_id for answer in answers] == [f"spring/{number}" for number in range(150)]
        assert all(
            [block.placement for block in answer.blocks] == ["email.digest", "email.cart_recovery"]
            for answer in answers
        )
        assert all(block.items for answer in answers for block in answer.blocks)
        assert answers[0].request_id == "r1"

    def test_packs_have_the_same_responses(self, shop: Shop) -> None:
        one_by_one = bulk(shop, people(150), DIGEST, CART)
        request = pb.GetBlocksBulkRequest(slots=[DIGEST, CART], people=people(150), request_id="r1")
        packs = list(shop.client.GetBlocksPacks(request, timeout=30))
        assert [len(pack.responses) for pack in packs] == [64, 64, 22]
        packed = [response for pack in packs for response in pack.responses]
        assert [(one.render_id, one.request_id, one.blocks) for one in packed] == [
            (one.render_id, one.request_id, one.blocks) for one in one_by_one
        ]

    def test_all_of_it_again_is_the_same_and_no_new_impression(self, shop: Shop) -> None:
        first, second = bulk(shop, people(10)), bulk(shop, people(10))
        assert [answer.blocks for answer in first] == [answer.blocks for answer in second]
        until(lambda: len(shop.served()) == 10)

    def test_more_people_than_the_queue_holds_are_all_logged(
        self, tmp_path: Path, store: MemoryStore
    ) -> None:
        with Shop(tmp_path, store=store, served_queue=200).open() as shop:
            bulk(shop, people(700))
            until(lambda: len(shop.served()) == 700)
            assert shop.figure("headrace_served_dropped_total") == 0

    def test_stops_when_the_caller_does(self, shop: Shop) -> None:
        request = pb.GetBlocksBulkRequest(slots=[DIGEST], people=people(20_000))
        call = shop.client.GetBlocksBulk(request)
        next(call)
        call.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.CANCELLED
        # The stream has given its place back: the next may have it.
        assert until(lambda: _try(shop))
        assert len([key for key in shop.store.records if key.startswith("d:")]) < 20_000

    def test_streams_leave_threads_to_pages(self, tmp_path: Path, store: MemoryStore) -> None:
        with Shop(tmp_path, store=store, threads=2, served_queue=1).open() as shop:
            shop.log.down = True  # so that the stream has to wait for it
            request = pb.GetBlocksBulkRequest(slots=[DIGEST], people=people(200))
            call = shop.client.GetBlocksBulk(request)
            until(lambda: shop.running.queue.depth)
            with pytest.raises(grpc.RpcError) as caught:
                bulk(shop, people(1))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert render(shop, "x").blocks
            call.cancel()

    @pytest.mark.parametrize(
        ("person", "said"),
        [
            (
                pb.BulkPerson(anonymous_id="v1"),
                "Expected an id of this rendering, got nothing - at `people[1].render_id`",
            ),
            (
                pb.BulkPerson(anonymous_id="null", render_id="x"),
                "Expected an id that names somebody in one of the two, got `null` - at `people[1]`",
            ),
            (
                pb.BulkPerson(user_id="u", render_id="x", context=pb.Context(age=151)),
                "Expected at most 150, got 151 - at `people[1].context.age`",
            ),
            (
                pb.BulkPerson(user_id="u" * 201, render_id="x"),
                "Expected at most 200 bytes, got 201 bytes - at `people[1].user_id`",
            ),
        ],
        ids=["render_id", "nobody", "age", "long"],
    )
    def test_a_wrong_person(self, shop: Shop, person: pb.BulkPerson, said: str) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            bulk(shop, [*people(1), person])
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, said)

    def test_too_many_people(self, tmp_path: Path, store: MemoryStore) -> None:
        with Shop(tmp_path, store=store, max_bulk_people=2).open() as shop:
            with pytest.raises(grpc.RpcError) as caught:
                bulk(shop, people(3))
            assert caught.value.details() == "Expected at most 2, got 3 - at `people`"


def _try(shop: Shop) -> bool:
    try:
        return bool(bulk(shop, people(1, "after")))
    except grpc.RpcError:
        return False
