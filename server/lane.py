"""A lane of its own for the call that pages wait for.

grpcio's server takes a call on one thread, answers it on another and goes back and forth between them
for each message: four events, a future, a condition and their switches of threads, 340,000
instructions for a handler that does nothing. In the lane the thread that gets a call's message answers
it: 130,000 (`bench serving` shows what an empty server holds either way).

One thread has the turn: it takes what comes and answers calls one after the other, first come, first
served. More threads would not answer sooner, since Python lets one run at a time; they would take the
interpreter from each other at every kernel that lets go of it, and each has working memory of its own
to bring into the cache. A handler that is going to wait gives the turn to another thread, and from one
that is stuck it is taken.

It stands on grpcio's binding of its C core, as grpc/_server.py does. That is no public interface, so
`open_lane` looks whether it is what this was written for; where it is not, the method's calls go
grpcio's ordinary way. All other methods do anyhow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from threading import Lock, Semaphore, Thread
from typing import Any, NamedTuple, NoReturn

import grpc
import structlog

try:
    from grpc._cython import cygrpc
except ImportError:  # a grpcio that is built otherwise
    cygrpc = None

log = structlog.get_logger("server.lane")

Handle = Callable[[Any, "Call"], bytes]
"""A message, parsed, and its call -> a serialised answer. Refuses by `Call.abort`."""
Parse = Callable[[bytes], Any]
Refused = tuple[grpc.StatusCode, str]
Prepare = Callable[[Sequence["Call"]], None]
"""Looks at calls that wait, the first one's turn having come: what can be done for all of them together it
does, and leaves it in their `prepared` for the handler. It raises nothing that the handler would not."""
Admit = Callable[[Any], "Refused | None"]
"""A call's metadata -> why it may not be made; None: it may. Asked before its message is waited for."""
OnRefused = Callable[[grpc.StatusCode], None]
"""Told of each call that the lane ends itself, without its handler."""

_NO_FLAGS = 0
_AT_ONCE_S = 0.0
"""A time that has passed: look what has come, and wait for nothing."""
STUCK_S = 1.0
"""A handler that takes longer than this loses its turn."""
LOOK_EVERY = 8
"""Calls that are answered, while others wait, before it is looked for what has come."""
TOGETHER = 4
"""Where so many wait they are prepared together, for a seventh less work (`recsys.decide.decide_all`); each
is answered behind the work for all of them. Fewer go one by one: the first need not wait then."""
WATCH_BEHIND = 8
"""A call that has to wait behind so many is watched: its caller may be gone before its turn."""
_NEEDED = {
    # Classes of cygrpc, and what is used of them.
    "CompletionQueue": ("poll", "shutdown"),
    "Server": ("register_completion_queue", "register_method", "request_registered_call"),
    "Call": ("start_server_batch",),
    "CompletionType": ("queue_shutdown", "queue_timeout"),
    "ReceiveMessageOperation": ("message",),
    "ReceiveCloseOnServerOperation": ("cancelled",),
    "SendInitialMetadataOperation": ("type",),
    "SendMessageOperation": ("type",),
    "SendStatusFromServerOperation": ("type",),
}


class Method(NamedTuple):
    """What a lane answers."""

    name: str
    """As "/package.Service/Method"."""
    admit: Admit
    parse: Parse
    prepare: Prepare
    handle: Handle
    on_refused: OnRefused


