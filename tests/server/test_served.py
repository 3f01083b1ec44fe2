"""What was served: in the log, off the request's path, and explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.block import Block, BlockItem, Freshness, Lineup, Reason, Slot
from recsys.decode import Decoder
from recsys.events import MAX_EVENT_BYTES, Action, Arrival
from recsys.keys import decision_key
from recsys.ports import Position, Record
from server.pb import headrace_pb2 as pb
from server.requests import Asker, Caller
from server.served import (
    RecentDecisions,
    Served,
    claim_of,
    decode_served,
    encode_served,
    record_of,
)
from tests.fakes import MemoryLog, MemoryStore
from tests.golden.formats import FOLDER
from tests.server.blocks import AT_MS, served
from tests.server.shop import Shop, product, put_items, put_visitor, until, viewed


def decoded(one: Served) -> Any:
    record = record_of(one, AT_MS + 7)
    (found,) = Decoder().decode(Record(Position(0, 1), *record), AT_MS + 7)
    return found


CLAIMED = served(render_id="may:v1", message=b"\x0a\x02d0\x00\xff", beside=("d1",))


@pytest.mark.parametrize(
    ("version", "propensity"), [(1, 1.0), (2, 0.25), (3, 0.25)], ids=["named", "arrays", "columns"]
)
def test_old_events_mean_what_they_meant(version: int, propensity: float) -> None:
    """Items with their fields named, then as arrays, then in columns: the log keeps all of them."""
    new = BlockItem("article:a1", 0.25, Reason("explore", "new"), propensity)
    items = Lineup.of([*served().block.items, new])
    block = msgspec.structs.replace(
        served().block, decision_id="d1", items=items, fallback="no_model", model_version="v1"
    )
    caller = Caller("r1", {"market": "de", "device": "ios"})
    message = b"message" if version < 3 else b""  # since then claims have it
    meant = Served(block, Asker("v1", "ann"), "u:ann", caller, "mail-1", message)
    assert decode_served((FOLDER / f"served_event_v{version}.json").read_bytes()) == meant


@pytest.mark.parametrize("version", [1, 2], ids=["unmarked", "marked"])
def test_claims_mean_what_they_meant(version: int) -> None:
    assert decode_served((FOLDER / f"served_claim_v{version}.bin").read_bytes()) == CLAIMED


class TestEvent:
    @pytest.mark.parametrize(
        "asker", [Asker("v1", None), Asker(None, "ann"), Asker("v1", "ann"), Asker(None, None)], ids=str
    )
    def test_the_flow_takes_it_as_a_block_served(self, asker: Asker) -> None:
        found = decoded(served(asker=asker))
        assert isinstance(found, Arrival)
        event = found.event
        assert (event.action, event.message_id, event.at_ms) == (Action.SERVED, "d0", AT_MS)
        assert event.user_id == asker.user_id

    @settings(deadline=None)
    @given(
        st.builds(
            Served,
            block=st.builds(
                Block,
                decision_id=st.text(min_size=1, max_size=36),
                slot=st.text(max_size=200),
                placement=st.text(max_size=20),
                items=st.lists(
                    st.builds(
                        BlockItem,
                        st.text(min_size=1, max_size=20),
                        st.integers(-9, 9).map(float),
                        st.builds(Reason, st.text(), st.text(), st.text(), st.text(), st.integers(0, AT_MS)),
                    ),
                    max_size=3,
                ).map(Lineup.of),
                fallback=st.text(max_size=20),
                model_version=st.text(max_size=20),
                freshness=st.builds(
                    Freshness,
                    st.integers(0, AT_MS),
                    st.integers(0, AT_MS),
                    st.integers(-1, AT_MS),
                    st.booleans(),
                ),
                at_ms=st.integers(0, 4 * AT_MS),
            ),
            asker=st.builds(Asker, st.none() | st.just("v1"), st.none() | st.just("ann")),
            person=st.sampled_from(["", "a:v1"]),
            caller=st.builds(
                Caller,
                st.text(max_size=9),
                st.dictionaries(st.sampled_from(["market", "page_url"]), st.text(min_size=1)),
            ),
            render_id=st.text(max_size=9),
            message=st.binary(),
            asked=st.none(),
            beside=st.lists(st.text(max_size=36), max_size=3).map(tuple),
            without_consent=st.booleans(),
        )
    )
    def test_reads_back_what_was_written(self, one: Served) -> None:
        assert decode_served(claim_of(one, bytes(8))) == one
        assert decode_served(encode_served(one)) == msgspec.structs.replace(one, message=b"")

    def test_reads_what_older_versions_wrote(self) -> None:
        one = served()
        reason = one.block.items[0].reason
        event = msgspec.json.decode(encode_served(one))
        event["properties"]["items"] = [
            {
                "id": "p1",
                "position": 0,
                "score": 0.5,
                "source": reason.source,
                "reason": reason.text,
                "evidence_item_id": reason.evidence_item,
                "evidence_event": reason.evidence_event,
                "evidence_at_ms": reason.evidence_at_ms,
            }
        ]
        assert decode_served(msgspec.json.encode(event)) == one

    def test_what_was_asked_is_left_out_where_it_is_too_long_for_an_event(self) -> None:
        asked = Slot(name="top", placement="home.hero", limit=3, exclude=("x" * 200,) * 2000)
        encoded = encode_served(served(asked=asked))
        assert len(encoded) <= MAX_EVENT_BYTES
        assert decode_served(encoded) == served()


def test_recent_decisions_are_bounded() -> None:
    recent = RecentDecisions(bound=2)
    recent.add([served(number) for number in range(3)])
    assert recent.get("d0") is None
    assert recent.get("d2") == served(2)


class TestThroughTheServer:
    def ask(self, shop: Shop, **fields: Any) -> pb.Block:
        request = pb.GetBlocksRequest(slots=[pb.Slot(placement="home.hero")], **fields)
        return shop.client.GetBlocks(request, timeout=5).blocks[0]

    def test_what_was_served_is_in_the_log(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=AT_MS))
        block = self.ask(
            shop, anonymous_id="v1", user_id="", request_id="r1", context=pb.Context(market="DE")
        )
        (event,) = until(shop.served)
        assert event["event"] == "Block Served"
        assert (event["messageId"], event["anonymousId"]) == (block.decision_id, "v1")
        said = event["properties"]
        items = said["items"]
        assert items["ids"] == [item.item.id for item in block.items]
        assert items["scores"] == pytest.approx([item.score for item in block.items])
        assert [items["told"][why][0] for why in items["whys"]] == [item.source for item in block.items]
        assert set(items) == {"ids", "scores", "told", "whys"}
        assert (said["person"], said["request_id"], said["market"]) == ("a:v1", "r1", "DE")
        assert said["freshness"]["event_at_ms"] == AT_MS

    def test_explain(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=AT_MS))
        block = self.ask(shop, anonymous_id="v1", request_id="r1", context=pb.Context(device="phone"))
        explained = shop.client.Explain(pb.ExplainRequest(decision_id=block.decision_id))
        assert explained.block == block
        assert (explained.anonymous_id, explained.user_id, explained.person) == ("v1", "", "a:v1")
        assert (explained.request_id, explained.context.device) == ("r1", "phone")

    def test_explain_by_another_server_once_the_flow_has_filed_it(self, tmp_path: Path, shop: Shop) -> None:
        block = self.ask(shop, anonymous_id="v1")
        (record,) = until(
            lambda: [record for record in shop.log.records if record.key.startswith("headrace:")]
        )
        (arrival,) = Decoder().decode(record, record.received_ms)
        shop.store.claim(decision_key(arrival.event.message_id), arrival.raw, 60)
        with Shop(tmp_path, MemoryLog(), shop.store).open() as other:
            explained = other.client.Explain(pb.ExplainRequest(decision_id=block.decision_id))
        assert [item.item.title for item in explained.block.items] == [
            item.item.title for item in block.items
        ]
        assert [item.reason for item in explained.block.items] == [item.reason for item in block.items]

    def test_what_was_asked_reads_back(self) -> None:
        asked = Slot(name="top", placement="home.hero", limit=3, item="p1", exclude=("p2",), filter="true")
        one = served(asked=asked)
        assert decode_served(encode_served(one)).asked == asked

    def test_an_account_of_each_item_and_of_one_that_is_not_there(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=AT_MS))
        slots = [pb.Slot(placement="home.hero"), pb.Slot(placement="home.feed", filter="price_now > 105.0")]
        request = pb.GetBlocksRequest(slots=slots, anonymous_id="v1")
        hero, feed = shop.client.GetBlocks(request, timeout=5).blocks
        other = hero.items[0].item.id
        explained = shop.client.Explain(
            pb.ExplainRequest(decision_id=feed.decision_id, item_ids=[other, "p1", "nothing"])
        )
        assert explained.as_taken
        *shown, beside, filtered, unknown = explained.accounts
        assert [one.item_id for one in shown] == [item.item.id for item in feed.items]
        assert [one.place for one in shown] == list(range(1, len(feed.items) + 1))
        assert all(one.text.startswith(f"Place {one.place}") for one in shown)
        if other != "p1":
            assert (filtered.verdict, filtered.detail) == ("filtered", "price_now > 105.0")
        assert unknown.text == "Not shown: the catalogue has no such item."
        assert beside.verdict in ("beside", "filtered")

    def test_a_decision_is_told_as_it_was_taken_and_beside_it_what_would_be_now(self, shop: Shop) -> None:
        put_visitor(shop.store, "v1", viewed("p3", at_ms=AT_MS))
        block = self.ask(shop, anonymous_id="v1")
        gone = block.items[0].item.id
        put_items(shop.store, [product(int(gone[1:]), available=False)])
        until(lambda: shop.running.live.shelf.columns.offer[int(gone[1:])] == 0)
        request = pb.ExplainRequest(decision_id=block.decision_id, item_ids=["nothing"])
        explained = shop.client.Explain(request)
        assert not explained.as_taken
        assert [item.item.id for item in explained.block.items] == [item.item.id for item in block.items]
        *of_items, of_another = explained.accounts
        for told, was in zip(of_items, block.items, strict=True):
            assert (told.item_id, told.verdict, told.sources[0].source) == (was.item.id, "shown", was.source)
            assert (told.score, told.sources[0].reason) == (was.score, was.reason)
            assert (told.rank, told.sources[0].share, list(told.features)) == (0, 0.0, []), "not kept"
            assert told.HasField("now")
            assert "named by" not in told.text
        assert of_another.text == "As of now: Not shown: the catalogue has no such item."
        first = explained.accounts[0]
        assert (first.item_id, first.place) == (gone, 1)
        assert (first.now.verdict, first.now.detail) == ("unavailable", "sold out")
        assert block.items[0].reason.text in first.text

    def test_too_many_items_to_explain(self, shop: Shop) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            shop.client.Explain(pb.ExplainRequest(decision_id="x", item_ids=["p1"] * 101))
        assert caught.value.details() == "Expected at most 100, got 101 - at `item_ids`"

    @pytest.mark.parametrize("decision_id", ["", "x", "0" * 36, "é" * 36, "x" * 100_000])
    def test_a_decision_that_is_not_kept(self, shop: Shop, decision_id: str) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            shop.client.Explain(pb.ExplainRequest(decision_id=decision_id))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    def test_an_unreadable_decision_is_not_found(self, shop: Shop) -> None:
        shop.store.put_many({decision_key("0" * 36): b"{"})
        with pytest.raises(grpc.RpcError) as caught:
            shop.client.Explain(pb.ExplainRequest(decision_id="0" * 36))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    def test_a_graceful_stop_logs_what_was_served(self, tmp_path: Path, store: MemoryStore) -> None:
        with Shop(tmp_path, store=store).open() as shop:
            for _ in range(5):
                self.ask(shop)
        assert len(shop.served()) == 5

    def test_a_log_that_is_down_costs_requests_nothing(self, tmp_path: Path, store: MemoryStore) -> None:
        with Shop(tmp_path, store=store, served_queue=5).open() as shop:
            shop.log.down = True
            for _ in range(9):
                assert self.ask(shop).items
            assert shop.figure("headrace_served_dropped_total") == 4
            shop.log.down = False
            until(lambda: len(shop.served()) == 5)
