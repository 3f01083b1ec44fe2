"""Calls that wait at the same time are decided together; nobody sees it but by the clock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from recsys.block import Block, Slot
from recsys.decide import Asked, decide_all
from recsys.placement import DEFAULT_PLACEMENTS, Placement
from recsys.ports import Position
from server.blocks import Blocks, Prepared
from server.deadline import CallerGone, Deadline
from server.pb import headrace_pb2 as pb
from server.requests import Asker, BlocksRequest, Caller
from tests.fakes import MemoryStore
from tests.server.shop import Shop, put_visitor, until, viewed

HERO = (Slot(name="home.hero", placement="home.hero", limit=3),)
PEOPLE = 40


class Held:
    """A decider whose first decision is held up; how many people it decided for each time, and what."""

    def __init__(self) -> None:
        self.begun, self.go = Event(), Event()
        self.sizes: list[int] = []
        self.fails_for = "nobody"

    def __call__(self, asked: Sequence[Asked], placements: Mapping[str, Placement]) -> list[list[Block]]:
        self.sizes.append(len(asked))
        if not self.begun.is_set():
            self.begun.set()
            assert self.go.wait(20)
        if self.fails_for in [one.view.person for one in asked]:
            raise RuntimeError("no")
        return decide_all(asked, placements)


def asked_at_once(shop: Shop, held: Held, messages: Sequence[pb.GetBlocksRequest]) -> list[Any]:
    """The calls, all of them done; they come while another one is held up."""
    first = shop.client.GetBlocks.future(question("first"), timeout=20)
    assert held.begun.wait(10)
    calls = [shop.client.GetBlocks.future(message, timeout=20) for message in messages]
    time.sleep(0.2)  # all of them are on their way
    held.go.set()
    first.result(20)
    for call in calls:
        call.exception(20)
    return calls


def question(visitor: str, **fields: Any) -> pb.GetBlocksRequest:
    slots = [pb.Slot(placement="home.hero"), pb.Slot(placement="product.similar", item_id="p2")]
    return pb.GetBlocksRequest(slots=slots, anonymous_id=visitor, **fields)


def shown(answer: pb.GetBlocksResponse) -> list[list[tuple[str, str]]]:
    return [[(item.item.id, item.reason.text) for item in block.items] for block in answer.blocks]


@pytest.fixture
def known(store: MemoryStore) -> MemoryStore:
    """Half of the people have looked at something, each at another product."""
    now_ms = int(time.time() * 1000)
    for number in range(0, PEOPLE, 2):
        put_visitor(store, f"v{number}", viewed(f"p{number % 9}", at_ms=now_ms - 60_000))
    return store


class TestThroughTheServer:
    def test_each_gets_what_they_would_have_got_alone_and_all_of_it_is_logged_once(
        self, tmp_path: Path, known: MemoryStore
    ) -> None:
        held = Held()
        with Shop(tmp_path, store=known, decider=held).open() as shop:
            questions = [question(f"v{number}") for number in range(PEOPLE)]
            answers = [call.result() for call in asked_at_once(shop, held, questions)]
            assert 4 in held.sizes, "some were decided together"
            assert max(held.sizes) == 4
            before = len(held.sizes)
            alone = [shop.client.GetBlocks(one, timeout=10) for one in questions]
            assert held.sizes[before:] == [1] * PEOPLE
            assert [shown(answer) for answer in answers] == [shown(answer) for answer in alone]
            assert [answer.person.known for answer in answers] == [
                number % 2 == 0 for number in range(PEOPLE)
            ]
            ids = [block.decision_id for answer in (*answers, *alone) for block in answer.blocks]
            assert len(set(ids)) == 4 * PEOPLE
            until(lambda: len(shop.served()) == 2 + 4 * PEOPLE)
            assert set(ids) < {one["messageId"] for one in shop.served()}

    def test_what_fails_for_one_of_them_costs_the_others_nothing(
        self, tmp_path: Path, known: MemoryStore
    ) -> None:
        held = Held()
        held.fails_for = "a:v20"
        with Shop(tmp_path, store=known, decider=held).open() as shop:
            calls = asked_at_once(shop, held, [question(f"v{number}") for number in range(PEOPLE)])
            assert 4 in held.sizes
            assert [number for number, call in enumerate(calls) if call.exception() is not None] == [20]
            until(lambda: len(shop.served()) == 2 + 2 * (PEOPLE - 1))

    def test_who_has_to_be_decided_alone_does_not_wait_for_others(
        self, tmp_path: Path, known: MemoryStore
    ) -> None:
        held = Held()
        with Shop(tmp_path, store=known, decider=held).open() as shop:
            questions = [question(f"v{number}", request_id=f"r{number}") for number in range(PEOPLE)]
            for call in asked_at_once(shop, held, questions):
                assert call.result().blocks
            assert held.sizes == [1] * (PEOPLE + 1)

    def test_wrong_questions_are_refused_among_right_ones(self, tmp_path: Path, known: MemoryStore) -> None:
        held = Held()
        with Shop(tmp_path, store=known, decider=held).open() as shop:
            questions = [question(f"v{number}") for number in range(PEOPLE)]
            questions[17].slots[0].placement = "nowhere"
            calls = asked_at_once(shop, held, questions)
            assert 4 in held.sizes
            assert [number for number, call in enumerate(calls) if call.exception() is not None] == [17]
            assert "slots[0].placement" in calls[17].details()


def plain(visitor: str, **fields: Any) -> BlocksRequest:
    request = BlocksRequest(Asker(visitor, None), HERO, None, "", Caller())
    return msgspec.structs.replace(request, **fields) if fields else request


class TestPrepare:
    def test_what_has_to_wait_for_its_turn_is_left_alone(self, tmp_path: Path, store: MemoryStore) -> None:
        rested = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.hero"], cooldown_s=60)
        with Shop(tmp_path, store=store, placements={"rested": rested}).open() as shop:
            requests = [
                plain("v1"),
                plain("v2", render_id="r"),
                plain("v3", caller=Caller("again")),
                plain("v4", at_least_as_fresh=Position(0, 1)),
                plain("v5", slots=(*HERO, Slot(name="rested", placement="rested", limit=3))),
                plain("v6"),
            ]
            can_prepare = [blocks_of(shop).can_prepare(request) for request in requests]
            assert can_prepare == [True, False, False, False, False, True]

    def test_where_the_state_is_down_each_is_told_so_in_turn(self, shop: Shop) -> None:
        shop.store.down = True
        assert blocks_of(shop).prepare([plain("v1"), plain("v2")]) == [None, None]

    def test_what_nobody_waits_for_any_more_was_not_shown(self, shop: Shop) -> None:
        blocks = blocks_of(shop)
        late, right = (one for one in blocks.prepare([plain("v1"), plain("v2")]) if one is not None)
        with pytest.raises(CallerGone):
            blocks.finish(late, time.monotonic(), deadline(-1.0))
        assert pb.GetBlocksResponse.FromString(finished(blocks, right)).blocks[0].items
        until(shop.served)
        assert [one["anonymousId"] for one in shop.served()] == ["v2"]


def blocks_of(shop: Shop) -> Blocks:
    return shop.running._service._blocks


def deadline(left_s: float) -> Deadline:
    return Deadline(time.monotonic() + left_s, lambda: True, is_callers=True)


def finished(blocks: Blocks, prepared: Prepared) -> bytes:
    return blocks.finish(prepared, time.monotonic(), deadline(10.0))