class _Aborted(Exception):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Call:
    """What handlers use of a grpc.ServicerContext."""

    __slots__ = ("_core", "_deadline_s", "_is_open", "_lane", "_metadata", "began_s", "gave_turn",
                 "is_watched", "message", "parsed", "prepared", "trailing_metadata")  # fmt: skip

    def __init__(self, event: Any, lane: Lane) -> None:
        self._core = event.call
        self._deadline_s = event.call_details.deadline
        self._metadata = event.invocation_metadata
        self._lane = lane
        self._is_open = True
        self.is_watched = False
        self.gave_turn = False
        self.message = b""
        self.parsed: Any = None
        """Its message, once somebody has looked at it."""
        self.prepared: Any = None
        """What `Method.prepare` has left for the handler."""
        self.began_s: float | None = None
        """When work on it began, on the monotonic clock."""
        self.trailing_metadata: tuple[tuple[str, bytes], ...] | None = None

    def invocation_metadata(self) -> Any:
        return self._metadata

    def time_remaining(self) -> float:
        """Seconds to the caller's deadline; centuries where there is none."""
        return max(float(self._deadline_s) - time.time(), 0.0)

    def is_active(self) -> bool:
        """Whether the caller still waits. Asked by handlers that are about to wait for something: from
        the first time on another thread has the turn."""
        self.watch()
        with self._lane.lock:
            gives, self.gave_turn = not self.gave_turn, True
        if gives:
            self._lane.give_turn()
        return self._is_open

    def watch(self) -> None:
        """Be told when the caller goes away. It costs an event, and few calls wait."""
        if not self.is_watched:
            self.is_watched = True
            self.start((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._closed)

    @property
    def is_wanted(self) -> bool:
        """Whether an answer would be in time, as far as is known."""
        return self._is_open and self.time_remaining() > 0

    def set_trailing_metadata(self, metadata: tuple[tuple[str, bytes], ...]) -> None:
        self.trailing_metadata = metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise _Aborted(code, details)

    def start(self, operations: tuple[Any, ...], then: Callable[[Any], None]) -> None:
        """Begin operations; a thread of the lane calls `then` with their event when all are done. Nothing
        is begun in a lane that is closed, for whose calls nobody waits any more."""
        with self._lane.lock:
            if not self._lane.is_closed:
                self._core.start_server_batch(operations, then)

    def _closed(self, event: Any) -> None:
        self._is_open = not event.batch_operations[0].cancelled()


class Lane:
    """Threads that answer the calls of one method: `turns` of them at a time besides those that wait in
    their handlers, `threads` with those. `max_calls` may be under way, and further ones get
    RESOURCE_EXHAUSTED; but those whose message has not come for `silent_s` make room for them."""

    def __init__(
        self, core: Any, method: Method, threads: int, turns: int, max_calls: int, silent_s: float
    ) -> None:
        """`core`: the cygrpc.Server, before it is started."""
        self._core = core
        self._method = method.name
        self._admit = method.admit
        self._parse = method.parse
        # Where several have a turn, another one may be at the calls behind.
        self._prepare = method.prepare if turns == 1 else None
        self._handle = method.handle
        self._on_refused = method.on_refused
        self._max_busy = threads
        self._max_calls = max_calls
        self._silent_s = silent_s
        self._calls: set[Call] = set()
        """Accepted and not finished yet."""
        self._silent: dict[Call, float] = {}
        """Those whose message has not come, the oldest first, and when they came on the monotonic clock."""
        self._waiting: deque[Call] = deque()
        """Calls whose message has come, the first one first; bounded by `max_calls`."""
        self._answered = 0
        """Since it was last looked for what has come."""
        self._busy = 0
        self._longest: tuple[Call, float] | None = None
        """The call that is being answered, and since when on the monotonic clock."""
        self._turns = Semaphore(turns)
        self.lock = Lock()
        self.is_closed = False
        """Nothing is begun any more."""
        self._is_over = False
        """Nothing will come any more."""
        self._queue = cygrpc.CompletionQueue()
        core.register_completion_queue(self._queue)
        core.register_method(self._method)
        self._threads = [
            # One more than may be busy: somebody must be there to refuse what is too much.
            Thread(target=self._run, name=f"lane-{number}", daemon=True)
            for number in range(threads + 1)
        ]

    def start(self) -> None:
        """Behind the server's start."""
        self._await_call()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Behind the server's stop, which waits for the calls under way."""
        with self.lock:  # gRPC ends the process when operations are begun behind this
            self.is_closed = True
            self._queue.shutdown()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def give_turn(self) -> None:
        """The thread that has the turn is going to wait: another one takes it."""
        self._turns.release()

    def _run(self) -> None:
        while True:
            while not self._turns.acquire(timeout=STUCK_S):
                if self._takes_turn():
                    break
            while not self._is_over:
                try:
                    if self._step():
                        break
                except Exception:
                    log.exception("lane_failed")  # a fault of ours; the lane must outlive it
            if self._is_over:
                self._turns.release()  # for the next one, to end as well
                return

    def _takes_turn(self) -> bool:
        """Whether the turn could be taken from a handler that is stuck."""
        with self.lock:
            if self._longest is None:
                return False
            call, since_s = self._longest
            if call.gave_turn or time.monotonic() - since_s < STUCK_S:
                return False
            call.gave_turn = True
            return True

    def _step(self) -> bool:
        """Answer the call that has waited longest, or take what has come; True when the turn was given
        away meanwhile. Now and then all that has come goes first, to be accepted or refused."""
        may_answer = bool(self._waiting) and self._busy < self._max_busy
        if may_answer and self._answered < LOOK_EVERY:
            self._answered += 1
            return self._answer_next()
        event = self._queue.poll(_AT_ONCE_S if may_answer else None)
        kind = event.completion_type
        if kind == cygrpc.CompletionType.queue_shutdown:
            self._is_over = True
        elif kind == cygrpc.CompletionType.queue_timeout:
            self._answered = 0
        else:
            event.tag(event)
        return False

    def _await_call(self) -> None:
        try:
            self._core.request_registered_call(self._queue, self._queue, self._method, self._arrived)
        except ValueError:
            log.debug("lane_closing")  # the server takes no more calls

    def _arrived(self, event: Any) -> None:
        if not event.success:  # the server is stopping
            return
        self._await_call()
        call = Call(event, self)
        refusal = self._admit(call.invocation_metadata())
        if refusal is not None:
            self._refuse(call, *refusal)
            return
        if len(self._calls) >= self._max_calls:
            self._make_room()
        if len(self._calls) >= self._max_calls:
            self._refuse(call, grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            return
        self._calls.add(call)
        self._silent[call] = time.monotonic()
        call.start((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), partial(self._received, call))

    def _make_room(self) -> None:
        """End the calls whose message is overdue: whoever sends headers alone keeps nobody out."""
        until_s = time.monotonic() - self._silent_s
        for call, since_s in list(self._silent.items()):
            if since_s > until_s:
                return
            if self._silent.pop(call, None) is not None:  # its message has not come meanwhile
                self._calls.discard(call)
                self._refuse(call, grpc.StatusCode.DEADLINE_EXCEEDED, "Expected a message, none came in time")

    def _received(self, call: Call, event: Any) -> None:
        if self._silent.pop(call, None) is None:
            return  # it was ended
        message = event.batch_operations[0].message()
        if message is None:  # the caller is gone, or sent none
            self._refuse(call, grpc.StatusCode.UNIMPLEMENTED, "Expected one message, got none")
            return
        if len(self._waiting) >= WATCH_BEHIND:
            call.watch()
        call.message = message
        self._waiting.append(call)

    def _answer_next(self) -> bool:
        """Answer the call that has waited longest; whether its handler has given the turn away. If all
        were busy meanwhile, the next ones too: who has the turn may not know that one is free again."""
        has_given = False
        while True:
            with self.lock:
                if not self._waiting or self._busy >= self._max_busy:
                    return has_given
                call = self._waiting.popleft()
                behind = list(islice(self._waiting, TOGETHER - 1))
                call.gave_turn = has_given
                self._busy += 1
                self._longest = call, time.monotonic()
            if call.is_wanted:
                if len(behind) == TOGETHER - 1 and call.prepared is None and self._prepare is not None:
                    self._look_ahead(self._prepare, call, behind)
                self._answer(call)
            else:
                self._refuse(call, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
            with self.lock:
                were_all_busy = self._busy == self._max_busy
                self._busy -= 1
                self._longest = None
                has_given = call.gave_turn
            if not (has_given and were_all_busy):
                return has_given

    def _look_ahead(self, prepare: Prepare, call: Call, behind: Sequence[Call]) -> None:
        """Let what can be done together be done for the call whose turn it is and for those behind it."""
        if not self._is_readable(call):
            return
        began_s = time.monotonic()
        new = [call, *(one for one in behind if one.is_wanted and self._is_readable(one))]
        try:
            prepare(new)
        except Exception:
            log.exception("prepare_failed")  # each is answered by itself then, or told what is wrong
        for one in new:
            if one.prepared is not None:
                one.began_s = began_s

    def _is_readable(self, call: Call) -> bool:
        """Whether its message is one; it is parsed then."""
        if call.parsed is None:
            try:
                call.parsed = self._parse(call.message)
            except Exception:  # noqa: BLE001 (whatever the parser raises of bytes that are no message)
                return False
        return True

    def _answer(self, call: Call) -> None:
        if not self._is_readable(call):
            self._refuse(call, grpc.StatusCode.INTERNAL, "Exception deserializing request!")
            return
        try:
            answer = self._handle(call.parsed, call)
        except _Aborted as aborted:
            self._end(call, aborted.code, aborted.details)
        except Exception as error:
            log.exception("handler_failed")
            self._end(call, grpc.StatusCode.UNKNOWN, f"Exception calling application: {error}")
        else:
            self._end(call, grpc.StatusCode.OK, "", cygrpc.SendMessageOperation(answer, _NO_FLAGS))

    def _refuse(self, call: Call, code: grpc.StatusCode, details: str) -> None:
        self._on_refused(code)
        self._end(call, code, details)

    def _end(self, call: Call, code: grpc.StatusCode, details: str, *answer: Any) -> None:
        """Send the status, and the answer before it if there is one."""
        status = cygrpc.SendStatusFromServerOperation(
            call.trailing_metadata, code.value[0], details.encode(), _NO_FLAGS
        )
        closing = () if call.is_watched else (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),)
        call.start(
            (cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS), *answer, status, *closing),
            lambda _: self._calls.discard(call),
        )


def open_lane(
    server: grpc.Server, method: Method, threads: int, turns: int, max_calls: int, silent_s: float
) -> Lane | None:
    """A lane for `method` on a server that is not started yet; None where
    this grpcio is not the one it was written for."""
    core = getattr(getattr(server, "_state", None), "server", None)
    if core is None or any(
        not hasattr(getattr(cygrpc, name, None), part) for name, parts in _NEEDED.items() for part in parts
    ):
        log.warning("no_lane", method=method.name, grpcio=grpc.__version__)
        return None
    return Lane(core, method, threads, turns, max_calls, silent_s)
