"""A mailing goes on where it was killed: nobody twice, nobody missed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from math import inf
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Semaphore, Thread, Timer

import grpc
import pytest
from google.protobuf.proto import parse_length_prefixed
from msgspec.structs import replace

from recsys.block import Block
from recsys.decide import Asked, decide_all
from recsys.placement import Placement
from server import mailing
from server.client import CallFailed, Client
from server.mailing import OtherMailing, cut_back, send_all
from server.mailing_list import people_of
from server.pb import headrace_pb2 as pb
from tests.commands import run
from tests.fakes import MemoryStore
from tests.server.shop import Shop, product, put_customer, put_items, put_visitor, until, viewed

DIGEST = [pb.Slot(placement="email.digest", limit=2)]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def client(shop: Shop) -> Iterator[Client]:
    with Client(f"127.0.0.1:{shop.port}") as client:
        yield client


def answers(out: Path) -> list[pb.GetBlocksResponse]:
    return parsed(out.read_bytes())


def parsed(whole: bytes) -> list[pb.GetBlocksResponse]:
    """As anybody else reads the file."""
    file, found = io.BytesIO(whole), []
    while (answer := parse_length_prefixed(pb.GetBlocksResponse, file)) is not None:
        found.append(answer)
    return found


def lines(count: int) -> list[str]:
    return [f"a:v{number}" if number % 2 else f"u:u{number}" for number in range(count)]


def nothing(done: int, new: int) -> None:
    """No progress wanted."""


class Held(Client):
    """Answers when another client has answered so many chunks."""

    def __init__(self, address: str, others: Semaphore, wanted: int) -> None:
        super().__init__(address)
        self._others, self._wanted = others, wanted

    def packs(self, request: pb.GetBlocksBulkRequest, *, deadline_s: float | None = None) -> Iterator[bytes]:
        for _ in range(self._wanted):
            assert self._others.acquire(timeout=10)
        self._wanted = 0
        yield from super().packs(request, deadline_s=deadline_s)


class Counted(Client):
    """Tells how many chunks it has answered."""

    def __init__(self, address: str, answered: Semaphore) -> None:
        super().__init__(address)
        self._answered = answered

    def packs(self, request: pb.GetBlocksBulkRequest, *, deadline_s: float | None = None) -> Iterator[bytes]:
        yield from super().packs(request, deadline_s=deadline_s)
        self._answered.release()


def test_a_connection_that_is_free_takes_the_next_chunk(shop: Shop, tmp_path: Path, monkeypatch) -> None:
    """Most connections may have been led to one of the server's processes: the others must not wait."""
    monkeypatch.setattr(mailing, "CHUNK", 5)
    answered, address, out = Semaphore(0), f"127.0.0.1:{shop.port}", tmp_path / "out.pb"
    with Held(address, answered, 3) as held, Counted(address, answered) as counted:
        send_all([held, counted], DIGEST, people_of(lines(20), "may"), out, nothing)
    assert [answer.render_id for answer in answers(out)] == [f"may:{line}" for line in lines(20)]


class Failing(Client):
    """Fails with `error`, so many times or always."""

    def __init__(self, address: str, error: Exception, times: float = inf) -> None:
        super().__init__(address)
        self._error, self._times, self.asked = error, times, 0

    def packs(self, request: pb.GetBlocksBulkRequest, *, deadline_s: float | None = None) -> Iterator[bytes]:
        assert deadline_s, "a server that hangs would be waited for"
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        yield from super().packs(request, deadline_s=deadline_s)


FULL = CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, "Expected fewer bulk requests at once")
AWAY = CallFailed(grpc.StatusCode.UNAVAILABLE, "The catalogue is still being read")
LATE = CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


@pytest.mark.parametrize("error", [FULL, AWAY, LATE])
def test_who_is_refused_takes_another_connection_at_once(
    shop: Shop, tmp_path: Path, monkeypatch, error: CallFailed
) -> None:
    """All that is behind a chunk waits for it, so it must not sleep while a process has room."""
    monkeypatch.setattr(mailing, "CHUNK", 5)
    monkeypatch.setattr(mailing, "FIRST_PAUSE_S", 45.0)
    address, out = f"127.0.0.1:{shop.port}", tmp_path / "out.pb"
    with Failing(address, error) as one, Failing(address, error) as other, Client(address) as free:
        asked = [one, other, free], DIGEST, people_of(lines(40), "may"), out, nothing
        sending = Thread(target=send_all, args=asked, daemon=True)
        sending.start()
        sending.join(30)
        assert one.asked + other.asked >= 2
    assert not sending.is_alive()
    assert [answer.render_id for answer in answers(out)] == [f"may:{line}" for line in lines(40)]


