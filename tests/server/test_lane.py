"""The lane answers as grpcio's own server does; where it cannot be had, that one answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Timer
from typing import Any

import grpc
import pytest

from server import lane
from server.lane import Admit, Call, Method, OnRefused, Prepare, open_lane
from server.pb import headrace_pb2 as pb
from tests.server.shop import Shop, until

METHOD = "/test.Echo/Say"
Ask = Callable[..., Any]


def parse(raw: bytes) -> str:
    return raw.decode()


@contextmanager
def answering(
    handle: Callable[[str, Call], bytes],
    on_refused: OnRefused = lambda code: None,
    threads: int = 2,
    turns: int = 1,
    max_calls: int = 8,
    silent_s: float = 60.0,
    admit: Admit = lambda metadata: None,
    prepare: Prepare = lambda calls: None,
) -> Iterator[str]:
    """The address of a server on which a lane answers calls of METHOD."""
    server = grpc.server(ThreadPoolExecutor(1))
    method = Method(METHOD, admit, parse, prepare, handle, on_refused)
    opened = open_lane(server, method, threads, turns, max_calls, silent_s)
    assert opened is not None, "grpcio is not the one that the lane was written for"
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    opened.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(5).wait()
        opened.close()


@contextmanager
def asking(handle: Callable[[str, Call], bytes], **lane: Any) -> Iterator[Ask]:
    """A client's call of METHOD."""
    with answering(handle, **lane) as address, grpc.insecure_channel(address) as channel:
        yield channel.unary_unary(METHOD)


def echo(message: str, call: Call) -> bytes:
    return message.encode()


def refused(ask: Ask, message: bytes = b"x", **options: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        ask(message, timeout=10, **options)
    return caught.value


def test_each_call_gets_its_own_answer() -> None:
    with asking(echo, threads=3, max_calls=500) as ask:
        calls = [ask.future(f"hello {number}".encode(), timeout=20) for number in range(300)]
        assert [call.result() for call in calls] == [f"hello {number}".encode() for number in range(300)]


def test_an_answer_may_be_empty_or_long() -> None:
    with asking(lambda message, _: bytes(int(message))) as ask:
        assert ask(b"0", timeout=10) == b""
        assert len(ask(b"3000000", timeout=10)) == 3_000_000


def test_a_handler_is_told_metadata_and_time() -> None:
    def tell(_: str, call: Call) -> bytes:
        given = dict(call.invocation_metadata())
        return f"{given['who']} {call.time_remaining():.0f} {call.is_active()}".encode()

    with asking(tell) as ask:
        who, left_s, is_active = ask(b"", timeout=1000, metadata=(("who", "ann"),)).split()
        assert (who, is_active) == (b"ann", b"True")
        # The machine's clock may be set while gRPC goes by its own.
        assert float(left_s) == pytest.approx(1000, abs=100)
        _who, left_s, _ = ask(b"", metadata=(("who", "ann"),)).split()
        assert float(left_s) > 1e9, "no deadline is one that lies centuries ahead"


def test_a_refusal_has_its_status_words_and_details() -> None:
    def refuse(_: str, call: Call) -> bytes:
        call.set_trailing_metadata((("why-bin", b"\0\1"),))
        call.abort(grpc.StatusCode.INVALID_ARGUMENT, "Expected more, got `é`")

    with asking(refuse) as ask:
        error = refused(ask)
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "Expected more, got `é`")
    assert ("why-bin", b"\0\1") in [tuple(one) for one in error.trailing_metadata()]


def test_what_fails_is_told_and_the_next_call_is_answered() -> None:
    def fail(message: str, _: Call) -> bytes:
        if message == "fail":
            raise RuntimeError("no")
        return b"fine"

    refusals: list[grpc.StatusCode] = []
    with asking(fail, on_refused=refusals.append) as ask:
        assert refused(ask, b"fail").code() is grpc.StatusCode.UNKNOWN
        assert refused(ask, b"\xff").code() is grpc.StatusCode.INTERNAL  # no message of ours
        assert ask(b"", timeout=10) == b"fine"
    assert refusals == [grpc.StatusCode.INTERNAL]  # of the other one its handler knows


