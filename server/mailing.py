"""A mailing: blocks for many people, written to a file that can be gone on with after a kill.

The file holds one GetBlocksResponse a person, in the order of the people, each behind its length: the
format that `google.protobuf.proto.parse_length_prefixed` reads. What a kill has cut off is cut away and
asked for again. Render ids name campaign and person, so the server answers with the same blocks, and
nobody is decided on, or counted, twice.

Two lines may be one person: a former user id beside the one that counts, a device beside its customer. The
server knows, and decides for one of them; the others' answers are without items, and their blocks say
`same_person`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from math import ceil
from pathlib import Path
from threading import Condition
from typing import BinaryIO, Final

import grpc
from google.protobuf.message import DecodeError

from server.client import CallFailed, Client
from server.pb import headrace_pb2 as pb
from server.requests import MAX_MESSAGE_BYTES, PACK, SAME_PERSON
from server.wire import unpacked

CHUNK: Final = 15 * PACK
"""Most people of one call: what a server that dies has to be asked for again."""
ANSWER_S: Final = 60.0
"""A call that takes longer is made again, by another connection where there is one: its server hangs, or is
so slow that what it has decided by then is found decided the next time."""
SILENCE_S: Final = 60.0
"""So long after the last answer of any server it is given up."""
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 8.0
AGAIN: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # Of a server that has streams enough, those of another mailing perhaps: its chunks come first.
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
_VARINT_BYTES: Final = 5

Progress = Callable[[int, int], None]
"""Called with how many people the file has, and how many of them are new in it."""


_ANOTHER = "give the same people, campaign and slots to go on with it, or name another file"


class OtherMailing(ValueError):
    """The file that is to be gone on with has other people, another campaign or other slots, or is none of
    a mailing; says where."""


class Outcome:
    """What the people of a mailing got: counted answer by answer, 10 us each."""

    def __init__(self) -> None:
        self.n_people = 0
        self.n_without = 0
        """With no item in any block."""
        self.n_same = 0
        """Of those the ones who have their items under another id."""
        self.blocks: dict[str, tuple[Counter[str], Counter[str]]] = {}
        """By placement, how many blocks have which fallback: of those with items, and of those without."""

    def count(self, answer: pb.GetBlocksResponse) -> None:
        self.n_people += 1
        has_items = is_same = False
        for block in answer.blocks:
            of = self.blocks.setdefault(block.placement, (Counter(), Counter()))
            of[not block.items][block.fallback] += 1
            has_items |= bool(block.items)
            is_same |= block.fallback == SAME_PERSON
        self.n_without += not has_items
        self.n_same += is_same

    def lines(self) -> Iterator[str]:
        """Whom it brought nothing, and what each placement came to."""
        if self.n_without:
            same = f", {self.n_same:,} as they stand in the list by another id" if self.n_same else ""
            yield f"{self.n_without:,} of them without an item in any block{same}"
        for placement, (full, empty) in self.blocks.items():
            told = [
                f"{count.total():,} {what}{_why(count)}"
                for count, what in ((full, "with items"), (empty, "without"))
                if count
            ]
            yield f"  {placement}: {', '.join(told)}"


def _why(fallbacks: Counter[str]) -> str:
    """The most frequent first."""
    named = [f"{count:,} {name}" for name, count in fallbacks.most_common() if name]
    return f" ({', '.join(named)})" if named else ""


def answers_in(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The whole answers of a mailing's file, each with the place where it ends. Raises OtherMailing for a
    length that no answer has."""
    while True:
        length = shift = 0
        for _ in range(_VARINT_BYTES):
            byte = file.read(1)
            if not byte:
                return
            length |= (byte[0] & 0x7F) << shift
            shift += 7
            if byte[0] < 0x80:
                break
        if length > MAX_MESSAGE_BYTES:
            expected = f"an answer of at most {MAX_MESSAGE_BYTES:,} bytes"
            raise OtherMailing(f"Expected {expected}, got one of {length:,} - in `{file.name}`; {_ANOTHER}")
        answer = file.read(length)
        if len(answer) < length:
            return
        yield answer, file.tell()