@pytest.mark.parametrize("error", [FULL, AWAY, LATE])
def test_a_server_that_comes_back_is_waited_for(
    shop: Shop, tmp_path: Path, monkeypatch, error: CallFailed
) -> None:
    monkeypatch.setattr(mailing, "FIRST_PAUSE_S", 0.001)
    out = tmp_path / "out.pb"
    with Failing(f"127.0.0.1:{shop.port}", error, times=5) as client:
        send_all([client], DIGEST, people_of(lines(5), "may"), out, nothing)
    assert [answer.render_id for answer in answers(out)] == [f"may:{line}" for line in lines(5)]


def test_while_one_process_answers_nobody_gives_up_for_another(
    shop: Shop, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(mailing, "CHUNK", 5)
    monkeypatch.setattr(mailing, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(mailing, "SILENCE_S", 2.0)

    class Slow(Client):
        def packs(
            self, request: pb.GetBlocksBulkRequest, *, deadline_s: float | None = None
        ) -> Iterator[bytes]:
            time.sleep(0.1)
            yield from super().packs(request, deadline_s=deadline_s)

    address, out = f"127.0.0.1:{shop.port}", tmp_path / "out.pb"
    with Failing(address, AWAY) as away, Slow(address) as slow:
        assert send_all([away, slow], DIGEST, people_of(lines(150), "may"), out, nothing).n_people == 150
        assert away.asked


def test_what_nobody_expected_ends_a_mailing_and_says_so(shop: Shop, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mailing, "CHUNK", 5)
    address, out = f"127.0.0.1:{shop.port}", tmp_path / "out.pb"
    with Failing(address, IndexError("a pack that ends too soon")) as client, pytest.raises(IndexError):
        send_all([client], DIGEST, people_of(lines(40), "may"), out, nothing)


def test_an_interrupt_asks_for_nobody_any_more(shop: Shop, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mailing, "CHUNK", 1)
    interrupted, asked = Event(), count()

    class Held(Client):
        def packs(
            self, request: pb.GetBlocksBulkRequest, *, deadline_s: float | None = None
        ) -> Iterator[bytes]:
            if next(asked):
                assert interrupted.wait(20)
            yield from super().packs(request, deadline_s=deadline_s)

    def interrupt(done: int, new: int) -> None:
        Timer(0.3, interrupted.set).start()
        raise KeyboardInterrupt

    address, out = f"127.0.0.1:{shop.port}", tmp_path / "out.pb"
    with ExitStack() as stack:
        clients = [stack.enter_context(Held(address)) for _ in range(4)]
        with pytest.raises(KeyboardInterrupt):
            send_all(clients, DIGEST, people_of(lines(400), "may"), out, interrupt)
    assert next(asked) <= 1 + len(clients), "no more than were under way"
    assert cut_back(out) == 1


def test_a_free_connection_goes_to_the_chunk_that_all_others_wait_for() -> None:
    with Client("127.0.0.1:1") as client:
        connections, order = mailing._Connections([]), SimpleQueue[int]()

        def take(chunk: int) -> None:
            assert connections.take(chunk, 20) is client
            order.put(chunk)
            connections.give_back([client])

        threads = [Thread(target=take, args=(chunk,)) for chunk in (7, 3, 5)]
        for thread in threads:
            thread.start()
        until(lambda: len(connections._asking) == len(threads))
        connections.give_back([client])
        for thread in threads:
            thread.join(20)
    assert [order.get_nowait() for _ in threads] == [3, 5, 7]


def test_two_mailings_do_not_write_one_file(shop: Shop, client: Client, tmp_path: Path) -> None:
    out, seen = tmp_path / "out.pb", list[str]()

    def a_second_one(done: int, new: int) -> None:
        with pytest.raises(OtherMailing, match="another mailing writes") as refused:
            send_all([client], DIGEST, people_of(lines(40), "may"), out, nothing)
        seen.append(str(refused.value))

    send_all([client], DIGEST, people_of(lines(40), "may"), out, a_second_one)
    assert seen
    assert [answer.render_id for answer in answers(out)] == [f"may:{line}" for line in lines(40)]
    send_all([client], DIGEST, people_of(lines(41), "may"), out, nothing)  # free again
    assert cut_back(out) == 41


@pytest.mark.parametrize("count", [1, 64, 1000, 7777, 20_000])
@pytest.mark.parametrize("n_clients", [1, 2, 5])
def test_towards_the_end_all_clients_have_ever_less_to_wait_for(count: int, n_clients: int) -> None:
    taken = 0

    def everybody() -> Iterator[pb.BulkPerson]:
        nonlocal taken
        for number in range(count):
            taken += 1
            yield pb.BulkPerson(user_id=str(number))

    given, sizes = [], []
    for chunk in mailing.chunks_of(everybody(), n_clients):
        given += [person.user_id for person in chunk]
        sizes.append(len(chunk))
        assert taken - len(given) < 2 * n_clients * mailing.CHUNK, "more is read ahead than was said"
        left = count - len(given)
        if left:  # whole packs, and more than is left to each of the others only where that is one
            assert len(chunk) % mailing.PACK == 0
            assert len(chunk) <= max(mailing.PACK, (left + len(chunk)) / n_clients)
    assert given == [str(number) for number in range(count)]
    assert max(sizes) <= mailing.CHUNK
    assert sizes == sorted(sizes, reverse=True)


def test_everybody_is_in_the_file_in_their_order(client: Client, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mailing, "CHUNK", 7)
    told: list[tuple[int, int]] = []
    out = tmp_path / "out.pb"
    outcome = send_all(
        [client], DIGEST, people_of(lines(40), "may"), out, lambda *counts: told.append(counts)
    )
    assert outcome.n_people == 40
    assert [answer.render_id for answer in answers(out)] == [f"may:{line}" for line in lines(40)]
    assert all(answer.blocks[0].items for answer in answers(out))
    assert told[-1] == (40, 40)


def test_who_is_named_twice_is_written_to_once(shop: Shop, client: Client, tmp_path: Path) -> None:
    anna = viewed("p1", at_ms=time.time_ns() // 1_000_000)
    put_customer(shop.store, "anna", replace(anna, renamed="ben", renamed_ms=1))
    put_customer(shop.store, "ben", replace(anna, former=("anna",)))
    put_visitor(shop.store, "phone", user_id="ben")
    out = tmp_path / "out.pb"
    people = ["u:nobody", "u:anna", "a:phone", "u:ben", "u:nobody-else"]
    for lines_ in (people[:2], people):  # gone on with, as after a kill
        send_all([client], DIGEST, people_of(lines_, "may"), out, nothing, campaign="may")
    served = until(lambda: len(found := shop.served()) >= 3 and found)
    assert [event["properties"]["render_id"] for event in served] == [
        "may:u:nobody",
        "may:u:anna",
        "may:u:nobody-else",
    ], "what nobody gets is no impression"
    found = answers(out)
    assert [answer.render_id for answer in found] == [f"may:{line}" for line in people]
    assert [answer.blocks[0].fallback == "same_person" for answer in found] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert [bool(answer.blocks[0].items) for answer in found] == [True, True, False, False, True]
    assert {answer.person.person for answer in found[1:4]} == {"u:ben"}
    assert {answer.blocks[0].placement for answer in found} == {"email.digest"}


def test_a_campaign_and_a_person_may_have_the_longest_names(
    shop: Shop, client: Client, tmp_path: Path
) -> None:
    user = "u" * 200
    put_customer(shop.store, user, viewed("p1", at_ms=time.time_ns() // 1_000_000))
    out, campaign = tmp_path / "out.pb", "c" * 200
    person = pb.BulkPerson(user_id=user, render_id="r")
    assert send_all([client], DIGEST, iter([person]), out, nothing, campaign=campaign).n_people == 1
    assert answers(out)[0].blocks[0].items


def test_who_stands_in_the_list_twice_is_asked_for_once(shop: Shop, tmp_path: Path, capsys) -> None:
    people, out = tmp_path / "people.txt", tmp_path / "out.pb"
    people.write_text('u:1\na:2\nu:1\n{"user_id": "1", "anonymous_id": "3"}\nu:4')
    words = ["mailing", str(people), str(out), "--slot", "email.digest", "--campaign", "may"]
    for _ in range(2):  # gone on with
        assert run(tmp_path / "home", *words, "--server", f"127.0.0.1:{shop.port}") == 0
        told, *_ = capsys.readouterr().out.splitlines()
        assert told == f"3 people in {out}; 2 of 5 lines name somebody again"
        assert [answer.render_id for answer in answers(out)] == ["may:u:1", "may:a:2", "may:u:4"]


def test_at_its_end_it_tells_who_got_nothing_and_why(shop: Shop, tmp_path: Path, capsys) -> None:
    anna = viewed("p1", at_ms=time.time_ns() // 1_000_000)
    put_customer(shop.store, "anna", replace(anna, former=("ben",)))
    put_customer(shop.store, "ben", replace(anna, renamed="anna", renamed_ms=1))
    put_customer(shop.store, "carl", replace(anna, email=False))
    people, out = tmp_path / "people.txt", tmp_path / "out.pb"
    words = ["mailing", str(people), str(out), "--campaign", "may", "--server", f"127.0.0.1:{shop.port}"]
    words += ["--slot", "email.digest", "--slot", "email.cart_recovery", "--slot", "email.price_drop"]
    for listed in ("u:anna\nu:ben\n", "u:anna\nu:ben\nu:carl\na:nobody\n"):  # gone on with
        people.write_text(listed)
        assert run(tmp_path / "home", *words) == 0
    assert capsys.readouterr().out.splitlines()[-5:] == [
        f"4 people in {out}",
        "2 of them without an item in any block, 1 as they stand in the list by another id",
        "  email.digest: 2 with items (2 no_model), 2 without (1 same_person, 1 unsubscribed)",
        "  email.cart_recovery: 2 with items (2 no_cart), 2 without (1 same_person, 1 unsubscribed)",
        "  email.price_drop: 4 without (2 no_match, 1 same_person, 1 unsubscribed)",
    ]


def test_markets_and_ages_are_those_of_the_line_or_of_all(shop: Shop, tmp_path: Path) -> None:
    put_items(shop.store, [product(1, min_age=18), product(2, markets=("DE",)), product(3, markets=("AT",))])
    columns = shop.running.live.shelf.columns
    until(lambda: columns.items[columns.row("p3")].markets)
    people, out = tmp_path / "people.txt", tmp_path / "out.pb"
    people.write_text('u:1\n{"user_id": "2", "market": "AT"}\n{"user_id": "3", "age": 18}\n')
    words = ["mailing", str(people), str(out), "--slot", "home.feed", "--limit", "30", "--campaign", "may"]
    where = ["--market", "DE", "--server", f"127.0.0.1:{shop.port}"]
    assert run(tmp_path / "home", *words, *where) == 0
    items = [{entry.item.id for entry in answer.blocks[0].items} for answer in answers(out)]
    assert [shown & {"p1", "p2", "p3"} for shown in items] == [{"p2"}, {"p3"}, {"p1", "p2"}]


@pytest.mark.parametrize("cut", [1, 3, 200])
def test_what_was_cut_off_is_asked_for_again(client: Client, tmp_path: Path, cut: int) -> None:
    out = tmp_path / "out.pb"
    send_all([client], DIGEST, people_of(lines(20), "may"), out, nothing)
    whole = out.read_bytes()
    out.write_bytes(whole[:-cut])
    assert cut_back(out) < 20
    told: list[tuple[int, int]] = []
    send_all([client], DIGEST, people_of(lines(20), "may"), out, lambda *counts: told.append(counts))
    assert [answer.blocks for answer in answers(out)] == [answer.blocks for answer in parsed(whole)], (
        "the same blocks, decisions and all"
    )
    assert told[-1][1] < 20


def test_after_a_kill_the_command_goes_on(store: MemoryStore, tmp_path: Path) -> None:
    killed, decided = Event(), count()

    def held_up(asked: Sequence[Asked], placements: Mapping[str, Placement]) -> list[list[Block]]:
        """Nobody is faster than the kill."""
        if max(next(decided) for _ in asked) >= 5000:
            killed.wait(60)
        return decide_all(asked, placements)

    with Shop(tmp_path, store=store, decider=held_up).open() as shop:
        _killed_and_gone_on(shop, tmp_path, killed)


def _killed_and_gone_on(shop: Shop, tmp_path: Path, killed: Event) -> None:
    people, out = tmp_path / "people.txt", tmp_path / "out.pb"
    people.write_text("\n".join(lines(6000)))
    command = [
        sys.executable, "-m", "headrace", "--home", str(tmp_path / "home"), "mailing", str(people), str(out),
        "--slot", "email.digest", "--campaign", "may", "--limit", "2", "--server", f"127.0.0.1:{shop.port}",
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    until_s = time.monotonic() + 60
    while not (out.exists() and out.stat().st_size) and time.monotonic() < until_s:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed.set()
    assert 0 < cut_back(out) < 6000, "killed on the way"
    subprocess.run(command, env=environ, check=True, capture_output=True)
    assert [answer.render_id for answer in answers(out)] == [f"may:{line}" for line in lines(6000)]


def test_a_render_id_fits_whatever_campaign_and_person_are_called(client: Client, tmp_path: Path) -> None:
    people, out = [f"u:{'é' * 99}{number}" for number in range(3)], tmp_path / "out.pb"
    for campaign in ("x", "é" * 100):
        named = [one.render_id for one in people_of(people, campaign)]
        assert len(set(named)) == 3
        assert max(len(one.encode()) for one in named) <= 200
        assert named[0].startswith(campaign[:80])
    for upto in (2, 3):  # gone on with, as after a kill
        assert send_all([client], DIGEST, people_of(people[:upto], "x"), out, nothing).n_people == upto


@pytest.mark.parametrize(
    ("had", "said"),
    [
        (b"# a readme that is no mailing\n" * 30, "Expected the answers of a mailing, got other bytes"),
        (b"\xff" * 100, "Expected an answer of at most 16,777,216 bytes, got one of 34,359,738,367"),
        (b"\0" * 10, "got `` - in answer 1"),
    ],
)
def test_a_file_of_no_mailing_is_refused_and_left_as_it_is(
    client: Client, tmp_path: Path, had: bytes, said: str
) -> None:
    out = tmp_path / "out.pb"
    out.write_bytes(had)
    with pytest.raises(OtherMailing, match=said):
        send_all([client], DIGEST, people_of(lines(5), "may"), out, nothing)
    assert out.read_bytes() == had


@pytest.mark.parametrize(
    ("people", "campaign", "slots", "said"),
    [
        (lines(3), "may", DIGEST, "Expected the 5 people whom .* has, got 3"),
        (["a:v9", *lines(9)], "may", DIGEST, "Expected `may:a:v9` .*, got `may:u:u0` - in answer 1"),
        (lines(9), "june", DIGEST, "Expected `june:u:u0` .*, got `may:u:u0` - in answer 1"),
        (
            lines(9),
            "may",
            [pb.Slot(placement="email.price_drop")],
            "slots email.price_drop, got email.digest",
        ),
    ],
)
def test_a_file_of_another_mailing_is_refused_and_left_as_it_is(
    client: Client, tmp_path: Path, people: list[str], campaign: str, slots: list[pb.Slot], said: str
) -> None:
    out = tmp_path / "out.pb"
    send_all([client], DIGEST, people_of(lines(5), "may"), out, nothing)
    had = out.read_bytes()
    with pytest.raises(OtherMailing, match=said):
        send_all([client], slots, people_of(people, campaign), out, nothing)
    assert out.read_bytes() == had


def test_without_a_server_it_gives_up_and_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mailing, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(mailing, "SILENCE_S", 0.5)
    out = tmp_path / "out.pb"
    with Client("127.0.0.1:1") as client, pytest.raises(CallFailed):
        send_all([client], DIGEST, people_of(lines(5), "may"), out, nothing)
    assert cut_back(out) == 0