@pytest.mark.parametrize("turns", [1, 3])
def test_while_handlers_wait_others_are_answered_and_too_many_are_refused(turns: int) -> None:
    hold, waiting = Event(), []

    def slow(message: str, call: Call) -> bytes:
        if message == "wait":
            assert call.is_active()
            waiting.append(message)
            hold.wait(20)
        return message.encode()

    refusals: list[grpc.StatusCode] = []
    with asking(slow, on_refused=refusals.append, threads=3, turns=turns, max_calls=3) as ask:
        held = [ask.future(b"wait", timeout=20) for _ in range(2)]
        until(lambda: len(waiting) == 2)
        assert ask(b"now", timeout=10) == b"now"
        held.append(ask.future(b"wait", timeout=20))
        until(lambda: len(waiting) == 3)
        assert refused(ask).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusals == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        hold.set()
        assert [call.result() for call in held] == [b"wait"] * 3
        until(lambda: ask.future(b"again", timeout=10).code() is grpc.StatusCode.OK)


class Silent:
    """Calls that send their headers, and their message when they are told to. `admitted` grows with each call
    that the lane has seen: they are on their way in no order."""

    def __init__(self, channel: grpc.Channel, count: int, admitted: list[None]) -> None:
        self._speak = Event()
        ask = channel.stream_unary(METHOD)
        self.calls = [ask.future(self._messages(), timeout=20) for _ in range(count)]
        until(lambda: len(admitted) == count)

    def speak(self) -> None:
        self._speak.set()

    def _messages(self) -> Iterator[bytes]:
        self._speak.wait(20)
        yield b"late"


def test_calls_without_a_message_make_room_for_others() -> None:
    refusals, admitted = list[grpc.StatusCode](), list[None]()

    def admit(_: Any) -> None:
        admitted.append(None)

    with (
        answering(echo, refusals.append, max_calls=3, silent_s=0.0, admit=admit) as address,
        grpc.insecure_channel(address) as channel,
    ):
        silent = Silent(channel, 3, admitted)
        assert channel.unary_unary(METHOD)(b"x", timeout=10) == b"x"
        assert [call.code() for call in silent.calls] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3
        silent.speak()
        assert channel.unary_unary(METHOD)(b"y", timeout=10) == b"y"
    assert refusals == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3


