"""A lane of its own for the call that pages wait for.

grpcio's server takes a call on one thread, answers it on another and goes back and forth between them
for each message: four events, a future, a condition and their switches of threads, 340,000
instructions for a handler that does nothing. In the lane the thread that gets a call's message answers
it: 130,000, and one switch in eight calls instead of three in two (`bench serving` shows what an
empty server holds either way).

It stands on grpcio's binding of its C core, as grpc/_server.py does. That is no public interface, so
`open_lane` looks whether it is what this was written for; where it is not, the method's calls go
grpcio's ordinary way. All other methods do anyhow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock, Thread
from typing import Any, NoReturn

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

_NO_FLAGS = 0
_NEEDED = {
    # Classes of cygrpc, and what is used of them.
    "CompletionQueue": ("poll", "shutdown"),
    "Server": ("register_completion_queue", "register_method", "request_registered_call"),
    "Call": ("start_server_batch",),
    "CompletionType": ("queue_shutdown",),
    "ReceiveMessageOperation": ("message",),
    "ReceiveCloseOnServerOperation": ("cancelled",),
    "SendInitialMetadataOperation": ("type",),
    "SendMessageOperation": ("type",),
    "SendStatusFromServerOperation": ("type",),
}


class _Aborted(Exception):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Call:
    """What handlers use of a grpc.ServicerContext."""

    __slots__ = ("_core", "_deadline_s", "_is_open", "_metadata", "is_watched", "trailing_metadata")

    def __init__(self, event: Any) -> None:
        self._core = event.call
        self._deadline_s = event.call_details.deadline
        self._metadata = event.invocation_metadata
        self._is_open = True
        self.is_watched = False
        self.trailing_metadata: tuple[tuple[str, bytes], ...] | None = None

    def invocation_metadata(self) -> Any:
        return self._metadata

    def time_remaining(self) -> float:
        """Seconds to the caller's deadline; centuries where there is none."""
        return max(float(self._deadline_s) - time.time(), 0.0)

    def is_active(self) -> bool:
        """Whether the caller still waits. Watched from the first time this is asked: it costs an
        event, and few handlers want to know."""
        if not self.is_watched:
            self.is_watched = True
            self.start((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._closed)
        return self._is_open

    def set_trailing_metadata(self, metadata: tuple[tuple[str, bytes], ...]) -> None:
        self.trailing_metadata = metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise _Aborted(code, details)

    def start(self, operations: tuple[Any, ...], then: Callable[[Any], None]) -> None:
        """Begin operations; a thread of the lane calls `then` with their event when all are done."""
        self._core.start_server_batch(operations, then)

    def _closed(self, event: Any) -> None:
        self._is_open = not event.batch_operations[0].cancelled()


class Lane:
    """Threads that answer the calls of one method, at most `threads` at a time; `max_calls` may be
    under way, and further ones get RESOURCE_EXHAUSTED."""

    def __init__(
        self, core: Any, method: str, parse: Parse, handle: Handle, threads: int, max_calls: int
    ) -> None:
        """`core`: the cygrpc.Server, before it is started."""
        self._core = core
        self._method = method
        self._parse = parse
        self._handle = handle
        self._max_busy = threads
        self._max_calls = max_calls
        self._lock = Lock()
        self._busy = 0
        self._calls: set[Call] = set()
        """Accepted and not finished yet."""
        self._waiting: deque[tuple[Call, bytes]] = deque()
        """Calls whose message has come while all threads were busy; bounded by `max_calls`."""
        self._queue = cygrpc.CompletionQueue()
        core.register_completion_queue(self._queue)
        core.register_method(self._method)
        # One more than may be busy: somebody must be there to refuse what is too much.
        self._threads = [
            Thread(target=self._run, name=f"lane-{number}", daemon=True) for number in range(threads + 1)
        ]

    def start(self) -> None:
        """Behind the server's start."""
        self._await_call()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Behind the server's stop, which waits for the calls under way."""
        self._queue.shutdown()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self) -> None:
        while True:
            event = self._queue.poll(None)
            if event.completion_type == cygrpc.CompletionType.queue_shutdown:
                return
            try:
                event.tag(event)
            except Exception:
                log.exception("lane_failed")  # a fault of ours; the lane must outlive it
            del event  # it holds the call

    def _await_call(self) -> None:
        try:
            self._core.request_registered_call(self._queue, self._queue, self._method, self._arrived)
        except ValueError:
            log.debug("lane_closing")  # the server takes no more calls

    def _arrived(self, event: Any) -> None:
        if not event.success:  # the server is stopping
            return
        self._await_call()
        call = Call(event)
        is_full = len(self._calls) >= self._max_calls
        self._calls.add(call)
        if is_full:
            self._end(call, grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
        else:
            call.start((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), partial(self._received, call))

    def _received(self, call: Call, event: Any) -> None:
        """Answer the call, and those that have come to wait meanwhile."""
        message = event.batch_operations[0].message()
        if message is None:  # the caller is gone, or sent none
            self._end(call, grpc.StatusCode.UNIMPLEMENTED, "Expected one message, got none")
            return
        with self._lock:
            if self._busy >= self._max_busy:
                self._waiting.append((call, message))
                return
            self._busy += 1
        while True:
            self._answer(call, message)
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                call, message = self._waiting.popleft()

    def _answer(self, call: Call, message: bytes) -> None:
        try:
            parsed = self._parse(message)
        except Exception:  # noqa: BLE001 (whatever the parser raises of bytes that are no message)
            self._end(call, grpc.StatusCode.INTERNAL, "Exception deserializing request!")
            return
        try:
            answer = self._handle(parsed, call)
        except _Aborted as aborted:
            self._end(call, aborted.code, aborted.details)
        except Exception as error:
            log.exception("handler_failed")
            self._end(call, grpc.StatusCode.UNKNOWN, f"Exception calling application: {error}")
        else:
            self._end(call, grpc.StatusCode.OK, "", cygrpc.SendMessageOperation(answer, _NO_FLAGS))

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
    server: grpc.Server, method: str, parse: Parse, handle: Handle, threads: int, max_calls: int
) -> Lane | None:
    """A lane for `method`, "/package.Service/Method", on a server that is not started yet; None where
    this grpcio is not the one it was written for."""
    core = getattr(getattr(server, "_state", None), "server", None)
    if core is None or any(
        not hasattr(getattr(cygrpc, name, None), part) for name, parts in _NEEDED.items() for part in parts
    ):
        log.warning("no_lane", method=method, grpcio=grpc.__version__)
        return None
    return Lane(core, method, parse, handle, threads, max_calls)
