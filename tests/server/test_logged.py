"""What a mailing shows is in the log before its answers go out."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Thread

import grpc
import pytest

from server.pb import headrace_pb2 as pb
from tests.fakes import MemoryStore
from tests.server.shop import Shop, until

DIGEST = pb.Slot(placement="email.digest", limit=3)
HERO = pb.Slot(placement="home.hero", limit=3)


def request(count: int) -> pb.GetBlocksBulkRequest:
    people = [pb.BulkPerson(anonymous_id=f"v{number}", render_id=f"may:v{number}") for number in range(count)]
    return pb.GetBlocksBulkRequest(slots=[DIGEST, HERO], people=people)


def decisions(answers: list[pb.GetBlocksResponse]) -> list[str]:
    return [block.decision_id for answer in answers for block in answer.blocks]


def logged(shop: Shop) -> list[str]:
    return [event["messageId"] for event in shop.served()]


class TestAnswersWaitForTheLog:
    def test_what_goes_out_is_durable(self, shop: Shop) -> None:
        for answer in shop.client.GetBlocksBulk(request(200), timeout=30):
            assert set(decisions([answer])) <= set(logged(shop))

    def test_they_do_not_wait_for_the_next_fifth_of_a_second(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("server.served_queue.GATHER_S", 3600.0)
        assert len(list(shop.client.GetBlocksBulk(request(200), timeout=30))) == 200

    def test_a_log_that_is_down_holds_them_back_and_two_packs_at_most(self, shop: Shop) -> None:
        shop.log.down = True
        came: list[pb.GetBlocksResponse] = []
        call = shop.client.GetBlocksBulk(request(640), timeout=60)
        reading = Thread(target=lambda: came.extend(call))
        reading.start()
        until(lambda: shop.running.queue.depth == 2 * 2 * 64)
        time.sleep(0.3)
        assert not came
        assert shop.running.queue.depth == 2 * 2 * 64
        shop.log.down = False
        reading.join(30)
        assert len(came) == 640
        assert Counter(logged(shop)) == Counter(decisions(came))

    def test_a_stream_that_waits_sees_that_its_caller_has_gone(
        self, tmp_path: Path, store: MemoryStore
    ) -> None:
        with Shop(tmp_path, store=store, threads=4).open() as shop:
            shop.log.down = True
            call = shop.client.GetBlocksBulk(request(640))
            until(lambda: shop.running.queue.depth)
            call.cancel()

            def is_taken() -> bool:
                """Streams are one at a time here."""
                with suppress(grpc.RpcError):
                    for _ in shop.client.GetBlocksBulk(request(1), timeout=2):
                        return True
                return False

            shop.log.down = False
            until(is_taken)

    def test_a_stop_waits_for_no_log_that_is_down(self, tmp_path: Path, store: MemoryStore) -> None:
        shop = Shop(tmp_path, store=store)
        with shop.open():
            shop.log.down = True
            call = shop.client.GetBlocksBulk(request(640))
            until(lambda: shop.running.queue.depth)
            began_s = time.monotonic()
            shop.running.stop(grace_s=0.2, drain_s=0.2)
            assert time.monotonic() - began_s < 5
            with pytest.raises(grpc.RpcError):
                list(call)

    def test_more_pages_than_the_queue_holds_take_nothing_of_a_mailing(
        self, tmp_path: Path, store: MemoryStore
    ) -> None:
        with Shop(tmp_path, store=store, served_queue=200).open() as shop:
            shop.log.down = True
            came: list[pb.GetBlocksResponse] = []
            call = shop.client.GetBlocksBulk(request(10), timeout=60)
            reading = Thread(target=lambda: came.extend(call))
            reading.start()
            until(lambda: shop.running.queue.depth == 20)
            for number in range(250):
                page = pb.GetBlocksRequest(slots=[HERO], anonymous_id=f"p{number}")
                shop.client.GetBlocks(page, timeout=10)
            assert shop.figure("headrace_served_dropped_total") == 50
            shop.log.down = False
            reading.join(30)
            assert set(decisions(came)) <= set(logged(shop))