def cut_back(out: Path, check: Callable[[int, bytes], None] = lambda *_: None) -> int:
    """Cut what is not whole from the end of `out`; how many answers it has. 0 for no file. `check` is called
    with the place of each answer, from 1, and the answer; where it raises, nothing is cut."""
    if not out.exists():
        return 0
    place = end = 0
    with out.open("rb") as file:
        for place, (answer, end) in enumerate(answers_in(file), 1):  # noqa: B007 - the last ones are used behind
            check(place, answer)
    os.truncate(out, end)
    return place


def gone_on_with(
    out: Path, people: Iterator[pb.BulkPerson], slots: Sequence[pb.Slot], outcome: Outcome
) -> int:
    """Take from `people` those whom `out` has answers for, count what they got, and cut what is not whole
    from its end; how many they are. Raises OtherMailing for a file that the same people, campaign and slots
    did not make."""
    placements = [slot.placement for slot in slots]

    def check(place: int, answer: bytes) -> None:
        try:
            found = pb.GetBlocksResponse.FromString(answer)
        except DecodeError:
            expected = "the answers of a mailing"
            raise OtherMailing(f"Expected {expected}, got other bytes - in `{out}`; {_ANOTHER}") from None
        person = next(people, None)
        if person is None:
            whom = f"the {cut_back(out)} people whom `{out}` has"
            raise OtherMailing(f"Expected {whom}, got {place - 1}; {_ANOTHER}")
        if found.render_id != person.render_id:
            got = f"`{found.render_id}` - in answer {place} of `{out}`"
            raise OtherMailing(f"Expected `{person.render_id}` (campaign and person), got {got}; {_ANOTHER}")
        made = [block.placement for block in found.blocks]
        if made != placements:
            got = f"{', '.join(made)} - in answer {place} of `{out}`"
            raise OtherMailing(f"Expected slots {', '.join(placements)}, got {got}; {_ANOTHER}")
        outcome.count(found)

    return cut_back(out, check)


