"""The service: each rpc as a thin handler that checks, asks and answers in bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import BoundedSemaphore
from typing import Any
from uuid import uuid4

import grpc
import structlog

from recsys.breaker import Breaker
from recsys.catalog import CatalogChange
from recsys.decode import MADE_ID, Decoder, visitor_of
from recsys.events import Arrival, DeadLetter
from recsys.ports import EventLog, LogUnavailable, NewRecord, Position, Record, StoreUnavailable
from recsys.segment import with_message_id
from server.auth import Keys
from server.blocks import Blocks, NotLoaded, Pack, Prepared
from server.deadline import CallerGone, Deadline
from server.explain import Decisions
from server.lane import Call, Method, Refused
from server.metrics import Metrics
from server.pb import headrace_pb2 as pb
from server.refusals import Refusal, bad_request, refuse, try_again
from server.requests import PACK, BlocksRequest, RequestChecks, RequestError, render_of
from server.served_queue import ServedQueue
from server.wire import packs_of

log = structlog.get_logger("server.service")

SERVICE = "headrace.v1.Headrace"
BULK_PAUSE_S = 0.02
LOOK_S = 0.1
"""So often a stream that waits for the log looks whether its caller is still there."""
NO_DEADLINE_S = 1e6
LOG_WAITED_S = 0.5
LOG_REST_S = 1.0
"""So long Track is refused at once behind one that waited in vain for the log, for LOG_WAITED_S or more: each
that waits holds a thread which Explain, mailings and health checks want too."""
AHEAD_S = 0.02
"""With less left of its deadline than this a call cannot wait for others: it is decided by itself."""
TELL_S = 0.05
"""Kept of a Track's deadline to say that the log has not answered."""

_ROLES = {
    "GetBlocks": "read",
    "GetBlocksBulk": "read",
    "GetBlocksPacks": "read",
    "Track": "write",
    "Explain": "read",
}
"""What a key must allow, for each rpc."""

Answer = Callable[[Any, grpc.ServicerContext, float], bytes]
Answers = Callable[[Any, grpc.ServicerContext], Iterator[bytes]]