def test_a_message_may_take_a_while() -> None:
    admitted = list[None]()

    def admit(_: Any) -> None:
        admitted.append(None)

    with (
        answering(echo, max_calls=3, silent_s=60.0, admit=admit) as address,
        grpc.insecure_channel(address) as channel,
    ):
        silent = Silent(channel, 3, admitted)
        assert refused(channel.unary_unary(METHOD)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        silent.speak()
        assert [call.result() for call in silent.calls] == [b"late"] * 3


def test_who_may_not_ask_is_told_before_the_message_comes() -> None:
    admitted = list[None]()

    def admit(metadata: Any) -> tuple[grpc.StatusCode, str] | None:
        admitted.append(None)
        return None if "key" in dict(metadata) else (grpc.StatusCode.UNAUTHENTICATED, "Expected a key")

    refusals: list[grpc.StatusCode] = []
    with (
        answering(echo, refusals.append, max_calls=3, admit=admit) as address,
        grpc.insecure_channel(address) as channel,
    ):
        silent = Silent(channel, 3, admitted)
        assert [call.code() for call in silent.calls] == [grpc.StatusCode.UNAUTHENTICATED] * 3
        assert silent.calls[0].details() == "Expected a key"
        assert channel.unary_unary(METHOD)(b"x", timeout=10, metadata=(("key", "1"),)) == b"x"
        silent.speak()
    assert refusals == [grpc.StatusCode.UNAUTHENTICATED] * 3


def test_calls_are_answered_in_turn_and_those_nobody_waits_for_are_not_decided() -> None:
    hold, asked = Event(), []

    def slow(message: str, _: Call) -> bytes:
        asked.append(message)
        hold.wait(20)
        return message.encode()

    refusals: list[grpc.StatusCode] = []
    with asking(slow, on_refused=refusals.append, threads=3, max_calls=50) as ask:
        first = ask.future(b"first", timeout=20)
        until(lambda: asked == ["first"])
        late = [ask.future(b"late", timeout=0.2) for _ in range(5)]
        assert {call.code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        hold.set()
        assert first.result() == b"first"
        assert ask(b"last", timeout=10) == b"last"
        assert asked == ["first", "last"]
    assert refusals == [grpc.StatusCode.DEADLINE_EXCEEDED] * 5


class Together:
    """Calls that come while the first one is held, and what is handed to `prepare` of them."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.held = Event()
        self.begun = Event()
        self.packs: list[list[str]] = []

    def prepare(self, calls: Sequence[Call]) -> None:
        self.packs.append([call.parsed for call in calls])
        for call in calls:
            call.prepared = f"prepared {call.parsed}"
        if self.fails:
            raise RuntimeError("no")

    def answer(self, message: str, call: Call) -> bytes:
        if not self.begun.is_set():
            self.begun.set()
            self.held.wait(20)
        return str(call.prepared or message).encode()

    def ask(self, messages: Sequence[bytes], **lane: Any) -> list[Any]:
        """The calls, all of them done."""
        with asking(self.answer, prepare=self.prepare, max_calls=500, **lane) as ask:
            calls = [ask.future(b"first", timeout=20)]
            assert self.begun.wait(10)
            calls += [ask.future(message, timeout=20) for message in messages]
            time.sleep(0.2)  # all of them are on their way
            self.held.set()
            for call in calls:
                call.exception(20)
            return calls


def test_calls_that_wait_are_prepared_four_at_a_time_and_each_gets_its_own_answer() -> None:
    together = Together()
    first, *others = together.ask([str(number).encode() for number in range(60)])
    assert first.result() == b"first"
    prepared = [message for pack in together.packs for message in pack]
    assert prepared, "sixty calls waited"
    assert {len(pack) for pack in together.packs} == {4}
    assert len(prepared) == len(set(prepared)), "nobody is prepared twice"
    assert [call.result() for call in others] == [
        f"prepared {number}".encode() if str(number) in prepared else str(number).encode()
        for number in range(60)
    ]


def test_few_calls_are_answered_one_by_one() -> None:
    together = Together()
    together.ask([b"1", b"2", b"3"])
    assert together.packs == []


def test_where_several_have_a_turn_nobody_prepares_what_another_may_be_at() -> None:
    together = Together()
    together.ask([str(number).encode() for number in range(60)], threads=3, turns=2)
    assert together.packs == []


def test_a_message_that_is_none_spoils_no_others() -> None:
    together = Together()
    _, *others = together.ask([b"\xff" if number % 3 == 0 else b"%d" % number for number in range(60)])
    assert together.packs
    for number, call in enumerate(others):
        if number % 3 == 0:
            assert call.code() is grpc.StatusCode.INTERNAL
        else:
            assert call.result().decode().removeprefix("prepared ") == str(number)


def test_what_fails_for_all_together_is_done_for_each() -> None:
    together = Together(fails=True)
    _, *others = together.ask([b"%d" % number for number in range(60)])
    assert together.packs
    assert all(call.result().decode().endswith(str(number)) for number, call in enumerate(others))


def test_a_handler_that_asks_learns_that_the_caller_is_gone() -> None:
    seen: list[bool] = []

    def patient(_: str, call: Call) -> bytes:
        seen.append(call.is_active())
        until(lambda: not call.is_active())
        seen.append(False)
        return b""

    with asking(patient) as ask:
        call = ask.future(b"", timeout=20)
        until(lambda: seen == [True])
        call.cancel()
        until(lambda: seen == [True, False])


def test_a_stop_lets_calls_finish() -> None:
    hold, begun = Event(), Event()

    def slow(_: str, __: Call) -> bytes:
        begun.set()
        hold.wait(20)
        return b"done"

    with ExitStack() as server:
        address = server.enter_context(answering(slow))
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(METHOD).future(b"", timeout=20)
            assert begun.wait(10)
            Timer(0.2, hold.set).start()
            server.close()
            assert call.result(10) == b"done"


@pytest.mark.parametrize("missing", ["cygrpc", "request_registered_call"])
def test_without_it_calls_go_the_ordinary_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "cygrpc":
        monkeypatch.setattr(lane, "cygrpc", None)
    else:
        monkeypatch.setitem(lane._NEEDED, "Server", ("as_it_will_be_called_one_day",))
    with Shop(tmp_path).open() as shop:
        assert shop.running._lane is None
        answer = shop.client.GetBlocks(pb.GetBlocksRequest(slots=[pb.Slot(placement="home.hero")]), timeout=5)
        assert [block.slot for block in answer.blocks] == ["home.hero"]
