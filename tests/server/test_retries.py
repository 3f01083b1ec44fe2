"""A call that is sent again is one impression; one that nobody waits for any more is none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event

import grpc
import pytest

from recsys.block import Block
from recsys.decide import Asked, decide_all
from recsys.placement import Placement
from server.pb import headrace_pb2 as pb
from tests.fakes import MemoryStore
from tests.server.shop import Shop, catalogue, put_items, put_visitor, until, viewed

HERO, FEED = pb.Slot(placement="home.hero"), pb.Slot(placement="home.feed")


def ask(shop: Shop, request_id: str, *slots: pb.Slot, visitor: str = "v1") -> pb.GetBlocksResponse:
    request = pb.GetBlocksRequest(slots=slots or (HERO, FEED), anonymous_id=visitor, request_id=request_id)
    return shop.client.GetBlocks(request, timeout=10)


def decisions(answer: pb.GetBlocksResponse) -> list[str]:
    return [block.decision_id for block in answer.blocks]


def is_quiet(shop: Shop, events: int) -> bool:
    """Whether the log has so many blocks served once the queue is empty."""
    until(lambda: len(shop.served()) >= events)
    until(lambda: shop.running.queue.depth == 0)
    return len(shop.served()) == events


@pytest.fixture
def other(tmp_path: Path, shop: Shop) -> Iterator[Shop]:
    """Another server on the same log and state."""
    with Shop(tmp_path, shop.log, shop.store).open() as other:
        yield other


class TestRetry:
    def test_any_server_answers_it_as_it_was_answered_and_counts_one_impression(
        self, shop: Shop, other: Shop
    ) -> None:
        first = ask(shop, "r1")
        put_visitor(shop.store, "v1", viewed("p3", "p9", at_ms=int(time.time() * 1000)))
        again = [ask(shop, "r1"), ask(other, "r1")]
        assert [list(answer.blocks) for answer in again] == [list(first.blocks)] * 2
        assert again[0].request_id == "r1"
        assert again[0].person.known
        assert is_quiet(shop, 2)

    def test_another_question_under_the_same_id_is_no_retry(self, shop: Shop) -> None:
        first = ask(shop, "r1", HERO)
        others = [
            ask(shop, "r1", pb.Slot(placement="home.hero", limit=2)),
            ask(shop, "r1", HERO, visitor="v2"),
            ask(shop, "r2", HERO),
        ]
        assert len({*decisions(first), *(one for answer in others for one in decisions(answer))}) == 4
        assert is_quiet(shop, 4)

    def test_an_id_used_again_later_is_another_request(self, tmp_path: Path, store: MemoryStore) -> None:
        now = [1_790_000_000_000]
        with Shop(tmp_path, store=store, now_ms=lambda: now[0], retry_s=60).open() as shop:
            first = ask(shop, "r1")
            now[0] += 59_000
            assert decisions(ask(shop, "r1")) == decisions(first)
            now[0] += 2_000
            second = ask(shop, "r1")
            assert not {*decisions(second)} & {*decisions(first)}
            assert not any(block.changes for block in second.blocks)
            now[0] += 10_000
            assert decisions(ask(shop, "r1")) == decisions(second)

    def test_while_the_state_is_down_it_is_answered_from_memory(self, shop: Shop) -> None:
        shop.store.down = True
        first = ask(shop, "r1")
        again = ask(shop, "r1")
        assert list(again.blocks) == list(first.blocks)
        assert is_quiet(shop, 2)

    def test_explain_knows_it(self, shop: Shop) -> None:
        block = ask(shop, "r1", HERO).blocks[0]
        told = shop.client.Explain(pb.ExplainRequest(decision_id=block.decision_id), timeout=10)
        assert (told.block, told.request_id, told.render_id) == (block, "r1", "")


class Late:
    """A decider that takes its time until it is let go."""

    def __init__(self) -> None:
        self.started, self.go = Event(), Event()

    def __call__(self, asked: Sequence[Asked], placements: Mapping[str, Placement]) -> list[list[Block]]:
        self.started.set()
        assert self.go.wait(10)
        return decide_all(asked, placements)


class TestGone:
    @pytest.mark.parametrize("fields", [{}, {"request_id": "r1"}, {"render_id": "m1"}])
    def test_what_is_decided_behind_the_callers_deadline_is_not_logged_as_shown(
        self, tmp_path: Path, store: MemoryStore, fields: dict[str, str]
    ) -> None:
        late = Late()
        with Shop(tmp_path, store=store, decider=late).open() as shop:
            request = pb.GetBlocksRequest(slots=[HERO], anonymous_id="v1", **fields)
            with pytest.raises(grpc.RpcError) as caught:
                shop.client.GetBlocks(request, timeout=0.2)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert late.started.is_set()
            late.go.set()
            until(lambda: shop.figure("headrace_requests_total", rpc="GetBlocks", code="DEADLINE_EXCEEDED"))
            # The next try is decided, and is the impression.
            assert shop.client.GetBlocks(request, timeout=10).blocks[0].items
            assert is_quiet(shop, 1)

    def test_a_wait_for_freshness_ends_with_the_call_and_nothing_is_decided(self, tmp_path: Path) -> None:
        store, late = Watched(), Late()
        put_items(store, catalogue())
        with Shop(tmp_path, store=store, decider=late).open() as shop:
            request = pb.GetBlocksRequest(slots=[HERO], anonymous_id="v1", at_least_as_fresh="0-99")
            call = shop.client.GetBlocks.future(request, timeout=60)
            assert store.asked.wait(10)
            call.cancel()
            until(lambda: shop.figure("headrace_requests_total", rpc="GetBlocks", code="DEADLINE_EXCEEDED"))
            assert not late.started.is_set()
            assert not shop.served()


class Watched(MemoryStore):
    """A state that tells when a visitor is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Event()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if "v:v1" in keys:
            self.asked.set()
        return super().get_many(keys)


def mailing(people: int) -> pb.GetBlocksBulkRequest:
    some = [pb.BulkPerson(anonymous_id=f"v{one}", render_id=f"spring/{one}") for one in range(people)]
    return pb.GetBlocksBulkRequest(slots=[HERO], people=some)


def test_a_mailing_stops_at_the_callers_deadline_and_asked_again_repeats_itself(shop: Shop) -> None:
    call, sent = shop.client.GetBlocksBulk(mailing(50_000), timeout=0.5), list[pb.GetBlocksResponse]()
    with pytest.raises(grpc.RpcError) as caught:
        sent.extend(call)
    came = len(sent)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: shop.figure("headrace_requests_total", rpc="GetBlocksBulk", code="CANCELLED") == 1)
    again = until(lambda: _all_of(shop, mailing(max(came, 1))))  # once the stream has given its place back
    assert len(again) == max(came, 1)
    claimed = len([key for key in shop.store.records if key.startswith("d:")])
    # At most the chunk at work and the one the connection holds were claimed and not read.
    assert came <= claimed < 50_000
    assert is_quiet(shop, claimed)


def _all_of(shop: Shop, request: pb.GetBlocksBulkRequest) -> list[pb.GetBlocksResponse]:
    try:
        return list(shop.client.GetBlocksBulk(request, timeout=30))
    except grpc.RpcError:
        return []