def send_all(
    clients: Sequence[Client],
    slots: Sequence[pb.Slot],
    people: Iterator[pb.BulkPerson],
    out: Path,
    progress: Progress,
    request_id: str = "",
    campaign: str = "",
    context: pb.Context | None = None,
) -> Outcome:
    """Ask for everybody whom `out` does not have yet; what those got whom it has then. `campaign`: under
    it each person gets one rendering; `context`: of who has none of their own; see the contract.

    `clients` work side by side, each with a connection of its own, so that several server processes
    are used; whichever is free takes the next chunk, as the system may have led most connections to one
    process. At most two chunks a client are under way, and as many read ahead. Every chunk is durable before
    it is counted.
    Raises CallFailed when no server has answered for a minute, OtherMailing for a file of another one, or one
    that another process writes just now.
    """
    with out.open("ab") as file:
        _lock(file, out)
        outcome = Outcome()
        before = gone_on_with(out, people, slots, outcome)
        chunks = enumerate(chunks_of(people, len(clients)))
        waiting: deque[Future[list[memoryview]]] = deque()
        free = _Connections(clients)
        with ThreadPoolExecutor(len(clients), thread_name_prefix="mailing") as pool:
            try:
                while True:
                    ahead = next(chunks, None) if len(waiting) < 2 * len(clients) else None
                    if ahead is not None:
                        number, chunk = ahead
                        request = pb.GetBlocksBulkRequest(
                            slots=slots,
                            people=chunk,
                            request_id=request_id,
                            campaign=campaign,
                            context=context,
                        )
                        waiting.append(pool.submit(_answers, free, number, request))
                        continue
                    if not waiting:
                        return outcome
                    answers = waiting.popleft().result()
                    file.writelines(answers)
                    file.flush()
                    os.fsync(file.fileno())
                    for answer in answers:
                        outcome.count(_without_length(answer))
                    progress(outcome.n_people, outcome.n_people - before)
            except BaseException:  # an interrupt as well: nobody waits for what is not wanted any more
                free.close()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _lock(file: BinaryIO, out: Path) -> None:
    """Until it is closed or its process ends no other mailing writes to this file. Raises OtherMailing."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OtherMailing(f"Expected a file of its own, got `{out}`, which another mailing writes") from None


def chunks_of(people: Iterator[pb.BulkPerson], n_clients: int) -> Iterator[list[pb.BulkPerson]]:
    """`people` in their order, CHUNK at a time and ever fewer towards the end, in packs as servers decide
    them: what is left is shared by all clients to the last."""
    ahead: deque[pb.BulkPerson] = deque()
    while True:
        ahead.extend(islice(people, 2 * n_clients * CHUNK - len(ahead)))
        if not ahead:
            return
        packs = ceil(len(ahead) / (2 * n_clients * PACK))
        yield [ahead.popleft() for _ in range(min(packs * PACK, CHUNK, len(ahead)))]


class _Stopped(Exception):
    """The mailing has ended meanwhile."""


class _Connections:
    """Those of a mailing: each serves one chunk at a time, the one first that stands first in the file, since
    all others wait for it."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._changed = Condition()
        self._free = deque(clients)
        self._asking: set[int] = set()
        self._is_closed = False
        self.answered_s = time.monotonic()
        """When a server last answered, on the monotonic clock."""

    def take(self, chunk: int, timeout_s: float | None) -> Client | None:
        """One that is free; None where there is none within the time. Raises _Stopped."""
        with self._changed:
            self._asking.add(chunk)
            try:
                is_its_turn = self._changed.wait_for(
                    lambda: self._is_closed or (bool(self._free) and chunk == min(self._asking)), timeout_s
                )
                self.check()
                return self._free.popleft() if is_its_turn else None
            finally:
                self._asking.remove(chunk)
                self._changed.notify_all()

    def give_back(self, clients: Iterable[Client]) -> None:
        with self._changed:
            self._free.extend(clients)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def check(self) -> None:
        """Raises _Stopped."""
        if self._is_closed:
            raise _Stopped

    def answered(self) -> None:
        """A server has."""
        self.answered_s = time.monotonic()


def _answers(free: _Connections, chunk: int, request: pb.GetBlocksBulkRequest) -> list[memoryview]:
    """The chunk's answers as the file has them. A connection whose process does not answer, or takes no more
    streams, as several may have met at one, is put aside, and the next that is free is asked at once; where
    none is, those aside again, after pauses. Raises CallFailed, _Stopped."""
    aside: deque[Client] = deque()
    pause_s, began_s = FIRST_PAUSE_S, time.monotonic()
    try:
        while True:
            # With none aside one comes: there are no more threads than clients.
            client = free.take(chunk, pause_s if aside else None)
            if client is None:
                client = aside.popleft()
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            aside.append(client)  # until it has answered
            answers: list[memoryview] = []
            try:
                for pack in client.packs(request, deadline_s=ANSWER_S):
                    free.check()
                    free.answered()
                    answers += unpacked(pack)
            except CallFailed as error:
                if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    free.answered()
                silent_s = time.monotonic() - max(free.answered_s, began_s)
                if error.code not in AGAIN or silent_s >= SILENCE_S:
                    raise
            else:
                return answers
    finally:
        free.give_back(aside)


def _without_length(answer: memoryview) -> pb.GetBlocksResponse:
    """An answer as the file has it, read."""
    begin = next(place for place, byte in enumerate(answer, 1) if byte < 0x80)
    return pb.GetBlocksResponse.FromString(bytes(answer[begin:]))
