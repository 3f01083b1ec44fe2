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

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, Final

import grpc
import msgspec
from google.protobuf.message import DecodeError

from recsys.events import MAX_ID_BYTES
from server.client import CallFailed, Client
from server.pb import headrace_pb2 as pb
from server.requests import MAX_MESSAGE_BYTES, Asker, asker_of
from server.wire import unpacked

CHUNK: Final = 1000
"""People of one call: what a server that dies has to be asked for again."""
TRIES: Final = 8
"""How often a chunk is asked for while no server answers, with pauses that double."""
BUSY_TRIES: Final = 500
"""How often while servers answer that they have streams enough: others' chunks come first, which takes
minutes where machines are busy."""
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 16.0
AGAIN: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_VARINT_BYTES: Final = 5

Progress = Callable[[int, int], None]
"""Called with how many people the file has, and how many of them are new in it."""


_ANOTHER = "give the same people, campaign and slots to go on with it, or name another file"


class WrongPerson(ValueError):
    """A line of the people's file that names nobody whom a server would take; says which."""


class OtherMailing(ValueError):
    """The file that is to be gone on with has other people, another campaign or other slots, or is none of
    a mailing; says where."""


class _Ids(msgspec.Struct, forbid_unknown_fields=True):
    anonymous_id: str = ""
    user_id: str = ""


_ids = msgspec.json.Decoder(_Ids)


def people_of(
    lines: Iterable[str], campaign: str, skip: Callable[[WrongPerson], None] | None = None
) -> Iterator[pb.BulkPerson]:
    """One a line: `u:<user id>`, `a:<anonymous id>`, or JSON with `anonymous_id` and `user_id`. Empty
    lines are left out. Raises WrongPerson; with `skip` the line is left out and told there. Bytes that are
    no UTF-8 are expected as `surrogateescape` reads them."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            asker = _named_by(text)
        except ValueError as error:
            wrong = WrongPerson(f"{error} - in line {number}")
            if skip is None:
                raise wrong from None
            skip(wrong)
            continue
        user, visitor = asker.user_id or "", asker.visitor or ""
        whom = f"{campaign}:u:{user}" if user else f"{campaign}:a:{visitor}"
        yield pb.BulkPerson(anonymous_id=visitor, user_id=user, render_id=_short(whom))


def _named_by(text: str) -> Asker:
    """Checked as the server does, so that nobody stops a mailing half way. Raises ValueError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"Expected UTF-8, got `{ascii(text[:60])[1:-1]}`") from None
    if text.startswith("{"):
        ids = _ids.decode(text)
    elif text.startswith("u:"):
        ids = _Ids(user_id=text[2:])
    elif text.startswith("a:"):
        ids = _Ids(anonymous_id=text[2:])
    else:
        ids = _Ids()
    if not ids.user_id and not ids.anonymous_id:
        expected = "`u:<user id>`, `a:<anonymous id>` or JSON with one of them"
        raise ValueError(f"Expected {expected}, got `{text[:60]}`")
    asker = asker_of(ids.anonymous_id, ids.user_id)
    if asker.user_id is None and asker.visitor is None:
        # Such ids come from templates that had nothing to fill in: they name everybody at once.
        raise ValueError(f"Expected an id that names somebody, got `{text[:60]}`")
    return asker


def _short(render_id: str) -> str:
    """Of what would be too long the end is a hash of the whole."""
    whole = render_id.encode()
    if len(whole) <= MAX_ID_BYTES:
        return render_id
    end = "~" + blake2b(whole, digest_size=16).hexdigest()
    return whole[: MAX_ID_BYTES - len(end)].decode(errors="ignore") + end


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


def gone_on_with(out: Path, people: Iterator[pb.BulkPerson], slots: Sequence[pb.Slot]) -> int:
    """Take from `people` those whom `out` has answers for, and cut what is not whole from its end; how
    many they are. Raises OtherMailing for a file that the same people, campaign and slots did not make."""
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

    return cut_back(out, check)


def send_all(
    clients: Sequence[Client],
    slots: Sequence[pb.Slot],
    people: Iterator[pb.BulkPerson],
    out: Path,
    progress: Progress,
    request_id: str = "",
    campaign: str = "",
) -> int:
    """Ask for everybody whom `out` does not have yet; how many it has at the end. `campaign`: under it each
    person gets one rendering, see the contract.

    `clients` work side by side, each with a connection of its own, so that several server processes
    are used; whichever is free takes the next chunk, as the system may have led most connections to one
    process. At most two chunks a client are in memory. Every chunk is durable before it is counted.
    Raises CallFailed when no server has answered for a minute, OtherMailing for a file of another one.
    """
    done = before = gone_on_with(out, people, slots)
    waiting: deque[Future[list[memoryview]]] = deque()
    counts: deque[int] = deque()
    free: SimpleQueue[Client] = SimpleQueue()
    for client in clients:
        free.put(client)
    with out.open("ab") as file, ThreadPoolExecutor(len(clients), thread_name_prefix="mailing") as pool:
        while True:
            chunk = list(islice(people, CHUNK)) if len(waiting) < 2 * len(clients) else []
            if chunk:
                request = pb.GetBlocksBulkRequest(
                    slots=slots, people=chunk, request_id=request_id, campaign=campaign
                )
                waiting.append(pool.submit(_answers, free, request))
                counts.append(len(chunk))
                continue
            if not waiting:
                return done
            file.writelines(waiting.popleft().result())
            file.flush()
            os.fsync(file.fileno())
            done += counts.popleft()
            progress(done, done - before)


def _answers(free: SimpleQueue[Client], request: pb.GetBlocksBulkRequest) -> list[memoryview]:
    """The chunk's answers as the file has them; asked for again while no server answers, each time of
    a client that is free: several connections may have met at one process, which takes so many streams
    only."""
    pause_s, silent = FIRST_PAUSE_S, 0
    for _ in range(TRIES + BUSY_TRIES):
        client = free.get()  # there are no more threads than clients
        try:
            return [answer for pack in client.packs(request) for answer in unpacked(pack)]
        except CallFailed as error:
            silent += error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED
            if error.code not in AGAIN or silent == TRIES:
                raise
        finally:
            free.put(client)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
    raise CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, "Expected a server with a free stream, got none")