class HeadraceService:
    """The rpcs. Holds no state of its own."""

    def __init__(
        self,
        blocks: Blocks,
        decisions: Decisions,
        checks: RequestChecks,
        event_log: EventLog,
        queue: ServedQueue,
        keys: Keys,
        metrics: Metrics,
        now_ms: Callable[[], int],
        default_deadline_s: float,
        max_bulk_streams: int,
    ) -> None:
        self._blocks = blocks
        self._decisions = decisions
        self._checks = checks
        self._event_log = event_log
        self._queue = queue
        self._keys = keys
        self._metrics = metrics
        self._now_ms = now_ms
        self._default_deadline_s = default_deadline_s
        # A stream holds its thread to the end; pages must find one too.
        self._bulk_streams = BoundedSemaphore(max(max_bulk_streams, 1))
        self._decoder = Decoder()
        self._log_breaker = Breaker(LOG_WAITED_S, LOG_REST_S)

    def get_blocks(self) -> Method:
        """GetBlocks for a lane; what never comes to its handler is counted too."""
        handle = self._guarded("GetBlocks", self._get_blocks)
        count = partial(self.count, "GetBlocks")
        admit = partial(self._unadmitted, _ROLES["GetBlocks"])
        parse = pb.GetBlocksRequest.FromString
        return Method(f"/{SERVICE}/GetBlocks", admit, parse, self._prepare, handle, count)

    def handlers(self) -> grpc.GenericRpcHandler:
        """For grpc.Server.add_generic_rpc_handlers. Answers are bytes already, so there is no
        serialiser between them and the wire."""
        unary = grpc.unary_unary_rpc_method_handler
        stream = grpc.unary_stream_rpc_method_handler
        get_blocks = self.get_blocks()
        behind = grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GetBlocks": unary(get_blocks.handle, get_blocks.parse),
                "GetBlocksBulk": stream(
                    self._guarded_stream("GetBlocksBulk", self._get_blocks_bulk),
                    pb.GetBlocksBulkRequest.FromString,
                ),
                "GetBlocksPacks": stream(
                    self._guarded_stream("GetBlocksPacks", self._get_blocks_packs),
                    pb.GetBlocksBulkRequest.FromString,
                ),
                "Track": unary(self._guarded("Track", self._track), pb.TrackRequest.FromString),
                "Explain": unary(self._guarded("Explain", self._explain), pb.ExplainRequest.FromString),
            },
        )
        return _Door(behind, self._refusal_at_door)

    def _prepare(self, calls: Sequence[Call]) -> None:
        """Decide together what several callers ask; each gets the answer when its turn comes."""
        ready: list[tuple[Call, BlocksRequest]] = []
        for call in calls:
            try:
                request = self._checks.blocks(call.parsed)
            except RequestError:
                continue  # told when its turn comes
            if call.time_remaining() >= AHEAD_S and self._blocks.can_prepare(request):
                ready.append((call, request))
        if len(ready) < 2 or ready[0][0] is not calls[0]:
            return  # whose turn it is must not wait for others that it is not decided with
        prepared = self._blocks.prepare([request for _, request in ready])
        for (call, _), one in zip(ready, prepared, strict=True):
            call.prepared = one

    def _get_blocks(
        self, message: pb.GetBlocksRequest, context: grpc.ServicerContext, started_s: float
    ) -> bytes:
        prepared: Prepared | None = getattr(context, "prepared", None)
        request = self._checks.blocks(message) if prepared is None else prepared.case.request
        callers_s = _left_s(context)
        until_s = started_s + self._default_deadline_s if callers_s is None else time.monotonic() + callers_s
        deadline = Deadline(until_s, context.is_active, is_callers=callers_s is not None)
        if prepared is not None:
            return self._blocks.finish(prepared, started_s, deadline)
        return self._blocks.answer(request, started_s, deadline)

    def _get_blocks_bulk(
        self, message: pb.GetBlocksBulkRequest, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        for responses in self._chunks(message, context):
            yield from responses

    def _get_blocks_packs(
        self, message: pb.GetBlocksBulkRequest, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        for responses in self._chunks(message, context):
            yield from packs_of(responses)

    def _chunks(
        self, message: pb.GetBlocksBulkRequest, context: grpc.ServicerContext
    ) -> Iterator[list[bytes]]:
        """The responses to a bulk request, those that were decided together, once what they show is durable
        in the log."""
        bulk = self._checks.bulk(message)
        if not self._bulk_streams.acquire(blocking=False):
            raise try_again(grpc.StatusCode.RESOURCE_EXHAUSTED, "Expected fewer bulk requests at once")
        try:
            before: Pack | None = None
            for start in range(0, len(bulk.people), PACK):
                requests = []
                for index in range(start, min(start + PACK, len(bulk.people))):
                    asker, render_id, caller = render_of(bulk.people[index], index, bulk.caller)
                    requests.append(BlocksRequest(asker, bulk.slots, None, render_id, caller))
                # Of two packs one is decided while the other is written; no more, for a log that is down.
                if before is not None and (before.logging.is_over or not self._queue.has_room):
                    if not self._is_logged(before, context):
                        return
                    yield before.answers
                    before = None
                while not self._queue.has_room and context.is_active():
                    time.sleep(BULK_PAUSE_S)
                if not context.is_active():
                    return
                pack = self._blocks.answer_each(requests, bulk.campaign)
                if before is not None:
                    if not self._is_logged(before, context):
                        return
                    yield before.answers
                before = pack
            if before is not None and self._is_logged(before, context):
                yield before.answers
        finally:
            self._bulk_streams.release()

    def _is_logged(self, pack: Pack, context: grpc.ServicerContext) -> bool:
        """Wait until what a pack shows is durable; False: its caller has gone. Raises LogUnavailable when the
        server stops first."""
        while not pack.logging.wait(0):
            if not context.is_active():
                return False
            pack.logging.wait(LOOK_S)
        return True

    def _track(self, message: pb.TrackRequest, context: grpc.ServicerContext, started_s: float) -> bytes:
        if not context.is_active():
            raise CallerGone  # while it waited for a thread
        left_s = _left_s(context)
        events = self._checks.events(message)
        received_ms = self._now_ms()
        records: list[NewRecord] = []
        receipts: list[pb.Receipt] = []
        broken = 0
        for call, sent in events:
            raw, found = sent, self._decoded(sent, received_ms)
            if isinstance(found, Arrival) and found.event.message_id.startswith(MADE_ID):
                raw = with_message_id(raw, f"track-{uuid4()}")
                found = self._decoded(raw, received_ms)  # it has become longer
            if isinstance(found, Arrival):
                key, message_id = found.event.visitor, found.event.message_id
                receipts.append(pb.Receipt(call=call, message_id=message_id))
            else:
                broken += 1
                key = visitor_of(raw)
                receipts.append(pb.Receipt(call=call, problem=_problem(found)))
            records.append(NewRecord(key, raw, received_ms))
        positions: list[Position] = []
        if records:
            patience_s = math.inf if left_s is None else max(left_s - TELL_S, left_s / 2)
            with self._log_breaker.asking(LogUnavailable):
                positions = self._event_log.append(records, patience_s)
        for receipt, position in zip(receipts, positions, strict=True):
            receipt.position = str(position)
        self._metrics.events.labels("good").inc(len(events) - broken)
        if broken:
            self._metrics.events.labels("broken").inc(broken)
        return pb.TrackResponse(receipts=receipts).SerializeToString()

    def _decoded(self, raw: bytes, received_ms: int) -> Arrival | DeadLetter | CatalogChange:
        """What the flow will take a single event for."""
        (found,) = self._decoder.decode(Record(Position(0, 0), "", raw, received_ms), received_ms)
        return found

    def _explain(self, message: pb.ExplainRequest, context: grpc.ServicerContext, started_s: float) -> bytes:
        found = self._decisions.explain(message.decision_id, self._checks.explained(message))
        if found is None:
            raise Refusal(
                grpc.StatusCode.NOT_FOUND,
                f"Expected a decision that is kept, got `{message.decision_id[:64]}` - at `decision_id`",
            )
        return found

    def _guarded(self, rpc: str, answer: Answer) -> Callable[[Any, grpc.ServicerContext], bytes]:
        """`answer` with refusals turned into statuses and everything counted."""

        def handle(message: Any, context: grpc.ServicerContext) -> bytes:
            started_s = getattr(context, "began_s", None) or time.monotonic()
            try:
                answer_bytes = answer(message, context, started_s)
            except Exception as error:  # noqa: BLE001 (turned into a status; INTERNAL ones are logged)
                self._refused(rpc, context, error)
            self._metrics.answered(rpc, time.monotonic() - started_s)
            return answer_bytes

        return handle

    def _guarded_stream(
        self, rpc: str, answers: Answers
    ) -> Callable[[Any, grpc.ServicerContext], Iterator[bytes]]:
        """As `_guarded`, for a stream; its time is not observed, it is the caller's."""

        def handle(message: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            try:
                yield from answers(message, context)
            except GeneratorExit:
                self.count(rpc, grpc.StatusCode.CANCELLED)
                raise
            except Exception as error:  # noqa: BLE001 (turned into a status; INTERNAL ones are logged)
                self._refused(rpc, context, error)
            self.count(rpc, grpc.StatusCode.OK if context.is_active() else grpc.StatusCode.CANCELLED)

        return handle

    def _refusal_at_door(self, rpc: str, metadata: Any) -> Refused | None:
        refused = self._unadmitted(_ROLES[rpc], metadata)
        if refused is not None:
            self.count(rpc, refused[0])
        return refused

    def _unadmitted(self, role: str, metadata: Any) -> Refused | None:
        """Why nobody with this metadata may do what the role allows; None: they may."""
        refused = self._keys.refusal(metadata, role)
        if refused is None:
            return None
        if refused == "unauthenticated":
            expected = "Expected `authorization: Bearer KEY` with a key of this server, got another or none"
            return grpc.StatusCode.UNAUTHENTICATED, expected
        return grpc.StatusCode.PERMISSION_DENIED, f"Expected a key of role {role} or admin, got another"

    def count(self, rpc: str, code: grpc.StatusCode) -> None:
        """A call has ended with this code."""
        self._metrics.requests.labels(rpc, code.name).inc()

    def _refused(self, rpc: str, context: grpc.ServicerContext, error: Exception) -> None:
        refusal = _refusal_of(error)
        if refusal.code is grpc.StatusCode.INTERNAL:
            log.error("request_failed", rpc=rpc, exc_info=error)
        self.count(rpc, refusal.code)
        refuse(context, refusal)


class _Door(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """The rpcs behind their keys. These are looked at before a call's message has come: whoever sends headers
    alone, without a key, would hold a thread for as long as they stay."""

    def __init__(self, behind: grpc.GenericRpcHandler, refusal: Callable[[str, Any], Refused | None]) -> None:
        """`refusal`: of an rpc, by its name, and a call's metadata."""
        self._behind = behind
        self._refusal = refusal

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        handler = self._behind.service(details)
        if handler is None:
            return None
        refused = self._refusal(details.method.rpartition("/")[2], details.invocation_metadata)
        if refused is None:
            return handler
        # The handler of a stream is called before the first of its messages.
        return grpc.stream_unary_rpc_method_handler(lambda _messages, context: context.abort(*refused))


def _left_s(context: grpc.ServicerContext) -> float | None:
    """Of the caller's deadline; None: there is none."""
    left_s: float | None = context.time_remaining()
    # gRPC's own word for no deadline is one that lies centuries ahead.
    return left_s if left_s is not None and left_s < NO_DEADLINE_S else None


def _problem(found: DeadLetter | CatalogChange) -> pb.Problem:
    assert isinstance(found, DeadLetter)  # a catalogue change has a key of its own, which no event has
    return pb.Problem(kind=found.kind, path=found.path, expected=found.expected, got=found.got)


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestError):
        return bad_request(error.field, str(error))
    if isinstance(error, CallerGone):
        return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "The caller was gone before the answer was there")
    if isinstance(error, NotLoaded):
        return try_again(grpc.StatusCode.UNAVAILABLE, "The catalogue is still being read")
    if isinstance(error, LogUnavailable):
        return try_again(grpc.StatusCode.UNAVAILABLE, "The log does not answer: nothing is acknowledged")
    if isinstance(error, StoreUnavailable):
        return try_again(grpc.StatusCode.UNAVAILABLE, "The state does not answer")
    return Refusal(grpc.StatusCode.INTERNAL, "Something is wrong in the server; its log says what")
