"""Bytes joined by hand are what the generated classes read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.block import Block, BlockItem, Change, Freshness, Lineup, Reason, Urgency
from recsys.catalog import Item
from server import wire
from server.pb import headrace_pb2 as pb
from server.wire import (
    bare_item_field,
    block_message,
    item_field,
    packs_of,
    person_message,
    response_message,
    unpacked,
    varint,
)

# Lengths at which a length takes one more byte, in bytes and in characters.
texts = st.text(max_size=12) | st.sampled_from(["x" * 127, "x" * 128, "é" * 64, "x" * 16_383, "é" * 8192])
scores = st.floats(width=32, allow_nan=False)
times_ms = st.integers(0, 2**62)
int64s = st.integers(-(2**63), 2**63 - 1)
reasons = st.builds(Reason, texts, texts, texts, texts, times_ms)
chances = st.one_of(st.just(1.0), st.floats(0, 1, width=32))
pressing = st.none() | st.builds(Urgency, st.none() | st.integers(0, 9), st.none() | times_ms)
items = st.builds(BlockItem, texts.filter(bool), scores, reasons, chances, pressing)
blocks = st.builds(
    Block,
    decision_id=texts,
    slot=texts,
    placement=texts,
    items=st.lists(items, max_size=4).map(Lineup.of),
    fallback=texts,
    model_version=texts,
    freshness=st.builds(Freshness, int64s, int64s, int64s, st.booleans()),
    at_ms=int64s,
    next_cursor=texts,
)


class Priced:
    """Facts: every item costs the same."""

    def of(self, item_ids: Sequence[str], /) -> list[bytes]:
        return [item_field(Item(item, title="a title", price=1.5)) for item in item_ids]


class Bare:
    """Facts of a catalogue that knows nothing."""

    def of(self, item_ids: Sequence[str], /) -> list[bytes]:
        return [bare_item_field(item) for item in item_ids]


@given(blocks, texts)
def test_a_block_is_read_back_whole(block: Block, title: str) -> None:
    read = pb.Block.FromString(block_message(block, title, Priced()))
    assert (read.decision_id, read.slot, read.placement, read.title) == (
        block.decision_id,
        block.slot,
        block.placement,
        title,
    )
    assert (read.fallback, read.model_version, read.at_ms, read.next_cursor) == (
        block.fallback,
        block.model_version,
        block.at_ms,
        block.next_cursor,
    )
    freshness = read.freshness
    assert block.freshness == Freshness(
        freshness.event_at_ms, freshness.age_ms, freshness.flow_lag_ms, freshness.reached
    )
    assert [_item(item) for item in read.items] == list(block.items)
    assert all((item.item.title, item.item.price) == ("a title", 1.5) for item in read.items)


def _item(read: pb.BlockItem) -> BlockItem:
    said = read.reason
    reason = Reason(read.source, said.text, said.evidence_item_id, said.event, said.at_ms)
    propensity = read.propensity if read.HasField("propensity") else 1.0
    urgency = None
    if read.HasField("urgency"):
        told = read.urgency
        urgency = Urgency(
            told.stock if told.HasField("stock") else None,
            told.sale_end_ms if told.HasField("sale_end_ms") else None,
        )
    return BlockItem(read.item.id, read.score, reason, propensity, urgency)


@given(st.lists(blocks, max_size=2), texts, texts)
def test_a_response_is_read_back_whole(some: list[Block], request_id: str, render_id: str) -> None:
    person = person_message(
        "u:ann", "comparison", 0.5, [("2 products viewed", 0.25), ("", -0.5)], "purchase", known=True
    )
    messages = [block_message(block, "", Priced()) for block in some]
    read = pb.GetBlocksResponse.FromString(response_message(messages, person, 1.25, request_id, render_id))
    assert [block.decision_id for block in read.blocks] == [block.decision_id for block in some]
    assert (read.server_ms, read.request_id, read.render_id) == (1.25, request_id, render_id)
    assert read.person == pb.Person(
        person="u:ann",
        intent_tier="comparison",
        intent_score=0.5,
        intent_reasons=[
            pb.IntentReason(text="2 products viewed", points=0.25),
            pb.IntentReason(points=-0.5),
        ],
        stage="purchase",
        known=True,
    )


def test_an_item_tells_price_and_price_before() -> None:
    message = item_field(Item("p1", price=20.0, sale_price=15.0, category=("Outdoor", "Tents")))
    read = pb.BlockItem.FromString(message).item
    assert (read.price, read.full_price, list(read.category)) == (15.0, 20.0, ["Outdoor", "Tents"])
    assert not pb.BlockItem.FromString(item_field(Item("p2"))).item.HasField("price")


def test_a_block_tells_what_changed() -> None:
    changes = (Change("p1", "p3", "sold_out"), Change("p2", "", "sold_out"), Change("", "p4", "decided_anew"))
    block = Block("d", "s", "p", Lineup(), "", "", Freshness(0, 0, -1, True), 1, changes=changes)
    read = pb.Block.FromString(block_message(block, "", Bare())).changes
    assert [Change(one.item_id, one.replaced_by, one.why) for one in read] == list(changes)


def test_an_item_without_facts_shows_its_id() -> None:
    item = BlockItem("article:7", 1.0, Reason("popular", ""))
    block = Block("d", "s", "p", Lineup.of([item]), "", "", Freshness(0, 0, -1, True), 1)
    (read,) = pb.Block.FromString(block_message(block, "", Bare())).items
    assert (read.item.id, read.item.type) == ("article:7", pb.ITEM_TYPE_ARTICLE)


@given(st.integers(0, 2**64 - 1))
def test_varints(number: int) -> None:
    encoded = varint(number)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == number
    assert all(byte & 0x80 for byte in encoded[:-1])
    assert not encoded[-1] & 0x80


@pytest.mark.parametrize("sizes", [(), (1,), (1, 100, 20_000, 3), (90_000, 20_000), (5, 300_000, 5, 5)])
def test_packs_hold_all_responses_in_order_and_no_more_bytes_than_they_may(sizes, monkeypatch) -> None:
    monkeypatch.setattr(wire, "MAX_PACK_BYTES", 100_000)
    responses = [pb.GetBlocksResponse(request_id="x" * size) for size in sizes]
    packs = list(packs_of([one.SerializeToString() for one in responses]))
    read = [pb.BlocksPack.FromString(pack) for pack in packs]
    assert [response for pack in read for response in pack.responses] == responses
    assert all(len(pack) <= 100_000 or len(one.responses) == 1 for pack, one in zip(packs, read, strict=True))
    apart = [bytes(one) for pack in packs for one in unpacked(pack)]
    assert apart == [varint(one.ByteSize()) + one.SerializeToString() for one in responses]
