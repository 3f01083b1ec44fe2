"""Track, through a real client."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest

from recsys.decode import Decoder
from recsys.events import MAX_EVENT_BYTES, Action, Arrival
from recsys.ports import LogUnavailable, partition_of
from server.pb import headrace_pb2 as pb
from tests.fakes import MemoryStore
from tests.server.shop import Shop


def event(**fields: Any) -> bytes:
    return json.dumps({"type": "track", "event": "Product Viewed", "anonymousId": "v1", **fields}).encode()


def track(shop: Shop, *events: bytes) -> list[pb.Receipt]:
    return list(shop.client.Track(pb.TrackRequest(events=events), timeout=10).receipts)


def refused(shop: Shop, *events: bytes) -> grpc.RpcError:
    before = len(shop.log.records)
    with pytest.raises(grpc.RpcError) as caught:
        track(shop, *events)
    assert len(shop.log.records) == before
    return caught.value


def test_an_event_is_in_the_log_as_it_came(shop: Shop) -> None:
    raw = event(messageId="m1", properties={"product_id": "p1"})
    (receipt,) = track(shop, raw)
    (record,) = shop.log.records
    assert (record.value, record.key) == (raw, "v1")
    assert receipt.position == str(record.position)
    assert (receipt.message_id, receipt.HasField("problem")) == ("m1", False)


def test_events_without_an_id_are_events_of_their_own_and_can_be_sent_again(shop: Shop) -> None:
    same = event(properties={"product_id": "p1"})
    receipts = track(shop, same, same)
    ids = [json.loads(record.value)["messageId"] for record in shop.log.records]
    assert ids == [receipt.message_id for receipt in receipts]
    assert len(set(ids)) == 2
    assert all(json.loads(record.value)["properties"] == {"product_id": "p1"} for record in shop.log.records)


def test_a_batch_call_is_taken_apart(shop: Shop) -> None:
    batch = json.dumps(
        {
            "batch": [json.loads(event(messageId="m1")), {"type": "page", "anonymousId": "v2"}],
            "context": {"page": {"path": "/tents"}},
        }
    ).encode()
    receipts = track(shop, event(messageId="m0"), batch)
    assert [receipt.call for receipt in receipts] == [0, 1, 1]
    assert [record.key for record in shop.log.records] == ["v1", "v1", "v2"]
    assert all(b"/tents" in record.value for record in shop.log.records[1:])


def test_events_of_one_visitor_stay_in_order_in_one_partition(shop: Shop) -> None:
    receipts = track(shop, *(event(messageId=f"m{number}") for number in range(20)))
    positions = [receipt.position.split("-") for receipt in receipts]
    assert {partition for partition, _ in positions} == {str(partition_of("v1", 4))}
    assert [int(offset) for _, offset in positions] == list(range(20))


def test_a_broken_event_is_kept_and_its_receipt_tells_the_problem(shop: Shop) -> None:
    raw = event(properties={"product_id": []}, messageId="m1")
    receipts = track(shop, raw, b"{", event(messageId="m2"))
    assert [record.value for record in shop.log.records][:2] == [raw, b"{"]
    problem = receipts[0].problem
    assert (problem.kind, problem.path) == ("wrong_type", "$.properties.product_id")
    assert "str" in problem.expected
    assert problem.got == "`array`"
    assert receipts[1].problem.kind == "invalid_json"
    assert all(receipt.position for receipt in receipts)
    assert not receipts[2].HasField("problem")
    assert shop.figure("headrace_events_total", outcome="good") == 1
    assert shop.figure("headrace_events_total", outcome="broken") == 2


def test_an_event_nested_too_deeply_is_kept_and_told(shop: Shop) -> None:
    deep = b"[" * 5000 + b"]" * 5000
    call = b'{"type":"track","event":"Product Viewed","userId":"a","properties":{"batch":%b}}' % deep
    receipts = track(shop, call, b'{"batch":[%b]}' % call)
    assert [receipt.problem.kind for receipt in receipts] == ["too_large", "too_large"]
    assert len(shop.log.records) == 2


def test_an_event_that_its_new_id_makes_too_long_is_told(shop: Shop) -> None:
    raw = event(properties={"x": "x" * (MAX_EVENT_BYTES - 110)})
    assert MAX_EVENT_BYTES - 57 < len(raw) <= MAX_EVENT_BYTES
    (receipt,) = track(shop, raw)
    assert receipt.problem.kind == "too_large"


def test_the_problem_is_the_dead_letter_the_flow_will_make(shop: Shop) -> None:
    (receipt,) = track(shop, event(event=None))
    (record,) = shop.log.records
    (dead,) = Decoder().decode(record, record.received_ms)
    assert not isinstance(dead, Arrival)
    assert (dead.kind, dead.path, dead.expected, dead.got) == (
        receipt.problem.kind,
        receipt.problem.path,
        receipt.problem.expected,
        receipt.problem.got,
    )


def test_nobody_can_say_that_a_block_was_served(shop: Shop) -> None:
    (receipt,) = track(shop, event(anonymousId="headrace:served:x", event="Block Served"))
    assert receipt.problem.kind == "no_identity"
    (record,) = shop.log.records
    assert not record.key.startswith("headrace:")
    (found,) = Decoder().decode(record, record.received_ms)
    assert not (isinstance(found, Arrival) and found.event.action is Action.SERVED)


def test_an_unread_field_whose_name_is_no_utf8_costs_no_event(shop: Shop) -> None:
    odd = b'{"\xff":1,"type":"track","event":"Product Viewed","anonymousId":"v1","properties":{"sku":"t"}}'
    answer = shop.client.Track(pb.TrackRequest(events=[odd, event()]), timeout=5)
    assert [receipt.HasField("problem") for receipt in answer.receipts] == [False, False]
    assert odd in [record.value for record in shop.log.records]


class TestLimits:
    def test_no_events(self, shop: Shop) -> None:
        assert refused(shop).details() == "Expected 1 to 500, got 0 - at `events`"

    def test_too_many_events(self, shop: Shop) -> None:
        assert refused(shop, *[b"{}"] * 501).details() == "Expected 1 to 500, got 501 - at `events`"

    def test_too_many_events_in_batch_calls(self, shop: Shop) -> None:
        batch = json.dumps({"batch": [{}] * 400}).encode()
        assert (
            refused(shop, batch, batch).details()
            == "Expected at most 100 events, got 400 - at `events[1].batch`"
        )

    def test_a_long_event(self, shop: Shop) -> None:
        error = refused(shop, event(), event(properties={"note": "x" * 262_144}))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith("Expected an event of at most 262144 bytes, got 2622")
        assert error.details().endswith(" - at `events[1]`")

    def test_a_long_call(self, shop: Shop) -> None:
        assert (
            refused(shop, b"x" * 524_289).details()
            == "Expected at most 524288 bytes, got 524289 bytes - at `events[0]`"
        )

    def test_a_small_call_that_asks_for_gigabytes(self, shop: Shop) -> None:
        batch = json.dumps({"batch": [{}] * 500, "context": {"note": "x" * 200_000}}).encode()
        assert refused(shop, batch).details().startswith("Expected at most 8388608 bytes, got 100")

    def test_a_batch_call_of_none(self, shop: Shop) -> None:
        assert refused(shop, b'{"batch":[]}').details() == (
            "Expected 1 event or more, got none - at `events[0].batch`"
        )

    def test_a_batch_call_in_a_batch_call(self, shop: Shop) -> None:
        batch = json.dumps({"batch": [{"batch": [{}]}]}).encode()
        assert refused(shop, batch).details() == (
            "Expected single events in a batch call, got a batch call in a batch call - at `events[0]`"
        )

    def test_a_message_too_large_for_grpc(self, shop: Shop) -> None:
        error = refused(shop, *[b"x" * 500_000] * 40)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_log_that_is_down_acknowledges_nothing(shop: Shop) -> None:
    shop.log.down = True
    error = refused(shop, event())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    (details,) = (value for name, value in error.trailing_metadata() if name == "grpc-status-details-bin")
    assert b"google.rpc.RetryInfo" in details


def test_a_log_that_hangs_keeps_one_track_waiting_and_the_next_not(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.service.LOG_REST_S", 60.0)
    waited = []

    def hang(records: object, patience_s: float) -> NoReturn:
        waited.append(patience_s)
        time.sleep(patience_s)
        raise LogUnavailable("hangs")

    with Shop(tmp_path, store=store).open() as shop:
        monkeypatch.setattr(shop.log, "append", hang)
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                shop.client.Track(pb.TrackRequest(events=[event()]), timeout=1.0)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE  # before the deadline is over
    assert len(waited) == 1
    assert 0.5 < waited[0] < 1.0


def test_the_log_may_be_down_while_blocks_are_asked_for(shop: Shop) -> None:
    shop.log.down = True
    answer = shop.client.GetBlocks(pb.GetBlocksRequest(slots=[pb.Slot(placement="home.hero")]), timeout=5)
    assert answer.blocks[0].items
