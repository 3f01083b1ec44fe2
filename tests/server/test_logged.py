"""What a mailing shows is in the log before its answers go out, and a kill takes none of it."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import grpc
import msgspec
import pytest
from google.protobuf.proto import parse_length_prefixed

from recsys.open import open_log
from server import mailing
from server.client import CallFailed, Client
from server.mailing import send_all
from server.mailing_list import people_of
from server.pb import headrace_pb2 as pb
from tests.fakes import MemoryLog, MemoryStore
from tests.server.shop import Shop, product, put_items, until
from tests.server.test_main import figures, home, pids_of, serving, settings_of  # noqa: F401 (a fixture)

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


class TestWhatAKillTook:
    """Between claim and log; here by a log that stays down until the server is gone."""

    @pytest.fixture
    def killed(self, tmp_path: Path, store: MemoryStore) -> list[str]:
        """The decisions that were claimed, of which the log knows nothing."""
        with Shop(tmp_path, store=store).open() as shop:
            shop.log.down = True
            call = shop.client.GetBlocksBulk(request(20))
            until(lambda: shop.running.queue.depth == 40)
            call.cancel()
            shop.running.stop(grace_s=0.1, drain_s=0)
            assert not shop.log.records
        claimed = [key[2:] for key in store.records if key.startswith("d:")]
        assert len(claimed) == 40
        return claimed

    def test_asked_again_is_logged_and_once(
        self, tmp_path: Path, store: MemoryStore, killed: list[str]
    ) -> None:
        with Shop(tmp_path, store=store).open() as shop:
            some = decisions(list(shop.client.GetBlocksBulk(request(12), timeout=30)))
            assert Counter(logged(shop)) == Counter(some)
            until(lambda: [key for key in store.records if key.startswith("l:")])
            all_of_them = decisions(list(shop.client.GetBlocksBulk(request(20), timeout=30)))
            assert Counter(all_of_them) == Counter(killed)
            assert Counter(logged(shop)) == Counter(killed)

    def test_it_is_logged_as_it_was_claimed(
        self, tmp_path: Path, store: MemoryStore, killed: list[str]
    ) -> None:
        with Shop(tmp_path, store=store).open() as shop:
            list(shop.client.GetBlocksBulk(request(20), timeout=30))
            claims = {store.records[f"d:{one}"].partition(b"\0")[0] for one in killed}
            assert {record.value for record in shop.log.records} == claims

    @pytest.mark.parametrize("by_page", [False, True])
    def test_of_what_was_replaced_since_the_impression_of_before_is_logged(
        self, tmp_path: Path, store: MemoryStore, killed: list[str], by_page: bool
    ) -> None:
        first = msgspec.json.decode(store.records[f"d:{killed[0]}"].partition(b"\0")[0])
        (gone, *_) = first["properties"]["items"]["ids"]
        put_items(store, [product(int(gone.removeprefix("p")), available=False)])
        with Shop(tmp_path, store=store).open() as shop:
            for number in range(20 * by_page):
                person = f"v{number}"
                one = pb.GetBlocksRequest(
                    slots=[DIGEST, HERO], anonymous_id=person, render_id=f"may:{person}"
                )
                shop.client.GetBlocks(one, timeout=10)
            for _ in range(2):
                shown = decisions(list(shop.client.GetBlocksBulk(request(20), timeout=30)))
                until(lambda: [key for key in store.records if key.startswith("l:")])
            assert set(shown) != set(killed)
            assert Counter(logged(shop)) == Counter(killed)

    def test_a_page_that_repeats_it_logs_nothing(
        self, tmp_path: Path, store: MemoryStore, killed: list[str]
    ) -> None:
        with Shop(tmp_path, store=store).open() as shop:
            for _ in range(3):
                one = pb.GetBlocksRequest(slots=[DIGEST], anonymous_id="v1", render_id="may:v1")
                assert shop.client.GetBlocks(one, timeout=10).blocks[0].decision_id in killed
        assert not shop.log.records

    def test_what_was_logged_is_not_logged_again_by_another_server(
        self, tmp_path: Path, store: MemoryStore
    ) -> None:
        with Shop(tmp_path, store=store).open() as shop:
            first = decisions(list(shop.client.GetBlocksBulk(request(200), timeout=30)))
            until(lambda: len([key for key in store.records if key.startswith("l:")]) == 4)
        log = MemoryLog()
        with Shop(tmp_path, log, store).open() as other:
            assert decisions(list(other.client.GetBlocksBulk(request(200), timeout=30))) == first
        assert not log.records

    def test_a_state_that_does_not_answer_refuses_and_loses_nothing(
        self, tmp_path: Path, store: MemoryStore, killed: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Shop(tmp_path, store=store).open() as shop:
            store.down = True
            with pytest.raises(grpc.RpcError):
                list(shop.client.GetBlocksBulk(request(20), timeout=30))
            store.down = False
            list(shop.client.GetBlocksBulk(request(20), timeout=30))
            assert Counter(logged(shop)) == Counter(killed)


def test_kills_of_server_processes_take_no_impression(
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of two processes, then both, while a mailing is under way."""
    monkeypatch.setattr(mailing, "CHUNK", 128)
    people, out = [f"a:v{number}" for number in range(12_000)], home / "out.pb"
    settings = settings_of(home, processes=2)
    failed: list[Exception] = []
    done = [0]

    def told(count: int, new: int) -> None:
        done.append(count)

    def send() -> None:
        clients = [Client(f"127.0.0.1:{port}", deadline_s=5) for _ in range(4)]
        try:
            send_all(clients, [DIGEST, HERO], people_of(people, "may"), out, told, campaign="may")
        except (CallFailed, ValueError) as error:
            failed.append(error)
        finally:
            for one in clients:
                one.close()

    with serving(home, settings) as (port, metrics_port):
        sending = Thread(target=send)
        sending.start()
        for share, most in ((0.1, 1), (0.4, 2)):
            until(lambda share=share: done[-1] > share * len(people) or not sending.is_alive(), 60)
            for pid in sorted(pids_of(metrics_port))[:most]:
                os.kill(int(pid), signal.SIGKILL)
            assert done[-1] < len(people), "killed on the way"
        sending.join(120)
        assert not sending.is_alive()
        assert not failed
    shown = []
    with out.open("rb") as file:
        while (answer := parse_length_prefixed(pb.GetBlocksResponse, file)) is not None:
            shown += decisions([answer])
    assert len(shown) == len(set(shown)) == 2 * len(people)
    times: Counter[str] = Counter()
    with closing(open_log(settings.log)) as log, closing(log.reader()) as reader:
        while records := reader.read(5000):
            times.update(msgspec.json.decode(record.value)["messageId"] for record in records)
    assert set(times) == set(shown), "each is in the log, by its decision id"
    # A pack of which the state was not told before the kill is logged again, under the same message id.
    assert times.total() - len(times) <= 3 * 2 * 4 * 64 * 2
